/*
 * What the studio knows, on either side of the wire: the server keeps it, every open page has a copy. It consists
 * of collections of values by id; all that ever happens to it is a change of one value.
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
  /** Who takes part, by `robot_no`. */
  readonly robots: readonly string[];
  readonly webview?: Webview | undefined;
}

export interface Webview {
  /** A percentage of the chat (`50%`), or pixels (`234`). */
  readonly height: string;
  readonly url: string;
  readonly robot_no: string;
  /** Another at every opening and refreshing: the page is to be loaded again. */
  readonly load: string;
}

/** What stands in a chat. */
export interface Line {
  readonly id: string;
  readonly chat: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly person?: string;
  readonly robot_no?: string;
  readonly did:
    | 'said'
    | 'said-to-nobody'
    | 'joined'
    | 'opened'
    | 'webview-opened'
    | 'webview-changed'
    | 'webview-missed'
    | 'webview-closed';
  readonly text?: string;
}

/** A request and its answer: an event of VVChat's, or a call of its robot API. */
export interface Exchange {
  readonly id: string;
  readonly kind: 'event' | 'command' | 'token';
  /** Of the event or the command; of a token, its app. */
  readonly name: string;
  readonly robot_no?: string | undefined;
  readonly at: number;
  readonly body: string;
  /** Left out until there is an answer; 0 when there was none, or it did not arrive. */
  readonly status?: number;
  readonly ms?: number;
  readonly answer?: string;
  /** The inbox row that came of an event, by the id it has here. */
  readonly row?: string;
}

/** A row of the inbox table, as far as it tells how an answer fares. */
export interface Row {
  readonly id: string;
  readonly status: string;
  readonly claims: number;
  readonly sent: number;
  readonly next_attempt_at: string | undefined;
  readonly last_error: string | undefined;
  readonly unknown: readonly number[] | undefined;
}

/** More rows of the memberships table are not shown. */
export const MAX_MEMBERSHIPS = 500;

/** A row of the memberships table, as it is. */
export type Membership = Readonly<Record<string, unknown>>;

/** How the simulated VVChat takes commands. */
export const WEATHERS = ['fine', 'error', 'throttled', 'slow', 'lost', 'expired'] as const;
export type Weather = (typeof WEATHERS)[number];

export interface Collections {
  readonly people: Person;
  readonly robots: RobotAccount;
  readonly chats: Chat;
  readonly lines: Line;
  readonly exchanges: Exchange;
  readonly rows: Row;
  readonly memberships: Membership;
  /** Of one value, `now`. */
  readonly weather: Weather;
}

export type CollectionName = keyof Collections;

/** A value that is new or another; null: it is gone. */
export type Change = {
  [Name in CollectionName]: {
    readonly of: Name;
    readonly id: string;
    readonly value: Collections[Name] | null;
  };
}[CollectionName];

/** Two ids as one, which no other two make. */
export const pairOf = (a: string, b: string): string => JSON.stringify([a, b]);

/** Of what comes without end the oldest is forgotten. */
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
  weather: new Map(),
});

/** Makes a change, in place. */
export function apply(state: State, { of, id, value }: Change): void {
  const values = state[of] as Map<string, unknown>;
  if (value === null) values.delete(id);
  else values.set(id, value);
  const [oldest] = values.keys();
  const limit = of in LIMITS ? LIMITS[of as keyof typeof LIMITS] : Number.POSITIVE_INFINITY;
  if (oldest !== undefined && values.size > limit) values.delete(oldest);
}

/** What it is after some changes; what it was before stays. */
export function after(before: State, changes: readonly Change[]): State {
  const touched = new Set(changes.map(({ of }) => of));
  const copies = [...touched].map((of) => [of, new Map<string, unknown>(before[of])]);
  const state: State = { ...before, ...Object.fromEntries(copies) };
  for (const change of changes) apply(state, change);
  return state;
}
