import {
  type AttributeValue,
  ConditionalCheckFailedException,
  DynamoDBClient,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { isDuplicate, type Message, membershipOf, newestOf, rowOf } from './message.ts';

const client = new DynamoDBClient({});

/** Records a message as functions/webhook.ts does: UpdateItem beside Query, then PutItem, by AWS's SDK. */
export async function record(message: Message): Promise<'queued' | 'duplicate'> {
  const [, { Items = [] }] = await Promise.all([
    recordMembership(message),
    client.send(new QueryCommand(marshalled(newestOf(message)))),
  ]);
  const newest = Items[0] && {
    event_id: Items[0].event_id?.S ?? '',
    received_at: Items[0].received_at?.S ?? '',
  };
  if (isDuplicate(newest)) return 'duplicate';
  try {
    const { Item, ...rest } = rowOf(message, newest);
    await client.send(new PutItemCommand({ ...rest, Item: attributes(Item) }));
    return 'queued';
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return 'duplicate';
    throw error;
  }
}

/** Records the membership alone: one UpdateItem. */
export async function recordMembership(message: Message): Promise<void> {
  const { Key, ...rest } = membershipOf(message);
  await client.send(new UpdateItemCommand({ ...marshalled(rest), Key: attributes(Key) }));
}

type Row = Readonly<Record<string, string | number>>;

const marshalled = <T extends { ExpressionAttributeValues: Row }>(input: T) => ({
  ...input,
  ExpressionAttributeValues: attributes(input.ExpressionAttributeValues),
});

const attributes = (row: Row): Record<string, AttributeValue> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === 'string' ? { S: value } : { N: `${value}` },
    ]),
  );
