import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { LEASE_MS } from '../lib/inbox/backoff.ts';
import { type Keys, Lanes, laneOf } from './lanes.ts';
import { MAPPING } from './stream.ts';

/*
 * How long slow answers of one person keep other groups waiting, by Lambda's event source mapping as documented. The
 * figures are in docs/architecture.md, "Slow robots".
 */

interface Row {
  readonly keys: Keys;
  readonly arrivesAt: number;
  readonly answerMs: number;
  startedAt?: number;
}

const rowOf = (session: string, event: string, arrivesAt: number, answerMs: number): Row => ({
  keys: { session_open_id: { S: session }, event_id: { S: event } },
  arrivesAt,
  answerMs,
});

/** By the faked clock. */
const sleep = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

const STEP_MS = 100;
const stream = parse(readFileSync(new URL('../serverless.yml', import.meta.url), 'utf8'), {
  logLevel: 'silent',
}).functions.reply.events[0].stream;
/** What has waited longer, the mapping leaves out, and `retry` takes it once it is due. */
const MAX_AGE_MS = stream.maximumRecordAgeInSeconds * 1_000;
const RETRY_EVERY_MS = 60_000;

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

/** Plays the rows, with a robot that may take so long. */
async function play(rows: readonly Row[], robotMs: number): Promise<void> {
  const lanes = new Lanes(MAPPING);
  const rowFor = new Map(rows.map((row) => [row.keys, row]));
  const waiting = new Set<Row>();
  const last = Math.max(...rows.map(({ arrivesAt }) => arrivesAt));
  for (let now = 0; now < last + STEP_MS || waiting.size > 0; now += STEP_MS) {
    for (const row of rows) {
      if (row.arrivesAt > now - STEP_MS && row.arrivesAt <= now) waiting.add(row);
    }
    for (const row of waiting) {
      if (now - row.arrivesAt <= MAX_AGE_MS) continue;
      waiting.delete(row);
      row.startedAt = Math.ceil((row.arrivesAt + LEASE_MS) / RETRY_EVERY_MS) * RETRY_EVERY_MS;
    }
    lanes.start(
      [...waiting].map(({ keys }) => keys),
      async (batch) => {
        const taken = batch.map((keys) => rowFor.get(keys) as Row);
        for (const row of taken) {
          waiting.delete(row);
          row.startedAt = now;
        }
        await sleep(Math.max(...taken.map(({ answerMs }) => Math.min(answerMs, robotMs))));
      },
    );
    await vi.advanceTimersByTimeAsync(STEP_MS);
  }
}

/** A message of another group every 250 ms for a minute. */
const others = () =>
  Array.from({ length: 240 }, (_, i) => rowOf(`group ${i}`, `event ${i}`, i * 250, 200));

const slow = (count: number, everyMs: number) =>
  Array.from({ length: count }, (_, i) => rowOf('slow', `slow ${i}`, i * everyMs, 50_000));

const waitsOf = (rows: readonly Row[]) =>
  rows.map(({ arrivesAt, startedAt = Number.NaN }) => startedAt - arrivesAt);

const shardOf = ({ keys }: Row) => laneOf(keys, MAPPING).split('.')[0];

const delayed = (rows: readonly Row[]) => waitsOf(rows).filter((wait) => wait > 1_000);

test('the mapping is that of serverless.yml', () => {
  expect(stream).toMatchObject({
    batchSize: MAPPING.batchSize,
    parallelizationFactor: MAPPING.parallelizationFactor,
  });
  expect(stream).not.toHaveProperty('batchWindow');
});

describe('twelve 50-second answers of one person', () => {
  test.each([60_000, 10_000])(
    'keep others waiting for no longer than one of them, if a robot has %i ms',
    async (robotMs) => {
      const rows = others();
      const noisy = slow(12, 500);
      await play([...rows, ...noisy], robotMs);
      const longest = Math.min(robotMs, 50_000);
      const waits = waitsOf(rows);
      expect(Math.max(...waits)).toBeGreaterThan(longest / 2);
      expect(Math.max(...waits)).toBeLessThanOrEqual(longest + STEP_MS);
      expect(delayed(rows.filter((row) => shardOf(row) !== shardOf(noisy[0] as Row)))).toEqual([]);
    },
  );
});

test.each([60_000, 10_000])(
  'a flood of slow answers keeps others waiting until retry takes them at the longest, if a robot has %i ms',
  async (robotMs) => {
    const rows = others();
    const noisy = slow(600, 100);
    await play([...rows, ...noisy], robotMs);
    const waits = waitsOf(rows);
    expect(Math.max(...waits)).toBeLessThanOrEqual(LEASE_MS + RETRY_EVERY_MS);
    expect(delayed(rows.filter((row) => shardOf(row) !== shardOf(noisy[0] as Row)))).toEqual([]);
  },
);

test('a free lane starts, a busy one does not, and each takes its oldest records', async () => {
  const lanes = new Lanes({ shards: 1, parallelizationFactor: 1, batchSize: 2 });
  const keys = [1, 2, 3].map((i) => rowOf('s', `${i}`, 0, 0).keys);
  const batches: unknown[] = [];
  const handOver = async (batch: readonly Keys[]) => {
    batches.push(batch);
    await sleep(1_000);
  };
  lanes.start(keys, handOver);
  lanes.start(keys.slice(2), handOver);
  expect(batches).toEqual([keys.slice(0, 2)]);
  await vi.advanceTimersByTimeAsync(1_000);
  lanes.start(keys.slice(2), handOver);
  expect(batches).toEqual([keys.slice(0, 2), keys.slice(2)]);
});
