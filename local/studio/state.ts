import type { Item } from '../../lib/inbox/item.ts';
import type { LineKind, Webview } from './show-command.ts';

/*
 * The studio's state. The server holds it and every open page has a copy. It is made of collections of values by
 * id, and the only thing that ever happens to it is a change of one value.
 */

export interface Person {
  readonly open_id: string;
  readonly name: string;
}

export interface RobotAccount {
  readonly robot_no: string;
  readonly open_id: string;
  readonly app_id: string;
  readonly name: string;
}

export interface Chat {
  readonly id: string;
  readonly session_open_id: string;
  readonly session_type: '1' | '2';
  readonly name: string;
  /** The robots in the chat, by `robot_no`. */
  readonly robots: readonly string[];
  readonly webview?: Webview | undefined;
}

/** A line of a chat: a message or a note. */
export interface Line {
  readonly id: string;
  readonly chat: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The person who acted; left out where a robot did. */
  readonly person?: string;
  readonly robot_no?: string;
  readonly kind: LineKind;
  readonly text?: string;
}

/** A request and its response: an event from VVChat, or a call of its robot API. */
export interface Exchange {
  readonly id: string;
  readonly kind: 'event' | 'command' | 'token';
  /** The event or the command; for a token, the app id. */
  readonly name: string;
  readonly robot_no?: string | undefined;
  readonly at: number;
  readonly body: string;
  /** Absent while the request is in flight; 0 when no response arrived. */
  readonly status?: number;
  readonly ms?: number;
  readonly answer?: string;
  /** Why the webhook did not respond. */
  readonly failure?: string;
  /** The event's inbox row, by its id in the studio. */
  readonly row?: string;
}

/** The parts of an inbox row that show how its reply is doing. */
export interface Row extends Pick<Item, 'status' | 'claims' | 'sent'> {
  readonly id: string;
  readonly phase: Item['phase'] | undefined;
  readonly next_attempt_at: Item['next_attempt_at'] | undefined;
  readonly last_error: Item['last_error'] | undefined;
  readonly unknown: Item['unknown'] | undefined;
}

/** How many rows of the memberships table are shown at most. */
export const MAX_MEMBERSHIPS = 500;

/** A row of the memberships table, as it is. */
export type Membership = Readonly<Record<string, unknown>>;

/** How the simulated VVChat fails. */
export const FAULTS = [
  'none',
  'server-error',
  'throttled',
  'slow',
  'response-lost',
  'tokens-expire',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface Collections {
  readonly people: Person;
  readonly robots: RobotAccount;
  readonly chats: Chat;
  readonly lines: Line;
  readonly exchanges: Exchange;
  readonly rows: Row;
  readonly memberships: Membership;
  /** One value, under the id `now`. */
  readonly faults: Fault;
}

export type CollectionName = keyof Collections;

/** A value that was added or replaced; `null` if it was removed. */
export type Change = {
  [Name in CollectionName]: {
    readonly of: Name;
    readonly id: string;
    readonly value: Collections[Name] | null;
  };
}[CollectionName];

/** Joins two ids into one; no other pair gives the same. */
export const pairOf = (a: string, b: string): string => JSON.stringify([a, b]);

/** How many values of the collections that keep growing are kept; the oldest are dropped. */
export const LIMITS = { lines: 1_000, exchanges: 300, rows: 300 } as const;

export type State = { readonly [Name in CollectionName]: ReadonlyMap<string, Collections[Name]> };

export const emptyState = (): State => ({
  people: new Map(),
  robots: new Map(),
  chats: new Map(),
  lines: new Map(),
  exchanges: new Map(),
  rows: new Map(),
  memberships: new Map(),
  faults: new Map(),
});

/** Makes a change, in place. */
export function applyChange(state: State, { of, id, value }: Change): void {
  const values = state[of] as Map<string, unknown>;
  if (value === null) values.delete(id);
  else values.set(id, value);
  const [oldest] = values.keys();
  const limit = of in LIMITS ? LIMITS[of as keyof typeof LIMITS] : Number.POSITIVE_INFINITY;
  if (oldest !== undefined && values.size > limit) values.delete(oldest);
}

/** The state after some changes; the given one stays as it is. */
export function withChanges(before: State, changes: readonly Change[]): State {
  const touched = new Set(changes.map(({ of }) => of));
  const copies = [...touched].map((of) => [of, new Map<string, unknown>(before[of])]);
  const state: State = { ...before, ...Object.fromEntries(copies) };
  for (const change of changes) applyChange(state, change);
  return state;
}
