import {
  applyChange,
  type Change,
  type CollectionName,
  type Collections,
  emptyState,
  type State,
} from './state.ts';

export type Listener = (change: Change) => void;

/** The server's copy of the studio's state, which notifies its listeners of every change. */
export class Store {
  readonly #state: State = emptyState();
  readonly #listeners = new Set<Listener>();

  get state(): State {
    return this.#state;
  }

  /** Whether a page is open. */
  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  get<Name extends CollectionName>(of: Name, id: string): Collections[Name] | undefined {
    return this.#state[of].get(id);
  }

  set<Name extends CollectionName>(of: Name, id: string, value: Collections[Name] | null): void {
    const change = { of, id, value } as Change;
    applyChange(this.#state, change);
    for (const listener of this.#listeners) listener(change);
  }

  /** The changes that make this state out of an empty one. */
  snapshot(): Change[] {
    return Object.entries(this.#state).flatMap(([of, values]) =>
      [...values].map(([id, value]) => ({ of, id, value }) as Change),
    );
  }

  /** @returns a function that removes the listener */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
