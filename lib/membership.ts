import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { iso, type Row, type Table, toAttributes } from './aws/table.ts';
import type { Event, EventName } from './vvchat/event.ts';

/**
 * Records that a robot is in a session, which any event implies; the first one creates the row. Writing the same
 * event twice changes nothing but the times. A write of a known row costs one unit: the index holds the keys alone,
 * and they never change.
 */
export async function recordMembership(table: Table, { event, data }: Event): Promise<void> {
  const { robot, session, trigger } = data;
  const now = iso(table.now());
  const { at, by } = TIMESTAMPS[event];
  const set: Row = {
    app_id: robot.app_id,
    robot_no: robot.robot_no,
    session_type: session.session_type,
    last_seen_at: now,
    [at]: now,
    [by]: trigger.open_id,
  };
  const assignments = Object.keys(set).filter((name) => set[name] !== undefined);
  await table.client.send(
    new UpdateItemCommand({
      TableName: table.name,
      Key: toAttributes({
        session_open_id: session.session_open_id,
        robot_open_id: robot.open_id,
      }),
      UpdateExpression: [
        'SET first_seen_at = if_not_exists(first_seen_at, :last_seen_at)',
        ...assignments.map((name) => `${name} = :${name}`),
      ]
        .join(', ')
        .concat(trigger.open_id === undefined ? ` REMOVE ${by}` : ''),
      ExpressionAttributeValues: Object.fromEntries(
        Object.entries(toAttributes(set)).map(([name, value]) => [`:${name}`, value]),
      ),
    }),
    table.options,
  );
}

/** Which attributes hold when an event of a kind last came, and who set it off. */
export const TIMESTAMPS = {
  'join-group-for-invite': { at: 'joined_at', by: 'invited_by' },
  'session-open': { at: 'last_opened_at', by: 'last_opened_by' },
  at: { at: 'last_mentioned_at', by: 'last_mentioned_by' },
} as const satisfies Record<EventName, { at: string; by: string }>;
