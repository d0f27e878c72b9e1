import { createHash } from 'node:crypto';

/** The key of a row, as a stream's record has it. */
export type Keys = Readonly<Record<string, { readonly S?: string }>>;

/**
 * Of the event source mapping in serverless.yml, what says how much is in flight. A shard has so many lanes; each has one
 * batch in flight, and takes the next once the function has returned. DynamoDB assigns partition keys to shards, Lambda
 * items to lanes, so that the changes of an item stay in order.
 * Source: Lambda's documentation, "Polling and batching streams", "Parallelization factor".
 */
export interface Mapping {
  readonly shards: number;
  readonly parallelizationFactor: number;
  readonly batchSize: number;
}

/** Hands records over lane by lane, as Lambda does between a stream and a function. */
export class Lanes {
  readonly #mapping: Mapping;
  readonly #busy = new Set<string>();

  constructor(mapping: Mapping) {
    this.#mapping = mapping;
  }

  /**
   * Starts a batch in each free lane that has records waiting.
   *
   * @param waiting oldest first
   * @param handOver must not reject
   */
  start(waiting: readonly Keys[], handOver: (batch: readonly Keys[]) => Promise<void>): void {
    const lanes = Map.groupBy(waiting, (keys) => laneOf(keys, this.#mapping));
    for (const [lane, records] of lanes) {
      if (this.#busy.has(lane)) continue;
      this.#busy.add(lane);
      const batch = records.slice(0, this.#mapping.batchSize);
      void handOver(batch).finally(() => this.#busy.delete(lane));
    }
  }
}

/** Shard and lane of a record. */
export function laneOf(keys: Keys, { shards, parallelizationFactor }: Mapping): string {
  const { session_open_id, event_id } = keys;
  const shard = hash(`${session_open_id?.S}`) % shards;
  return `${shard}.${hash(`${session_open_id?.S} ${event_id?.S}`) % parallelizationFactor}`;
}

const hash = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE();
