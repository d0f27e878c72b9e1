import { DeleteItemCommand, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Table, toAttributes } from './aws/table.ts';

/** A session or an app whose events are recorded and not answered. */
export interface Mute {
  readonly kind: 'session' | 'app';
  readonly id: string;
  /** ISO 8601 UTC. */
  readonly muted_at: string;
  /** ISO 8601 UTC; without it, until it is ended. */
  readonly until?: string;
}

export type Muted = Pick<Mute, 'kind' | 'id'>;

/** How many there may be. All of them fit into one answer of DynamoDB. */
export const MAX_MUTES = 500;

/** The `last_error` of a row that was not answered because its session or app was muted. */
export const MUTED = 'muted';

/** All mutes lie in one partition, so that one read has them all. */
const LIST = 'mutes';

const keyOf = ({ kind, id }: Muted) => ({ list: LIST, target: `${kind}:${id}` });

/** The mutes, in the order of their targets, with those that have ended and that DynamoDB has not deleted yet. */
export async function readMutes({ client, name, options }: Table): Promise<Mute[]> {
  const { Items = [] } = await client.send(
    new QueryCommand({
      TableName: name,
      KeyConditionExpression: '#list = :list',
      ExpressionAttributeNames: { '#list': 'list' },
      ExpressionAttributeValues: toAttributes({ ':list': LIST }),
      ConsistentRead: true,
    }),
    options,
  );
  return Items.map((attributes) => {
    const { target, muted_at, until } = fromAttributes(attributes);
    const [kind, id] = `${target}`.split(/:(.*)/s, 2);
    return { kind, id, muted_at, ...(until !== undefined && { until }) } as Mute;
  });
}

/** Whether a mute has not ended. */
export const isInForce = ({ until }: Mute, now: number): boolean =>
  until === undefined || Date.parse(until) > now;

/** What is asked about: a row of the inbox. */
export interface Target {
  readonly session_open_id: string;
  readonly app_id: string;
}

/** Whether one of the mutes is of the row's session or app, and has not ended. */
export const isMuted = (
  { session_open_id, app_id }: Target,
  mutes: readonly Mute[],
  now: number,
): boolean =>
  mutes.some(
    (it) => it.id === (it.kind === 'session' ? session_open_id : app_id) && isInForce(it, now),
  );

/** Mutes a session or an app, or sets another end. */
export async function mute(table: Table, target: Muted, forMs?: number): Promise<void> {
  const now = table.now();
  const end = forMs === undefined ? undefined : now + forMs;
  await table.client.send(
    new PutItemCommand({
      TableName: table.name,
      Item: toAttributes({
        ...keyOf(target),
        muted_at: iso(now),
        until: end && iso(end),
        expires_at: end && Math.ceil(end / 1_000),
      }),
    }),
  );
}

/** @returns whether there was one */
export async function endMute({ client, name }: Table, target: Muted): Promise<boolean> {
  const { Attributes } = await client.send(
    new DeleteItemCommand({
      TableName: name,
      Key: toAttributes(keyOf(target)),
      ReturnValues: 'ALL_OLD',
    }),
  );
  return Attributes !== undefined;
}
