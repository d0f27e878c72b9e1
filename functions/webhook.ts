import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context } from 'aws-lambda';
import { createClient } from '../lib/aws/dynamodb.ts';
import type { Table } from '../lib/aws/table.ts';
import { readWebhookConfig, type WebhookConfig } from '../lib/config.ts';
import {
  bodyBytes,
  json,
  MAX_BODY_BYTES,
  problem,
  queryValues,
  type Request,
  type Response,
} from '../lib/http.ts';
import { noteDuplicate } from '../lib/inbox/duplicate.ts';
import { enqueue, findLatest } from '../lib/inbox/enqueue.ts';
import { errorFields, log } from '../lib/log.ts';
import { recordMembership } from '../lib/membership.ts';
import { type DIMENSIONS, record } from '../lib/metric.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { InvalidEventError, readEvent } from '../lib/vvchat/read-event.ts';

const config = configuration();
const client = createClient({ requestTimeout: 1_000 });

/** `POST /vvchat/events?token=SECRET`: records an event of VVChat, and enqueues one that the robot answers. */
export const handler = async (request: Request, context: Context): Promise<Response> => {
  const matched = config && matchedHash(request, config);
  if (!matched) {
    return refuse(401, 'token', 'The query parameter "token" is missing, repeated or wrong.');
  }
  if (config.WEBHOOK_TOKEN_SHA256.length > 1) record({ Authenticated: 1 }, { token: matched });
  const bytes = bodyBytes(request);
  if (bytes && bytes.length > MAX_BODY_BYTES) {
    log.warn('event rejected: too large', { bytes: bytes.length });
    return refuse(413, 'size', `An event has at most ${MAX_BODY_BYTES} bytes.`);
  }
  try {
    const event = readEvent(parse(bytes));
    if ('unknown' in event) {
      record({ Events: 1 }, { event: 'unknown' });
      log.warn('undocumented event ignored', { event: nameLike(event.unknown) });
      return json(200, { status: 'ignored', event: event.unknown });
    }
    const { app_id } = event.data.robot;
    if (!config.VVCHAT_APP_IDS.has(app_id)) {
      log.warn('event rejected: its app is not in VVCHAT_APP_IDS', { app_id: nameLike(app_id) });
      return refuse(403, 'app', 'The app is not on the list of this service.');
    }
    const answer = await accept(event, config, context);
    record({ Events: 1 }, { event: event.event });
    if (answer.status === 'duplicate') record({ Duplicates: 1 });
    return json(200, answer);
  } catch (error) {
    if (error instanceof InvalidEventError) return refuseInvalid(error);
    log.error('event not recorded', errorFields(error));
    return refuse(503, 'database', 'The event could not be recorded. Send it again.', {
      headers: { 'Retry-After': '1' },
    });
  }
};

/** Every refusal is counted. */
function refuse(
  status: Parameters<typeof problem>[0],
  reason: (typeof DIMENSIONS)['reason'][number],
  ...details: Details
): Response {
  record({ Rejected: 1 }, { reason });
  return problem(status, ...details);
}

type Details = Parameters<typeof problem> extends [unknown, ...infer Rest] ? Rest : never;

/** Logs each fault's place and its fixed text, and nothing of what was received. */
function refuseInvalid({ message, faults, isTooLong }: InvalidEventError): Response {
  log.warn('event rejected: not in the documented format', {
    faults: faults.map(({ pointer, detail }) => `${pointer} ${detail}`.trim()),
  });
  return refuse(400, isTooLong ? 'size' : 'body', message, { errors: faults });
}

/** What was received is logged only if it looks like a name, and so is no text of a person. */
const nameLike = (text: string): string | undefined =>
  /^[\w.-]{1,64}$/.test(text) ? text : undefined;

/** Fails closed: without a valid configuration every request gets 401. */
function configuration(): WebhookConfig | undefined {
  try {
    return readWebhookConfig(process.env);
  } catch (error) {
    log.error('invalid configuration: rejecting all events', errorFields(error));
    return undefined;
  }
}

/**
 * Compares by hash, so that lengths do not matter, and with every hash, so that neither their number nor which of them
 * matched does.
 *
 * @returns the beginning of the hash that matched, by which the token is counted
 */
function matchedHash(
  request: Request,
  { WEBHOOK_TOKEN_SHA256 }: WebhookConfig,
): string | undefined {
  const [token, ...more] = queryValues(request, 'token');
  const hash = createHash('sha256')
    .update(token ?? '')
    .digest();
  const matches = WEBHOOK_TOKEN_SHA256.filter((expected) => timingSafeEqual(hash, expected));
  const isAuthentic =
    token !== undefined && token !== '' && more.length === 0 && matches.length > 0;
  return isAuthentic ? hash.toString('hex', 0, 4) : undefined;
}

function parse(bytes: Buffer | undefined): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes as Buffer));
  } catch {
    throw new InvalidEventError([{ pointer: '', detail: 'must be JSON in UTF-8' }]);
  }
}

/**
 * For how long an event waits for DynamoDB, in milliseconds: enough for requests that are throttled once, with the
 * SDK's longest back-off, of a second each. While DynamoDB is silent, each event keeps a container for this long, so
 * it bounds the concurrency of an outage.
 */
const WAIT_MS = 3_000;

/** How much of the function's time is kept for the answer, in milliseconds. */
const SPARE_MS = 1_000;

async function accept(
  event: Event,
  { MEMBERSHIPS_TABLE, INBOX_TABLE, ROUTED_EVENTS, DEDUPE_WINDOW_SECONDS }: WebhookConfig,
  context: Context,
) {
  const left = Math.max(context.getRemainingTimeInMillis() - SPARE_MS, 0);
  const abortSignal = AbortSignal.timeout(Math.min(left, WAIT_MS));
  const table = (name: string): Table => ({
    client,
    name,
    now: Date.now,
    options: { abortSignal },
  });
  const isRouted = ROUTED_EVENTS.has(event.event);
  const [recorded, arrival] = await Promise.allSettled([
    recordMembership(table(MEMBERSHIPS_TABLE), event),
    isRouted ? findLatest(table(INBOX_TABLE), event) : undefined,
  ]);
  if (recorded.status === 'rejected') throw recorded.reason;
  if (arrival.status === 'rejected') throw arrival.reason;
  if (!arrival.value) return { status: 'recorded', event: event.event };
  const { status, event_id } = await enqueue(
    table(INBOX_TABLE),
    arrival.value,
    DEDUPE_WINDOW_SECONDS,
  );
  if (status === 'duplicate') await noteInRow(table(INBOX_TABLE), event, event_id);
  log.info(`event ${status}`, { event: event.event, event_id });
  return { status, event: event.event, event_id };
}

/** The answer to a duplicate does not depend on the note. */
async function noteInRow(table: Table, { data }: Event, event_id: string): Promise<void> {
  try {
    await noteDuplicate(table, { session_open_id: data.session.session_open_id, event_id });
  } catch (error) {
    log.warn('duplicate not noted', { event_id, ...errorFields(error) });
  }
}
