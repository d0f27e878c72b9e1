import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import type { DynamoDBRecord } from 'aws-lambda';
import { type Keys, Lanes, type Mapping } from './lanes.ts';

export interface Stream {
  /** Stops handing rows over. */
  readonly pause: () => void;
  /**
   * Continues. For rows in flight that are not taken within the grace, the function is invoked again: their worker
   * has ended.
   */
  readonly restart: (graceMs?: number) => void;
  readonly stop: () => Promise<void>;
}

export interface StreamOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  /** Rejects when the function does not take the records. */
  readonly invoke: (records: readonly DynamoDBRecord[], signal: AbortSignal) => Promise<void>;
}

const POLL_MS = 100;
const RETRY_MS = 1_000;

/** As in serverless.yml; a new table that is billed on demand has four partitions, and a shard for each. */
export const MAPPING: Mapping = { shards: 4, parallelizationFactor: 10, batchSize: 10 };

/**
 * Plays the inbox table's stream, which dynalite does not have: hands each new row over as an insert, in the batches
 * and lanes of the mapping in serverless.yml, and again every second while they are rejected.
 */
export function playStream({ client, table, invoke }: StreamOptions): Stream {
  const end = new AbortController();
  const handed = new Set<string>();
  let flights = new AbortController();
  const lanes = new Lanes(MAPPING);
  let isPaused = false;

  const handOver = async (batch: readonly Keys[]) => {
    const { signal } = flights;
    try {
      await invoke(batch.map(recordOf), AbortSignal.any([signal, end.signal]));
    } catch {
      await sleep(signal.aborted ? 0 : RETRY_MS);
      for (const keys of batch) handed.delete(JSON.stringify(keys));
    }
  };

  const poll = async () => {
    if (isPaused) return;
    const pending = await pendingKeys(client, table);
    const present = new Set(pending.map((keys) => JSON.stringify(keys)));
    for (const id of handed) if (!present.has(id)) handed.delete(id);
    const fresh = pending.filter((keys) => !handed.has(JSON.stringify(keys)));
    lanes.start(fresh, (batch) => {
      for (const keys of batch) handed.add(JSON.stringify(keys));
      return handOver(batch);
    });
  };

  const play = async () => {
    while (!end.signal.aborted) {
      // The engine may be busy or shutting down. The next poll is soon.
      await poll().catch(() => {});
      await sleep(POLL_MS);
    }
  };

  const played = play();
  return {
    pause: () => {
      isPaused = true;
    },
    restart: (graceMs = 0) => {
      isPaused = false;
      const old = flights;
      flights = new AbortController();
      setTimeout(() => old.abort(), graceMs).unref();
    },
    stop: async () => {
      end.abort();
      await played;
    },
  };
}

/** The rows that are not settled, the oldest first. The index `due` has these under numbers. */
async function pendingKeys(client: DynamoDBClient, table: string): Promise<Keys[]> {
  const pages = paginateScan({ client }, { TableName: table, IndexName: 'due' });
  const rows: { readonly keys: Keys; readonly dueAt: string }[] = [];
  for await (const { Items = [] } of pages) {
    for (const { session_open_id, event_id, due_shard, next_attempt_at } of Items) {
      if (!/^\d/.test(due_shard?.S ?? '')) continue;
      rows.push({ keys: { session_open_id, event_id } as Keys, dueAt: `${next_attempt_at?.S}` });
    }
  }
  return rows.sort((a, b) => (a.dueAt < b.dueAt ? -1 : 1)).map(({ keys }) => keys);
}

let sequence = 0;

/** A record of a stream with the view type KEYS_ONLY. */
const recordOf = (Keys: Keys): DynamoDBRecord => ({
  eventID: crypto.randomUUID().replaceAll('-', ''),
  eventName: 'INSERT',
  eventVersion: '1.1',
  eventSource: 'aws:dynamodb',
  awsRegion: 'us-east-1',
  dynamodb: {
    ApproximateCreationDateTime: Math.floor(Date.now() / 1_000),
    Keys: { ...Keys },
    SequenceNumber: `${++sequence}`.padStart(21, '0'),
    SizeBytes: Buffer.byteLength(JSON.stringify(Keys)),
    StreamViewType: 'KEYS_ONLY',
  },
});
