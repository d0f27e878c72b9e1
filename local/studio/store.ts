import {
  apply,
  type Change,
  type CollectionName,
  type Collections,
  emptyState,
  type State,
} from './state.ts';

export type Listener = (change: Change) => void;

/** The studio's state on the server's side, and who is told of its changes. */
export class Store {
  readonly #state: State = emptyState();
  readonly #listeners = new Set<Listener>();

  get state(): State {
    return this.#state;
  }

  /** Whether anybody looks. */
  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  get<Name extends CollectionName>(of: Name, id: string): Collections[Name] | undefined {
    return this.#state[of].get(id);
  }

  set<Name extends CollectionName>(of: Name, id: string, value: Collections[Name] | null): void {
    const change = { of, id, value } as Change;
    apply(this.#state, change);
    for (const listener of this.#listeners) listener(change);
  }

  /** Changes that make the whole of it out of nothing. */
  whole(): Change[] {
    return Object.entries(this.#state).flatMap(([of, values]) =>
      [...values].map(([id, value]) => ({ of, id, value }) as Change),
    );
  }

  /** @returns what ends it */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
