import {
  type AttributeValue,
  ConditionalCheckFailedException,
  type DynamoDBClient,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';

/** A table, with everything that reads and writes of it need. */
export interface Table {
  readonly client: DynamoDBClient;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** For every request: the signal that ends it before the function's own time is up. */
  readonly options?: { readonly abortSignal: AbortSignal };
}

type Value = string | number | readonly number[];
export type Row = Readonly<Record<string, Value | undefined>>;

/** Converts a row of strings, numbers and sets of numbers, which is all that the tables hold; undefined is left out. */
export function toAttributes(row: Row): Record<string, AttributeValue> {
  const attributes: Record<string, AttributeValue> = {};
  for (const [name, value] of Object.entries(row)) {
    if (value !== undefined) attributes[name] = toAttribute(value);
  }
  return attributes;
}

function toAttribute(value: Value): AttributeValue {
  if (typeof value === 'string') return { S: value };
  if (typeof value === 'number') return { N: `${value}` };
  return { NS: value.map(String) };
}

export function fromAttributes(attributes: Record<string, AttributeValue>): Row {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, { S, N, NS }]) => [
      name,
      S ?? (N === undefined ? NS?.map(Number) : Number(N)),
    ]),
  );
}

/**
 * Updates a row, on conditions.
 *
 * @param changes the attributes to set; undefined removes one
 * @param conditions expressions in which `#name` is an attribute and `:name` one of the changes or values
 * @returns whether the conditions held
 */
export async function updateIf(
  table: Table,
  key: Row,
  changes: Row,
  conditions: readonly string[],
  values: Row = {},
): Promise<boolean> {
  const { set = [], remove = [] } = Object.groupBy(Object.keys(changes), (name) =>
    changes[name] === undefined ? 'remove' : 'set',
  );
  const UpdateExpression = [
    `SET ${set.map((name) => `#${name} = :${name}`).join(', ')}`,
    ...(remove.length > 0 ? [`REMOVE ${remove.map((name) => `#${name}`).join(', ')}`] : []),
  ].join(' ');
  const ConditionExpression = conditions.join(' AND ');
  const names = `${UpdateExpression} ${ConditionExpression}`.matchAll(/#(\w+)/g);
  try {
    await table.client.send(
      new UpdateItemCommand({
        TableName: table.name,
        Key: toAttributes(key),
        UpdateExpression,
        ConditionExpression,
        ExpressionAttributeNames: Object.fromEntries(names),
        ExpressionAttributeValues: Object.fromEntries(
          Object.entries(toAttributes({ ...changes, ...values })).map(([name, value]) => [
            `:${name}`,
            value,
          ]),
        ),
      }),
      table.options,
    );
    return true;
  } catch (error) {
    if (isConditionFailed(error)) return false;
    throw error;
  }
}

/** Whether a write was refused because its condition did not hold. */
export const isConditionFailed = (error: unknown): error is ConditionalCheckFailedException =>
  error instanceof ConditionalCheckFailedException;

/** ISO 8601 UTC with milliseconds: readable in the console, and in order when compared as text. */
export const iso = (milliseconds: number) => new Date(milliseconds).toISOString();
