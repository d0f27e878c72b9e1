import type { Key } from '../inbox/item.ts';

/** How many keys of one session are taken up: more than a run can deliver. */
export const MAX_KEYS_OF_SESSION = 20_000;

/** How many keys are taken up at all, which bounds the memory to some 100 MB. */
export const MAX_KEYS = 1_000_000;

/**
 * Rows in a fair order: one of each session in turn. However many rows a session has, another's first row comes
 * within the first round.
 */
export class Turns {
  readonly #sessions = new Map<string, string[]>();
  #size = 0;

  get isFull(): boolean {
    return this.#size >= MAX_KEYS;
  }

  /** Takes up a key, unless its session has {@link MAX_KEYS_OF_SESSION}: those beyond are left for a later run. */
  add({ session_open_id, event_id }: Key): void {
    const keys = this.#sessions.get(session_open_id) ?? [];
    if (keys.length >= MAX_KEYS_OF_SESSION) return;
    keys.push(event_id);
    this.#sessions.set(session_open_id, keys);
    this.#size++;
  }

  /** The keys, one of each session in turn. */
  *inTurns(): Generator<Key, void> {
    for (const [session_open_id, event_id] of inTurns(this.#sessions)) {
      yield { session_open_id, event_id };
    }
  }
}

/** What sessions have, in an order in which each has its turn: the first of each, then the second of each. */
export function* inTurns<T>(
  bySession: ReadonlyMap<string, readonly T[]>,
): Generator<readonly [session_open_id: string, T], void> {
  for (let round = 0, sessions = [...bySession]; sessions.length > 0; round++) {
    sessions = sessions.filter(([, its]) => its.length > round);
    for (const [session_open_id, its] of sessions) yield [session_open_id, its[round] as T];
  }
}
