import { type ErrorFields, errorFields } from '../log.ts';
import { sourcePlace } from '../source-map.ts';

/** What the log says of an error of the robot. */
export type RobotErrorFields = ErrorFields & {
  /** What caused it, the nearest first. */
  readonly causes?: readonly ErrorFields[];
};

/* Even if JSON escapes every character, a line stays below 150 KB; Lambda cuts lines off at 256 KB. */
const MAX_CAUSES = 4;
const MAX_NAME = 100;
const MAX_MESSAGE = 2_000;
const MAX_PLACES = 10;
const MAX_PLACE = 200;
/** Of a frame before it is looked up, which names longer paths. */
const MAX_FRAME = 1_000;

/**
 * The fields of an error that the robot's own code threw, for its author: class, message, places by file and line,
 * and causes, all bounded. The message is the author's own words; whether it quotes what a user sent is for them to
 * decide. `LOG_ROBOT_ERRORS=false` leaves out messages and causes of all but this project's own errors.
 *
 * It never throws, whatever was thrown.
 */
export function robotErrorFields(error: unknown): RobotErrorFields {
  try {
    if (process.env.LOG_ROBOT_ERRORS === 'false') return withheld(error);
    const [fields, ...causes] = chainOf(error).map(fieldsOf);
    return { ...(fields as ErrorFields), ...(causes.length > 0 && { causes }) };
  } catch {
    // A getter of the error threw, or a proxy.
    return { error: 'unreadable', at: [] };
  }
}

function withheld(error: unknown): ErrorFields {
  const fields = errorFields(error);
  return { ...fields, error: bounded(fields.error, MAX_NAME), at: placesIn(fields.at) };
}

/** An error and its causes, the nearest first. */
function chainOf(error: unknown): unknown[] {
  const chain: unknown[] = [error];
  for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) {
    if (chain.length > MAX_CAUSES || chain.includes(cause)) break;
    chain.push(cause);
  }
  return chain;
}

/** Node reports a connection that failed to several addresses as an `AggregateError` without a cause. */
function causeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  return error.cause ?? (error instanceof AggregateError ? error.errors[0] : undefined);
}

function fieldsOf(error: unknown): ErrorFields {
  const { error: name, at } = errorFields(error);
  const detail = messageOf(error);
  return {
    error: bounded(name, MAX_NAME),
    ...(detail !== undefined && { detail: bounded(detail, MAX_MESSAGE) }),
    at: placesIn(at),
  };
}

/** A thrown object has no words of the author's but its message: the rest may well be an event. */
function messageOf(thrown: unknown): string | undefined {
  const message =
    typeof thrown === 'object' && thrown !== null && 'message' in thrown ? thrown.message : thrown;
  return typeof message === 'object' || typeof message === 'function' ? undefined : `${message}`;
}

const placesIn = (at: readonly string[]): string[] =>
  at
    .slice(0, MAX_PLACES)
    .map((place) => bounded(sourcePlace(bounded(place, MAX_FRAME)), MAX_PLACE));

const bounded = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;
