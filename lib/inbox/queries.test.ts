import { describe, expect, test } from 'vitest';
import { beforeCalls, failToReadShard, startEngine } from '../../test/engine.ts';
import { useInbox } from '../../test/inbox.ts';
import { iso, updateIf } from '../aws/table.ts';
import { findLatest } from './enqueue.ts';
import { type Item, keyOf } from './item.ts';
import * as queries from './queries.ts';
import * as inbox from './transitions.ts';

const on = useInbox();

describe('dueRows', () => {
  test('yields the due rows of every shard, and no others', async () => {
    await using other = await startEngine();
    on.table = other.table('inbox', on.clock);
    const early = await Promise.all(Array.from({ length: 60 }, () => on.pending()));
    on.clock.advance(1);
    const late = await on.pending();
    const failed = await on.pending();
    await inbox.fail(on.table, inbox.unclaimed(failed), 'x');
    on.clock.advance(119_999);
    const keys = await Array.fromAsync(queries.dueRows(on.table));
    expect(keys.map(({ event_id }) => event_id).sort()).toEqual(
      early.map(({ event_id }) => event_id).sort(),
    );
    expect(new Set(early.map(({ due_shard }) => due_shard)).size).toBeGreaterThan(8);
    expect(keys.map(({ event_id }) => event_id)).not.toContain(late.event_id);
  });
});

test('dueRows reads the other shards when one cannot be read, and throws at the end', async () => {
  await using fresh = await startEngine();
  on.table = fresh.table('inbox', on.clock);
  const items = await Promise.all(Array.from({ length: 40 }, () => on.pending()));
  on.clock.advance(120_000);
  const client = fresh.newClient();
  failToReadShard(client, items[0]?.due_shard);
  const seen: string[] = [];
  const readAll = async () => {
    for await (const { event_id } of queries.dueRows({ ...on.table, client })) seen.push(event_id);
  };
  await expect(readAll()).rejects.toThrow('no');
  const others = items.filter(({ due_shard }) => due_shard !== items[0]?.due_shard);
  expect(seen.sort()).toEqual(others.map(({ event_id }) => event_id).sort());
});

describe('indexedRows', () => {
  const forever = { from: '1970-01-01T00:00:00.000Z', to: '9999-12-31T23:59:59.999Z' };

  /** Rows that failed at these times, in seconds from now, and their ids in the order of `indexedRows`. */
  async function failedAt(...seconds: number[]): Promise<string[]> {
    const rows = await Promise.all(
      seconds.map(async (second) => {
        const item = await on.pending();
        const now = () => Date.parse(item.received_at) + second * 1_000;
        const failed = await inbox.fail({ ...on.table, now }, inbox.unclaimed(item), 'x');
        return failed.item as Required<Item>;
      }),
    );
    const orderOf = ({ next_attempt_at, due_shard }: Item) => `${next_attempt_at} ${due_shard}`;
    return rows.sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1)).map(({ event_id }) => event_id);
  }

  const idsOf = (rows: readonly { event_id: string }[]) => rows.map(({ event_id }) => event_id);

  test('spreads failed rows over many keys, and has them in the order in which they failed', async () => {
    await using fresh = await startEngine();
    on.table = fresh.table('inbox', on.clock);
    const ids = await failedAt(...Array.from({ length: 60 }, (_, i) => (i * 37) % 60));
    const rows = await queries.indexedRows(on.table, 'failed', 100, forever);
    expect(idsOf(rows)).toEqual(ids);
    expect(new Set(rows.map(({ due_shard }) => due_shard)).size).toBeGreaterThan(8);
  });

  test.each([1, 7, 33])(
    'has each row once, %i at a time, though several failed at once',
    async (limit) => {
      await using fresh = await startEngine();
      on.table = fresh.table('inbox', on.clock);
      const ids = await failedAt(...Array.from({ length: 50 }, (_, i) => i % 3));
      const seen: string[] = [];
      let after: queries.IndexKey | undefined;
      do {
        const rows = await queries.indexedRows(on.table, 'failed', limit, forever, after);
        seen.push(...idsOf(rows));
        after = rows.at(-1);
      } while (after);
      expect(seen).toHaveLength(50);
      expect(seen.toSorted()).toEqual(ids.toSorted());
    },
  );

  test('has rows that an earlier version put under one key', async () => {
    await using fresh = await startEngine();
    on.table = fresh.table('inbox', on.clock);
    const ids = await failedAt(0, 1, 2, 3);
    const rows = await queries.indexedRows(on.table, 'failed', 10, forever);
    for (const key of rows.slice(1, 3)) {
      await updateIf(on.table, keyOf(key), { due_shard: 'failed' }, [
        'attribute_exists(#due_shard)',
      ]);
    }
    expect(idsOf(await queries.indexedRows(on.table, 'failed', 10, forever))).toEqual(ids);
    const [first, second] = await queries.indexedRows(on.table, 'failed', 2, forever);
    expect(second?.due_shard).toBe('failed');
    expect(idsOf([first as queries.IndexKey])).toEqual(ids.slice(0, 1));
    expect(idsOf(await queries.indexedRows(on.table, 'failed', 10, forever, second))).toEqual(
      ids.slice(2),
    );
  });

  test('has only rows of the period', async () => {
    await using fresh = await startEngine();
    on.table = fresh.table('inbox', on.clock);
    const ids = await failedAt(0, 1, 2, 3);
    const period = { from: iso(on.clock.now() + 1_000), to: iso(on.clock.now() + 2_000) };
    const rows = await queries.indexedRows(on.table, 'failed', 10, period);
    expect(idsOf(rows)).toEqual(ids.slice(1, 3));
    expect(await queries.indexedRows(on.table, 'failed', 10, period, rows.at(-1))).toEqual([]);
  });
});

/** What a write is decided on must be what the last one wrote; the engines at hand are always so, DynamoDB is not. */
test('all reads but those of the index are consistent', async () => {
  const watched = { ...on.table, client: on.engine.newClient() };
  const reads = new Map<string, unknown>();
  beforeCalls(watched.client, (operation, { IndexName, ConsistentRead }) =>
    reads.set(IndexName ?? operation, ConsistentRead),
  );
  await findLatest(watched, on.message());
  await queries.read(watched, await on.pending());
  for await (const _ of queries.dueRows(watched));
  expect(Object.fromEntries(reads)).toEqual({ Query: true, GetItem: true, due: undefined });
});
