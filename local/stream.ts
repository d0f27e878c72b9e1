import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import type { DynamoDBRecord } from 'aws-lambda';

type Keys = NonNullable<NonNullable<DynamoDBRecord['dynamodb']>['Keys']>;

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
const BATCH_SIZE = 10;
const PARALLELIZATION_FACTOR = 10;

/**
 * Plays the inbox table's stream, which dynalite does not have: hands each new row over as an insert, in batches
 * like those of the mapping in serverless.yml, and again every second while they are rejected.
 */
export function playStream({ client, table, invoke }: StreamOptions): Stream {
  const end = new AbortController();
  const handed = new Set<string>();
  let flights = new AbortController();
  let inFlight = 0;
  let isPaused = false;

  const handOver = async (batch: readonly Keys[]) => {
    inFlight++;
    const { signal } = flights;
    try {
      await invoke(batch.map(recordOf), AbortSignal.any([signal, end.signal]));
    } catch {
      await sleep(signal.aborted ? 0 : RETRY_MS);
      for (const keys of batch) handed.delete(JSON.stringify(keys));
    } finally {
      inFlight--;
    }
  };

  const poll = async () => {
    if (isPaused) return;
    const pending = await pendingKeys(client, table);
    const present = new Set(pending.map((keys) => JSON.stringify(keys)));
    for (const id of handed) if (!present.has(id)) handed.delete(id);
    const fresh = pending.filter((keys) => !handed.has(JSON.stringify(keys)));
    while (fresh.length > 0 && inFlight < PARALLELIZATION_FACTOR) {
      const batch = fresh.splice(0, BATCH_SIZE);
      for (const keys of batch) handed.add(JSON.stringify(keys));
      void handOver(batch);
    }
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

/** The rows that are not settled. The index `due` has these under numbers, and the failed ones. */
async function pendingKeys(client: DynamoDBClient, table: string): Promise<Keys[]> {
  const pages = paginateScan({ client }, { TableName: table, IndexName: 'due' });
  const keys: Keys[] = [];
  for await (const { Items = [] } of pages) {
    for (const { session_open_id, event_id, due_shard } of Items) {
      if (/^\d/.test(due_shard?.S ?? '')) keys.push({ session_open_id, event_id } as Keys);
    }
  }
  return keys;
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
    Keys,
    SequenceNumber: `${++sequence}`.padStart(21, '0'),
    SizeBytes: Buffer.byteLength(JSON.stringify(Keys)),
    StreamViewType: 'KEYS_ONLY',
  },
});
