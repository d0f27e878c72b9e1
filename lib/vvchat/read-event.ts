import * as v from 'valibot';
import { SafeError } from '../safe-error.ts';
import { type Event, type EventData, type EventName, isEventName } from './event.ts';

/** An event in a v1 envelope whose name is not documented. */
export interface UnknownEvent {
  readonly unknown: string;
}

/** One fault of an event: where (RFC 6901), and a fixed text that says what. */
export interface EventFault {
  readonly pointer: string;
  readonly detail: string;
}

export class InvalidEventError extends SafeError {
  override readonly name = 'InvalidEventError';
  readonly faults: readonly EventFault[];

  constructor(faults: readonly EventFault[]) {
    super('The event does not have the shape that the VVChat robot protocol v1 documents.');
    this.faults = faults;
  }

  /** Whether the event is right but for the length of its text. */
  get isTooLong(): boolean {
    return this.faults.every(({ detail }) => detail === TEXT_TOO_LONG);
  }
}

/**
 * Reads the JSON value of a posted event. Undocumented fields are accepted and dropped.
 *
 * @throws {InvalidEventError} with every fault; its texts repeat nothing of what was received
 */
export function readEvent(value: unknown): Event | UnknownEvent {
  const { event, version } = parse(Envelope, value);
  if (!isEventName(event)) return { unknown: event };
  const { data } = parse(SCHEMAS[event] as typeof SCHEMAS.at, value);
  return { event, version, data } as Event;
}

const MAX_ID_LENGTH = 256;

/** The longest text of an @-mention, in bytes of UTF-8. VVChat's own limit is undocumented. */
export const MAX_TEXT_BYTES = 8 * 1024;

/** The detail of the fault of a longer text. */
export const TEXT_TOO_LONG = `must have at most ${MAX_TEXT_BYTES} bytes in UTF-8`;

const id = v.pipe(
  v.string('must be a string'),
  v.minLength(1, 'must not be empty'),
  v.maxLength(MAX_ID_LENGTH, `must have at most ${MAX_ID_LENGTH} characters`),
  v.check((text) => text.isWellFormed(), 'must be well-formed Unicode'),
  v.regex(/^\P{Cc}*$/u, 'must not have control characters'),
);

const object = <const T extends v.ObjectEntries>(entries: T) =>
  v.object(entries, ({ expected }) => (expected === 'Object' ? 'must be an object' : 'is missing'));

const person = object({ target: v.literal('user'), open_id: id });

/** What `open_id` holds for a target other than a person is undocumented: nothing depends on it. */
const otherTarget = object({ target: id, open_id: v.fallback(v.optional(id), undefined) });

const isPerson = (input: unknown) =>
  typeof input === 'object' && input !== null && 'target' in input && input.target === 'user';

/** What `data` of every event has. */
const commonFields = {
  robot: object({ app_id: id, open_id: id, robot_no: id }),
  session: object({
    session_open_id: id,
    session_type: v.picklist(['1', '2'], 'must be "1" (one-to-one chat) or "2" (group)'),
  }),
  trigger: v.lazy(
    (input): v.GenericSchema<unknown, { target: string; open_id?: string | undefined }> =>
      isPerson(input) ? person : otherTarget,
  ),
};

/** A lone surrogate cannot be stored as UTF-8, and is no reason to lose a message. */
const text = v.pipe(
  v.string('must be a string'),
  v.check((received) => Buffer.byteLength(received) <= MAX_TEXT_BYTES, TEXT_TOO_LONG),
  v.transform((received) => received.toWellFormed()),
);

const Envelope = object({ event: id, version: v.literal('v1', 'must be "v1"') });

/** What each event has. Source: robot protocol v1, "Events". */
const SCHEMAS = {
  at: object({ data: object({ ...commonFields, content: object({ text }) }) }),
  'join-group-for-invite': object({ data: object(commonFields) }),
  'session-open': object({ data: object(commonFields) }),
} satisfies { [Name in EventName]: v.GenericSchema<unknown, { data: EventData<Name> }> };

function parse<const T extends v.GenericSchema>(schema: T, value: unknown): v.InferOutput<T> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new InvalidEventError(
    result.issues.map((issue) => ({ pointer: pointerOf(issue), detail: issue.message })),
  );
}

/** Every key on the path is the schema's own, so none needs escaping and none comes from the sender. */
const pointerOf = ({ path }: Pick<v.BaseIssue<unknown>, 'path'>) =>
  (path ?? []).map(({ key }) => `/${String(key)}`).join('');
