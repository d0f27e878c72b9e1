import { fold } from './fold.ts';
import { SafeError } from './safe-error.ts';
import type { Command } from './vvchat/command.ts';
import { EVENT_NAMES, type EventName, type Session } from './vvchat/event.ts';

/** What a handler knows of the event that it answers. Ids are VVChat's. */
export interface Context {
  readonly session: Session;
  readonly robot: { readonly app_id: string; readonly open_id: string; readonly robot_no: string };
  /** Who set the event off; `open_id` is `''` if VVChat sends none. */
  readonly trigger: { readonly target: string; readonly open_id: string };
  /** When the webhook accepted the event: the same at every attempt. */
  readonly receivedAt: Date;
  /** The same at every attempt: an idempotency key for calls of yours that must not happen twice. */
  readonly eventId: string;
  /** 1 at the first attempt. */
  readonly attempt: number;
  /** Aborts when the time for an answer is up: pass it to `fetch` and the like. */
  readonly signal: AbortSignal;
}

/** What a predicate of a route knows. */
export interface MentionContext extends Context {
  /** What the user sent, as VVChat passed it on. */
  readonly text: string;
}

export interface AtContext extends MentionContext {
  /** The pattern's match; for a route by words or by a predicate, the whole text. */
  readonly match: RegExpMatchArray;
  /**
   * The text of a named group of the pattern; `''` where the group took no part in the match.
   *
   * @throws {InvalidRobotError} for a name that the pattern does not have
   */
  readonly group: (name: string) => string;
}

/** A command, several in the order in which they are sent (`null` and `false` are left out), or `null` for none. */
export type Answer = Command | readonly (Command | null | false)[] | null;

export type Handler<C extends Context = Context> = (context: C) => Answer | Promise<Answer>;

/** Decides by more than the text whether a route answers. It must not be async. */
export type Predicate = (context: MentionContext) => boolean;

/** Words are compared regardless of case, width and surrounding white space; a pattern sees the text as it is. */
export type Route = readonly [
  when: string | readonly string[] | RegExp | Predicate,
  then: Handler<AtContext>,
];

/** The events that one handler answers, unlike `at` with its routes. */
export type PlainEventName = Exclude<EventName, 'at'>;

/** What a robot answers: an @-mention by the first route that matches, any other event by its handler. */
export type RobotDefinition = { readonly at?: readonly Route[] } & {
  readonly [Name in PlainEventName]?: Handler;
};

/** A checked robot, made by {@link defineRobot}. */
export interface Robot {
  readonly [MADE_HERE]: true;
  readonly definition: RobotDefinition;
  /** The words of its routes by words, folded. */
  readonly words: ReadonlyMap<Route, ReadonlySet<string>>;
  /** The length of the longest of these words. */
  readonly longestWord: number;
}

const MADE_HERE = Symbol.for('vvchat-robot/robot');

/** A robot that cannot work as it is defined. */
export class InvalidRobotError extends SafeError {
  override readonly name = 'InvalidRobotError';
}

/**
 * Checks a robot and makes it ready to answer. `robot/robot.ts` exports the result as `robot`.
 *
 * @example
 * export const robot = defineRobot({
 *   at: [
 *     ['ping', () => sendText('pong')],
 *     [/^echo (?<what>.+)/, ({ group }) => sendText(group('what'))],
 *   ],
 *   'join-group-for-invite': () => sendText('大家好！'),
 * });
 *
 * @throws {InvalidRobotError} at the line of the call, for an unknown key, a route that is not a pair, a pattern
 *   with the flag `g` or `y` (it would match every other time), and a handler that is not a function
 */
export function defineRobot(definition: RobotDefinition): Robot {
  const fault = faultIn(definition);
  if (fault !== undefined) {
    const error = new InvalidRobotError(`defineRobot: ${fault}`);
    Error.captureStackTrace(error, defineRobot);
    throw error;
  }
  const words = foldedWords(definition.at ?? []);
  const all = [...words.values()].flatMap((folded) => [...folded]);
  const longestWord = all.reduce((longest, { length }) => Math.max(longest, length), 0);
  return { [MADE_HERE]: true, definition, words, longestWord };
}

const foldedWords = (routes: readonly Route[]): Robot['words'] =>
  new Map(
    routes.flatMap((route) => {
      const [when] = route;
      if (when instanceof RegExp || typeof when === 'function') return [];
      return [[route, new Set([when].flat().map(fold))]];
    }),
  );

const isRobot = (value: unknown): value is Robot =>
  typeof value === 'object' && value !== null && MADE_HERE in value;

/**
 * The robot that `robot/robot.ts` exports.
 *
 * @throws {InvalidRobotError} when it exports none, or something that {@link defineRobot} did not make
 */
export function robotIn(exports: object): Robot {
  const robot: unknown = 'robot' in exports ? exports.robot : undefined;
  if (isRobot(robot)) return robot;
  throw new InvalidRobotError(
    robot === undefined
      ? 'robot/robot.ts does not export `robot`: write `export const robot = defineRobot({ … })`.'
      : 'The `robot` that robot/robot.ts exports was not made by defineRobot: write `export const robot = defineRobot({ … })`.',
  );
}

/** The events that a robot answers. */
export const routedEvents = ({ definition }: Robot): readonly EventName[] =>
  EVENT_NAMES.filter((name) => definition[name] !== undefined);

function faultIn(definition: RobotDefinition): string | undefined {
  if (typeof definition !== 'object' || definition === null) return 'takes an object.';
  for (const [key, value] of Object.entries(definition)) {
    if (!EVENT_NAMES.some((name) => name === key)) {
      return `"${key}" is unknown; the keys are ${EVENT_NAMES.join(', ')}.`;
    }
    if (value === undefined) continue;
    const fault = key === 'at' ? faultInRoutes(value) : faultInHandler(key, value);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultInRoutes(routes: unknown): string | undefined {
  if (!Array.isArray(routes)) return 'at must be a list of routes.';
  return routes.map((route, i) => faultInRoute(`at[${i}]`, route)).find((it) => it !== undefined);
}

function faultInRoute(place: string, route: unknown): string | undefined {
  if (!Array.isArray(route) || route.length !== 2) {
    return `${place} must be a pair: [words, pattern or predicate, handler].`;
  }
  const [when, then] = route;
  return faultInCondition(place, when) ?? faultInHandler(`${place}[1]`, then);
}

function faultInCondition(place: string, when: unknown): string | undefined {
  if (when instanceof RegExp) {
    return when.global || when.sticky
      ? `${place}: remove the flag g or y from the pattern ${when}; with it a pattern matches every other time.`
      : undefined;
  }
  if (typeof when === 'function') return undefined;
  const words = [when].flat();
  if (words.length > 0 && words.every((word) => typeof word === 'string')) return undefined;
  return `${place}[0] must be a word, a list of words, a pattern or a predicate.`;
}

const faultInHandler = (place: string, handler: unknown): string | undefined =>
  typeof handler === 'function' ? undefined : `${place} must be a function.`;
