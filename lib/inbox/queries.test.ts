import { describe, expect, test } from 'vitest';
import { beforeCalls, failToReadShard, startEngine } from '../../test/engine.ts';
import { useInbox } from '../../test/inbox.ts';
import { findLatest } from './enqueue.ts';
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
