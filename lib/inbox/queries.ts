import { GetItemCommand, paginateQuery } from '@aws-sdk/client-dynamodb';
import { iso, type Table, toAttributes } from '../aws/table.ts';
import {
  DUE_SHARDS,
  type DueList,
  type Item,
  itemIn,
  type Key,
  keyOf,
  shardName,
  shardsOf,
} from './item.ts';
import type { InboxTable } from './table.ts';

/** The row as it is now. */
export async function read(table: Table, key: Key): Promise<Item | undefined> {
  const { Item: attributes } = await table.client.send(
    new GetItemCommand({
      TableName: table.name,
      Key: toAttributes(keyOf(key)),
      ConsistentRead: true,
    }),
    table.options,
  );
  return attributes && itemIn(attributes);
}

/**
 * The rows that are due, as the index has them: possibly stale, so each is to be read before it is claimed.
 * A shard that cannot be read does not keep the others from being read.
 *
 * @throws at the end, the first error of such a shard
 */
export async function* dueRows(table: InboxTable): AsyncGenerator<Key, void> {
  const first = Math.floor(table.random() * DUE_SHARDS);
  const errors: unknown[] = [];
  for (let i = 0; i < DUE_SHARDS; i++) {
    try {
      yield* dueInShard(table, shardName((first + i) % DUE_SHARDS));
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

async function* dueInShard(table: InboxTable, shard: string): AsyncGenerator<Key, void> {
  const pages = paginateQuery(
    { client: table.client },
    {
      TableName: table.name,
      IndexName: 'due',
      KeyConditionExpression: 'due_shard = :shard AND next_attempt_at <= :now',
      ExpressionAttributeValues: { ':shard': { S: shard }, ':now': { S: iso(table.now()) } },
    },
    table.options,
  );
  for await (const { Items = [] } of pages) yield* shuffled(Items.map(itemIn), table.random);
}

/** In an order of its own for every worker, so that two of them seldom reach for the same row. */
function shuffled<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

/** Where the index has a row. */
export type IndexKey = Key & Required<Pick<Item, 'due_shard' | 'next_attempt_at'>>;

/**
 * The rows of a list of the index, over all of its shards in the order of `next_attempt_at`: for failed rows, that in
 * which they failed. The index may be stale.
 *
 * @param between of `next_attempt_at`, ISO 8601 UTC, both included
 * @param after begins behind this one
 */
export async function indexedRows(
  table: Table,
  list: DueList,
  limit: number,
  between: Period,
  after?: IndexKey,
): Promise<IndexKey[]> {
  const shards = shardsOf(list);
  const pageSize = Math.ceil(limit / shards.length);
  const readers = shards.map((shard) => rowsInShard(table, shard, pageSize, between, after));
  const heads = await Promise.all(readers.map((reader) => reader.next()));
  const rows: IndexKey[] = [];
  for (;;) {
    const first = earliest(heads);
    const { value } = heads[first] ?? {};
    if (!value || rows.length === limit) return rows;
    rows.push(value);
    heads[first] = await (readers[first] as (typeof readers)[number]).next();
  }
}

export interface Period {
  readonly from: string;
  readonly to: string;
}

type Head = IteratorResult<IndexKey, void>;

/** The position of the earliest row, or -1. Of rows of the same time, the one of the first shard comes first. */
function earliest(heads: readonly Head[]): number {
  let first = -1;
  for (const [i, { value }] of heads.entries()) {
    const least = heads[first]?.value?.next_attempt_at;
    if (value && (least === undefined || value.next_attempt_at < least)) first = i;
  }
  return first;
}

async function* rowsInShard(
  table: Table,
  shard: string,
  pageSize: number,
  { from, to }: Period,
  after: IndexKey | undefined,
): AsyncGenerator<IndexKey, void> {
  const first = after ? firstAfter(after, shard) : from;
  if (first > to) return;
  const pages = paginateQuery(
    {
      client: table.client,
      pageSize,
      ...(after?.due_shard === shard && { startingToken: toAttributes(indexKeyOf(after)) }),
    },
    {
      TableName: table.name,
      IndexName: 'due',
      KeyConditionExpression: 'due_shard = :shard AND next_attempt_at BETWEEN :from AND :to',
      ExpressionAttributeValues: toAttributes({ ':shard': shard, ':from': first, ':to': to }),
    },
    table.options,
  );
  for await (const { Items = [] } of pages) {
    yield* Items.map((it) => indexKeyOf(itemIn(it) as IndexKey));
  }
}

/** Rows of the same time in earlier shards came before this one. */
function firstAfter({ due_shard, next_attempt_at }: IndexKey, shard: string): string {
  return shard < due_shard ? iso(Date.parse(next_attempt_at) + 1) : next_attempt_at;
}

const indexKeyOf = ({ session_open_id, event_id, due_shard, next_attempt_at }: IndexKey) => ({
  session_open_id,
  event_id,
  due_shard,
  next_attempt_at,
});
