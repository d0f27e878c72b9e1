import { GetItemCommand, paginateQuery, QueryCommand } from '@aws-sdk/client-dynamodb';
import { iso, type Table, toAttributes } from '../aws/table.ts';
import { DUE_SHARDS, FAILED_SHARD, type Item, itemIn, type Key, keyOf, shardName } from './item.ts';
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

/** Where a row is among those that failed. */
export type FailedKey = Key & Pick<Item, 'next_attempt_at'>;

/**
 * The rows that failed, in the order in which they did, as the index has them: possibly stale.
 *
 * @param between times of failure, ISO 8601 UTC, both included
 * @param after begins behind this one
 */
export async function failedRows(
  table: Table,
  limit: number,
  between: { readonly from: string; readonly to: string },
  after?: FailedKey,
): Promise<FailedKey[]> {
  const { Items = [] } = await table.client.send(
    new QueryCommand({
      TableName: table.name,
      IndexName: 'due',
      KeyConditionExpression: 'due_shard = :failed AND next_attempt_at BETWEEN :from AND :to',
      ExpressionAttributeValues: toAttributes({
        ':failed': FAILED_SHARD,
        ':from': between.from,
        ':to': between.to,
      }),
      ExclusiveStartKey: after && toAttributes({ ...failedKeyOf(after), due_shard: FAILED_SHARD }),
      Limit: limit,
    }),
    table.options,
  );
  return Items.map((it) => failedKeyOf(itemIn(it)));
}

const failedKeyOf = ({ session_open_id, event_id, next_attempt_at }: FailedKey): FailedKey => ({
  session_open_id,
  event_id,
  next_attempt_at,
});
