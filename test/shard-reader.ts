import { setTimeout as sleep } from 'node:timers/promises';
import {
  DescribeStreamCommand,
  DynamoDBStreamsClient,
  GetRecordsCommand,
  type GetRecordsCommandOutput,
  GetShardIteratorCommand,
  type ShardIteratorType,
  type _Record as StreamRecord,
  TrimmedDataAccessException,
} from '@aws-sdk/client-dynamodb-streams';
import type { DynamoDBRecord } from 'aws-lambda';
import type { Engine } from './engine.ts';

/** Of an `AWS::Lambda::EventSourceMapping`, what a reader goes by. */
export interface Mapping {
  readonly BatchSize: number;
  readonly MaximumRetryAttempts: number;
  readonly StartingPosition: ShardIteratorType;
  readonly FilterCriteria: { readonly Filters: readonly { readonly Pattern: string }[] };
}

export interface ShardReader extends AsyncDisposable {
  /** The names of all that the stream had, whether the filter let it through or not. */
  readonly seen: readonly string[];
}

export interface Source {
  readonly engine: Pick<Engine, 'endpoint' | 'client'>;
  readonly streamArn: string;
  readonly mapping: Mapping;
  readonly invoke: (event: { readonly Records: readonly DynamoDBRecord[] }) => Promise<unknown>;
}

const POLL_MS = 50;

/**
 * Does what Lambda does between a table's stream and a function: reads each shard, and hands over what the filter
 * lets through, in batches.
 */
export function readStream({ engine, streamArn, mapping, invoke }: Source): ShardReader {
  const client = new DynamoDBStreamsClient({
    endpoint: engine.endpoint,
    region: engine.client.config.region,
    credentials: engine.client.config.credentials,
  });
  const end = new AbortController();
  const seen: string[] = [];
  const flights = new Set<Promise<void>>();
  const known = new Set<string>();

  const handOver = async (records: readonly DynamoDBRecord[]) => {
    for (let attempts = 0; attempts <= mapping.MaximumRetryAttempts; attempts++) {
      try {
        await invoke({ Records: records });
        return;
      } catch {
        // As the mapping has it: again, or given up.
      }
    }
  };
  const take = (records: readonly StreamRecord[]) => {
    seen.push(...records.map(({ eventName }) => `${eventName}`));
    const wanted = records.map(lambdaRecord).filter((it) => passes(mapping, it));
    while (wanted.length > 0) {
      const flight = handOver(wanted.splice(0, mapping.BatchSize));
      flights.add(flight);
      void flight.finally(() => flights.delete(flight));
    }
  };
  const ids = new Set<string | undefined>();
  const isNew = ({ eventID }: StreamRecord) => !ids.has(eventID) && ids.add(eventID);
  const startOf = async (ShardId: string) => {
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({
        StreamArn: streamArn,
        ShardId,
        ShardIteratorType: mapping.StartingPosition,
      }),
    );
    return ShardIterator;
  };
  const readShard = async (ShardId: string) => {
    let next = await startOf(ShardId);
    while (next && !end.signal.aborted) {
      try {
        const page: GetRecordsCommandOutput = await client.send(
          new GetRecordsCommand({ ShardIterator: next }),
        );
        take((page.Records ?? []).filter(isNew));
        next = page.NextShardIterator;
      } catch (error) {
        // What it stood at is gone, as all is in time.
        if (!(error instanceof TrimmedDataAccessException)) throw error;
        next = await startOf(ShardId);
      }
      await sleep(POLL_MS);
    }
  };
  const shards: Promise<void>[] = [];
  const discover = async () => {
    while (!end.signal.aborted) {
      const { StreamDescription } = await client.send(
        new DescribeStreamCommand({ StreamArn: streamArn }),
      );
      for (const { ShardId = '' } of StreamDescription?.Shards ?? []) {
        if (known.has(ShardId)) continue;
        known.add(ShardId);
        shards.push(readShard(ShardId));
      }
      await sleep(POLL_MS);
    }
  };
  const discovered = discover();
  return {
    seen,
    [Symbol.asyncDispose]: async () => {
      end.abort();
      await discovered;
      await Promise.all(shards);
      await Promise.all(flights);
      client.destroy();
    },
  };
}

/** A record as Lambda has it: its time is a number of seconds. */
const lambdaRecord = (record: StreamRecord): DynamoDBRecord => {
  const { ApproximateCreationDateTime, ...dynamodb } = record.dynamodb ?? {};
  return {
    ...record,
    dynamodb: {
      ...dynamodb,
      ApproximateCreationDateTime: Math.floor(Number(ApproximateCreationDateTime) / 1_000),
    },
  } as DynamoDBRecord;
};

/** A pattern of event filtering, as far as values of the first level go. */
function passes({ FilterCriteria }: Mapping, record: DynamoDBRecord): boolean {
  return FilterCriteria.Filters.some(({ Pattern }) =>
    Object.entries(JSON.parse(Pattern) as Record<string, unknown[]>).every(([name, values]) =>
      values.includes(record[name as keyof DynamoDBRecord]),
    ),
  );
}
