import { setTimeout as sleep } from 'node:timers/promises';
import type { DynamoDBRecord } from 'aws-lambda';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { enqueue } from '../lib/inbox/enqueue.ts';
import type { Item, Key } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import type { InboxTable } from '../lib/inbox/table.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { type Engine, startEngine } from '../test/engine.ts';
import { newArrival, saying } from '../test/fixtures.ts';
import { until } from '../test/project.ts';
import { type Keys, laneOf } from './lanes.ts';
import { MAPPING, playStream, type StreamOptions } from './stream.ts';

let engine: Engine;
let table: InboxTable;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(() => {
  table = engine.table('inbox');
});

const put = async (event: Event = saying(`${Math.random()}`)) => {
  const { event_id } = await enqueue(table, newArrival(event), 5);
  return { session_open_id: event.data.session.session_open_id, event_id };
};

const laneOfKey = ({ session_open_id, event_id }: Key) =>
  laneOf({ session_open_id: { S: session_open_id }, event_id: { S: event_id } }, MAPPING);

const putInOtherLane = async (other: Key) => {
  for (;;) {
    const key = await put();
    if (laneOfKey(key) !== laneOfKey(other)) return key;
    await settle(key);
  }
};

const settle = async (key: Key) => {
  const item = (await queries.read(table, key)) as Item;
  await inbox.completeWithoutReply(table, inbox.unclaimed(item));
};

const play = (invoke: StreamOptions['invoke']) => {
  const stream = playStream({ client: engine.client, table: table.name, invoke });
  return { ...stream, [Symbol.asyncDispose]: stream.stop };
};

const idOf = ({ dynamodb }: DynamoDBRecord) => dynamodb?.Keys?.event_id?.S;

test('a new row is handed over once, as an insert', async () => {
  const seen: DynamoDBRecord[] = [];
  await using _ = play(async (records) => void seen.push(...records));
  const key = await put();
  const began = performance.now();
  await until(async () => seen.length > 0, 1_000);
  expect(performance.now() - began).toBeLessThan(500);
  expect(seen).toEqual([
    {
      eventID: expect.stringMatching(/^[\da-f]{32}$/),
      eventName: 'INSERT',
      eventVersion: '1.1',
      eventSource: 'aws:dynamodb',
      awsRegion: 'us-east-1',
      dynamodb: {
        ApproximateCreationDateTime: expect.any(Number),
        Keys: { session_open_id: { S: key.session_open_id }, event_id: { S: key.event_id } },
        SequenceNumber: expect.stringMatching(/^\d{21}$/),
        SizeBytes: expect.any(Number),
        StreamViewType: 'KEYS_ONLY',
      },
    },
  ]);
  const other = await put();
  await until(async () => seen.length > 1, 1_000);
  expect(seen.map(idOf)).toEqual([key.event_id, other.event_id]);
  await settle(key);
  await settle(other);
});

test('rows are handed over in batches of at most ten, each in a lane that is free', async () => {
  const keys = await Promise.all(Array.from({ length: 150 }, () => put()));
  const batches: Keys[][] = [];
  const inFlight = new Set<string>();
  await using _ = play(async (records) => {
    const batch = records.map(({ dynamodb }) => dynamodb?.Keys as Keys);
    const lanes = new Set(batch.map((it) => laneOf(it, MAPPING)));
    const [lane = ''] = lanes;
    expect(lanes.size).toBe(1);
    expect(inFlight).not.toContain(lane);
    inFlight.add(lane);
    batches.push(batch);
    await sleep(300);
    inFlight.delete(lane);
  });
  await until(async () => batches.flat().length === keys.length);
  expect(Math.max(...batches.map((it) => it.length))).toBe(10);
  await Promise.all(keys.map(settle));
});

test('a rejected batch is handed over again until it is taken', async () => {
  const key = await put();
  const calls: number[] = [];
  await using _ = play(async () => {
    calls.push(performance.now());
    if (calls.length < 3) throw new Error('not yet');
  });
  await until(async () => calls.length === 3);
  const [first = 0, second = 0, third = 0] = calls;
  for (const pause of [second - first, third - second]) expect(pause).toBeGreaterThan(990);
  await settle(key);
});

test('a row in flight is handed over again when its worker has ended', async () => {
  const key = await put();
  const signals: AbortSignal[] = [];
  await using stream = play(async (_, signal) => {
    signals.push(signal);
    if (signals.length > 1) return;
    await new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason)),
    );
  });
  await until(async () => signals.length === 1);
  stream.restart();
  await until(async () => signals.length === 2, 1_000);
  await settle(key);
});

test('a row that a new worker has is not handed over again when the old worker ends', async () => {
  const old = await put();
  const seen: string[] = [];
  await using stream = play(async ([record], signal) => {
    seen.push(idOf(record as DynamoDBRecord) as string);
    if (seen.length === 3) return;
    await new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason)),
    );
  });
  await until(async () => seen.length === 1);
  stream.restart(500);
  const young = await putInOtherLane(old);
  await until(async () => seen.length === 3);
  expect(seen).toEqual([old.event_id, young.event_id, old.event_id]);
  await settle(old);
  await settle(young);
});

test('a row that is put during a pause is handed over after it', async () => {
  const seen: DynamoDBRecord[] = [];
  await using stream = play(async (records) => void seen.push(...records));
  stream.pause();
  const key = await put();
  await expect(until(async () => seen.length > 0, 500)).rejects.toThrow('in vain');
  stream.restart();
  await until(async () => seen.length > 0, 1_000);
  await settle(key);
});

test('a failed row is not handed over', async () => {
  const item = (await queries.read(table, await put())) as Item;
  await inbox.fail(table, inbox.unclaimed(item), 'x');
  const key = await put();
  const seen: DynamoDBRecord[] = [];
  await using _ = play(async (records) => void seen.push(...records));
  await until(async () => seen.length > 0);
  expect(seen.map(idOf)).toEqual([key.event_id]);
});
