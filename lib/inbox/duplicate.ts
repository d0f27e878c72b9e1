import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { isConditionFailed, iso, type Table, toAttributes } from '../aws/table.ts';
import { type Key, keyOf } from './item.ts';

/**
 * Notes in a row that an equal event came within the window, for an operator who asks what became of it. It changes
 * nothing that a worker's writes depend on, and costs the answer to a duplicate one write.
 */
export async function noteDuplicate(
  { client, name, now, options }: Table,
  key: Key,
): Promise<void> {
  try {
    await client.send(
      new UpdateItemCommand({
        TableName: name,
        Key: toAttributes(keyOf(key)),
        UpdateExpression: 'ADD duplicates :one SET last_duplicate_at = :now',
        ConditionExpression: 'attribute_exists(event_id)',
        ExpressionAttributeValues: toAttributes({ ':one': 1, ':now': iso(now()) }),
      }),
      options,
    );
  } catch (error) {
    // The row may have been erased since.
    if (!isConditionFailed(error)) throw error;
  }
}
