import { SafeError } from './error.ts';
import { type Command, isCommand } from './vvchat/command.ts';
import type { EventName, Robot as RobotIdentity, Session, Trigger } from './vvchat/event.ts';

/** What a reply handler knows of the event that it answers; ids are VVChat's. */
export interface Context {
  readonly session: Session;
  readonly robot: RobotIdentity;
  readonly trigger: Trigger;
  /** The same at every attempt at one event: a key for calls of yours that must not happen twice. */
  readonly eventId: string;
  /** 1 at the first attempt. */
  readonly attempt: number;
  /** Aborts when the time for an answer (60 s) is up: pass it to `fetch` and the like. */
  readonly signal: AbortSignal;
}

export interface AtContext extends Context {
  /** What the user sent, as VVChat passed it on. */
  readonly text: string;
  /** The pattern's match; for a route by words, the whole text. */
  readonly match: RegExpMatchArray;
}

// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement answers nothing
export type Answer = Command | readonly Command[] | null | undefined | void;
export type Handler<C extends Context = Context> = (context: C) => Answer | Promise<Answer>;

/** Words are compared without regard to case, width and surrounding white space; a pattern sees the text as it is. */
export type Route = readonly [when: string | RegExp | readonly string[], then: Handler<AtContext>];

/** Who answers what: for `at` the first route that matches, for other events their one handler. */
export interface Robot {
  readonly at?: readonly Route[];
  readonly 'join-group-for-invite'?: Handler;
  readonly 'session-open'?: Handler;
}

/** An event on its way to the robot. */
export type Question =
  | (Context & { readonly event: 'at'; readonly text: string })
  | (Context & { readonly event: Exclude<EventName, 'at'> });

/** A robot, or an answer of one, that cannot be used as it is. */
export class InvalidRobotError extends SafeError {
  override readonly name = 'InvalidRobotError';
}

const MAX_COMMANDS = 20;
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Asks the robot for its answer.
 *
 * @returns the commands in the order in which they are to be sent; none where the robot has nothing to say
 * @throws {InvalidRobotError} for a pattern with the flag `g` or `y`, which would match every other time,
 *   for what is no command, and for an answer of over 20 commands or 64 KiB of JSON
 * @throws whatever the handler throws
 */
export async function ask(robot: Robot, question: Question): Promise<readonly Command[]> {
  const commands = [(await answer(robot, question)) ?? []].flat();
  if (!commands.every(isCommand)) {
    throw new InvalidRobotError('An answer is made of sendText, openWebview and the like.');
  }
  if (commands.length > MAX_COMMANDS) {
    throw new InvalidRobotError(`An answer has at most ${MAX_COMMANDS} commands.`);
  }
  if (Buffer.byteLength(JSON.stringify(commands)) > MAX_ANSWER_BYTES) {
    throw new InvalidRobotError(`An answer has at most ${MAX_ANSWER_BYTES} bytes of JSON.`);
  }
  return commands;
}

/** The events that a robot answers, in a fixed order. */
export function routedEvents(robot: Robot): EventName[] {
  return (['at', 'join-group-for-invite', 'session-open'] as const).filter((name) => robot[name]);
}

function answer(robot: Robot, question: Question): Answer | Promise<Answer> {
  if (question.event !== 'at') return robot[question.event]?.(question);
  for (const [when, then] of robot.at ?? []) {
    const match = matchOf(when, question.text);
    if (match) return then({ ...question, match });
  }
  return undefined;
}

function matchOf(when: Route[0], text: string): RegExpMatchArray | null {
  if (when instanceof RegExp) {
    if (when.global || when.sticky) {
      throw new InvalidRobotError(`Take the flag g or y off the pattern ${when}.`);
    }
    return when.exec(text);
  }
  const said = folded(text);
  return [when].flat().some((word) => folded(word) === said) ? WHOLE_TEXT.exec(text) : null;
}

const WHOLE_TEXT = /^.*$/su;

/** Upper-casing first unites what lower-casing alone keeps apart, such as ß and ss. */
const folded = (text: string) => text.normalize('NFKC').toUpperCase().toLowerCase().trim();
