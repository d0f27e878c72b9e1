import { createHash, randomUUID } from 'node:crypto';

/** A message to a robot, on whatever platform. */
export interface Message {
  readonly app: string;
  readonly robot: string;
  readonly robotNo: string;
  readonly chat: string;
  readonly isGroup: boolean;
  readonly user: string;
  readonly text: string;
}

/** The newest row of the same message. */
export interface Newest {
  readonly event_id: string;
  readonly received_at: string;
}

const WINDOW_MS = 5_000;
const LEASE_MS = 120_000;
const GIVE_UP_MS = 24 * 3_600_000;
const LAST_NUMBER = 9_999_999_999;

/** The row of which robot is in which chat, for UpdateItem: what functions/webhook.ts writes, in plain values. */
export function membershipOf({ app, robot, robotNo, chat, isGroup, user }: Message) {
  return {
    TableName: process.env.MEMBERSHIPS_TABLE ?? '',
    Key: { session_open_id: chat, robot_open_id: robot },
    UpdateExpression:
      'SET first_seen_at = if_not_exists(first_seen_at, :now), app_id = :app_id, robot_no = :robot_no, ' +
      'session_type = :session_type, last_seen_at = :now, last_mentioned_at = :now, last_mentioned_by = :user',
    ExpressionAttributeValues: {
      ':now': iso(Date.now()),
      ':app_id': app,
      ':robot_no': robotNo,
      ':session_type': isGroup ? '2' : '1',
      ':user': user,
    },
  };
}

/** The newest row of the same message, for Query. */
export function newestOf(message: Message) {
  const print = fingerprint(message);
  return {
    TableName: process.env.INBOX_TABLE ?? '',
    KeyConditionExpression: 'session_open_id = :session AND event_id BETWEEN :first AND :last',
    ExpressionAttributeValues: {
      ':session': message.chat,
      ':first': eventId(print, 1),
      ':last': eventId(print, LAST_NUMBER),
    },
    ProjectionExpression: 'event_id, received_at',
    ConsistentRead: true,
    ScanIndexForward: false,
    Limit: 1,
  };
}

/** Whether the newest row is so young that the message is the same. */
export const isDuplicate = (newest: Newest | undefined): newest is Newest =>
  newest !== undefined && Date.now() - Date.parse(newest.received_at) < WINDOW_MS;

/** The message's own row, for PutItem. */
export function rowOf(message: Message, newest: Newest | undefined) {
  const now = Date.now();
  const id = randomUUID();
  const print = fingerprint(message);
  const number = newest ? Number(newest.event_id.split('-')[1]) + 1 : 1;
  return {
    TableName: process.env.INBOX_TABLE ?? '',
    Item: {
      session_open_id: message.chat,
      event_id: eventId(print, number),
      event: 'at',
      app_id: message.app,
      robot_open_id: message.robot,
      robot_no: message.robotNo,
      session_type: message.isGroup ? '2' : '1',
      trigger_target: 'user',
      trigger_open_id: message.user,
      text: message.text,
      received_at: iso(now),
      status: 'pending',
      claims: 0,
      robot_calls: 0,
      enqueue_id: id,
      write_id: id,
      next_attempt_at: iso(now + LEASE_MS),
      give_up_at: iso(now + GIVE_UP_MS),
      due_shard: `${Number.parseInt(print.slice(0, 1), 16)}`.padStart(2, '0'),
      sent: 0,
    },
    ConditionExpression: 'attribute_not_exists(event_id)',
  };
}

const fingerprint = ({ app, robot, chat, user, text }: Message) =>
  createHash('sha256')
    .update(JSON.stringify([app, robot, chat, user, text]))
    .digest('hex')
    .slice(0, 32);

const eventId = (print: string, number: number) => `${print}-${`${number}`.padStart(10, '0')}`;

const iso = (milliseconds: number) => new Date(milliseconds).toISOString();
