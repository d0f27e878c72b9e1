import { QueryCommand } from '@aws-sdk/client-dynamodb';
import type { Table } from '../aws/table.ts';
import type { Event } from '../vvchat/event.ts';
import { CLOCK_SKEW_MS } from './backoff.ts';
import {
  eventId,
  fingerprintOf,
  type Item,
  itemIn,
  LAST_NUMBER,
  numberOf,
  toItem,
} from './item.ts';
import { read } from './queries.ts';
import { insert } from './transitions.ts';

/** An event that is about to be enqueued, and the latest row of an equal one. */
export interface Arrival {
  readonly event: Event;
  readonly fingerprint: string;
  readonly latest: Latest | undefined;
}

type Latest = Pick<Item, 'event_id' | 'received_at'>;

export interface Enqueued {
  readonly event_id: string;
  readonly status: 'queued' | 'duplicate';
}

/**
 * Finds the latest row of an equal event: the same event, robot, session, trigger and text. The read is
 * consistent, and its range has both ends: with `begins_with` DynamoDB Local reads every row of the session.
 */
export async function findLatest(table: Table, event: Event): Promise<Arrival> {
  const fingerprint = fingerprintOf(event);
  const { Items: [latest] = [] } = await table.client.send(
    new QueryCommand({
      TableName: table.name,
      KeyConditionExpression: 'session_open_id = :session AND event_id BETWEEN :first AND :last',
      ExpressionAttributeValues: {
        ':session': { S: event.data.session.session_open_id },
        ':first': { S: eventId(fingerprint, 1) },
        ':last': { S: eventId(fingerprint, LAST_NUMBER) },
      },
      ProjectionExpression: 'event_id, received_at',
      ConsistentRead: true,
      ScanIndexForward: false,
      Limit: 1,
    }),
    table.options,
  );
  return { event, fingerprint, latest: latest && itemIn(latest) };
}

/**
 * Puts an event into the inbox, unless an equal one was received within the window. The next number is taken, if
 * no other delivery took it meanwhile. So 50 equal deliveries at once leave one row, and the same text after the
 * window is a new message.
 *
 * @param windowSeconds `DEDUPE_WINDOW_SECONDS` of settings.yml; 0: every delivery is a message of its own
 */
export async function enqueue(
  table: Table,
  { event, fingerprint, latest }: Arrival,
  windowSeconds: number,
): Promise<Enqueued> {
  const now = table.now();
  if (latest && isWithin(windowSeconds, latest, now)) {
    return { event_id: latest.event_id, status: 'duplicate' };
  }
  const number = latest ? numberOf(latest) + 1 : 1;
  const item = toItem(event, { fingerprint, number, now });
  const { event_id } = item;
  if (await insert(table, item)) return { event_id, status: 'queued' };
  const rival = await read(table, item);
  if (rival?.enqueue_id === item.enqueue_id) return { event_id, status: 'queued' };
  if (windowSeconds > 0) return { event_id, status: 'duplicate' };
  return enqueue(table, { event, fingerprint, latest: rival ?? latest }, windowSeconds);
}

/** A row from the future was stored by a faster clock, so it is young; up to the skew that clocks may have. */
function isWithin(windowSeconds: number, { received_at }: Latest, now: number): boolean {
  const age = now - Date.parse(received_at);
  return windowSeconds > 0 && age < windowSeconds * 1_000 && age > -CLOCK_SKEW_MS;
}
