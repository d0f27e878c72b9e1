import { createHash, randomUUID } from 'node:crypto';
import {
  type AttributeValue,
  GetItemCommand,
  PutItemCommand,
  paginateQuery,
  QueryCommand,
} from '@aws-sdk/client-dynamodb';
import {
  fromAttributes,
  isConditionFailed,
  iso,
  type Table,
  toAttributes,
  updateIf,
} from '../aws/table.ts';
import type { Command } from '../vvchat/command.ts';
import type { Event, EventName } from '../vvchat/event.ts';

/*
 * The inbox: a row per event to answer, which is its queue entry, its lock and its record. Every write is a
 * conditional write of that one row, and every transition is in this file:
 *
 *   put ─▶ pending ─ answer ─▶ pending ─ count ─▶ … ─ settle ─▶ replied
 *            │  ▲                 │  ▲
 *            │  └ renew, postpone ┴──┘      ignore ─▶ ignored      fail ─▶ failed
 *            └─ claim (retry, once it is due)                        └─ redrive ─▶ pending
 *
 * The lease of whoever works on a row ends at `next_attempt_at`; then it is due, for anybody.
 */

/** A row of the inbox; times are ISO 8601 UTC. */
export interface Item extends Key {
  readonly event: EventName;
  readonly app_id: string;
  readonly robot_open_id: string;
  readonly robot_no: string;
  readonly session_type: '1' | '2';
  readonly trigger_target: string;
  readonly trigger_open_id?: string;
  readonly text?: string;
  readonly received_at: string;
  readonly status: 'pending' | 'replied' | 'ignored' | 'failed';
  /** Claims so far. It never falls, so it tells one claim from another. */
  readonly claims: number;
  /** How often the robot was asked. */
  readonly robot_calls: number;
  /** Of the put, as `write_id` is of the last write. */
  readonly enqueue_id: string;
  /** Of the last write: who finds its own knows that the write took effect, whatever it was told. */
  readonly write_id: string;
  /** The lease's end while somebody works on it; for a failed row, when it failed. */
  readonly next_attempt_at: string;
  readonly give_up_at: string;
  readonly due_shard?: string;
  /** What the robot answered: JSON of its commands. */
  readonly commands?: string;
  /** How many of the commands went out. */
  readonly sent: number;
  /** Which commands (from 0) went out with an unknown outcome: these may have been carried out twice. */
  readonly unknown?: readonly number[];
  readonly replied_at?: string;
  readonly last_error?: string;
  /** Seconds since 1970, for DynamoDB's time to live. */
  readonly expires_at?: number;
}

export interface Key {
  readonly session_open_id: string;
  readonly event_id: string;
}

/** A row as its worker knows it. Every write is on the condition that it still is so. */
export interface Lease {
  readonly item: Item;
  /** Whether this worker has claimed it; if not, its first write does. */
  readonly claimed: boolean;
  /** Whether `next_attempt_at` is the back-off already, should this attempt come to nothing. */
  readonly backedOff: boolean;
  /** Of this lease's write, however often it has to be tried. */
  readonly write_id: string;
}

/** A row that was read and not claimed. */
export const unclaimed = (item: Item): Lease => leaseOn(item, false, false);

const leaseOn = (item: Item, claimed: boolean, backedOff: boolean): Lease => ({
  item,
  claimed,
  backedOff,
  write_id: randomUUID(),
});

/** Somebody else has the row, or has settled it: whoever sees this stops and leaves no trace. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** The stream worker's lease is the insert itself. */
const LEASE_MS = 120_000;

/** By how much the clocks of two workers may differ. No step starts that could end within this of the lease's end. */
const CLOCK_SKEW_MS = 30_000;

const GIVE_UP_MS = 24 * 3_600_000;
const MAX_ROBOT_CALLS = 3;
const DUE_SHARDS = 16;

/** Where the index has the rows that failed. */
const FAILED = 'failed';

/** What `last_error` says while the robot is asked; who finds it on a row that is due knows of a crash. */
const UNFINISHED = 'unfinished';

/** What it says while commands go out; who finds it knows that the one at hand may be out. */
export const SENDING = 'unfinished while sending';

/** Whether the last worker ended without a word; so ends what is said of a row that was failed for it, too. */
export const crashed = ({ last_error = '' }: Item) =>
  last_error.endsWith(UNFINISHED) || last_error.endsWith(SENDING);

// ---- from the webhook

export type Latest = Pick<Item, 'event_id' | 'received_at'>;

export interface Enqueued {
  readonly event_id: string;
  readonly duplicate: boolean;
}

/**
 * Puts an event into the inbox, unless it is the same as one received within the window.
 *
 * "The same" is the same event, robot, session, trigger and text. Its latest row is read first; then the
 * next number is taken, if nobody else took it in that moment. So 50 equal deliveries at once leave one row,
 * and the same words after the window are a new message.
 *
 * @param latest the answer of {@link findLatest}
 * @param windowSeconds 0: every delivery is a message of its own
 */
export async function enqueue(
  table: Table,
  event: Event,
  latest: Latest | undefined,
  windowSeconds: number,
): Promise<Enqueued> {
  if (latest && isWithin(windowSeconds, latest, table.now())) {
    return { event_id: latest.event_id, duplicate: true };
  }
  const item = pendingItem(event, latest ? numberOf(latest) + 1 : 1, table.now());
  try {
    await table.client.send(
      new PutItemCommand({
        TableName: table.name,
        Item: toAttributes({ ...item }),
        ConditionExpression: ABSENT,
      }),
      table.options,
    );
    return { event_id: item.event_id, duplicate: false };
  } catch (error) {
    if (!isConditionFailed(error)) throw error;
  }
  const rival = await read(table, item);
  if (rival?.enqueue_id === item.enqueue_id) return { event_id: item.event_id, duplicate: false };
  if (windowSeconds > 0) return { event_id: item.event_id, duplicate: true };
  return enqueue(table, event, rival ?? latest, windowSeconds);
}

/**
 * The latest row of the same event, read consistently. The range has both ends: with `begins_with` DynamoDB
 * Local reads all that its group has.
 */
export async function findLatest(table: Table, event: Event): Promise<Latest | undefined> {
  const print = fingerprint(event);
  const { Items } = await table.client.send(
    new QueryCommand({
      TableName: table.name,
      KeyConditionExpression: 'session_open_id = :session AND event_id BETWEEN :first AND :last',
      ExpressionAttributeValues: {
        ':session': { S: event.data.session.session_open_id },
        ':first': { S: eventId(print, 1) },
        ':last': { S: eventId(print, LAST_NUMBER) },
      },
      ProjectionExpression: 'event_id, received_at',
      ConsistentRead: true,
      ScanIndexForward: false,
      Limit: 1,
    }),
    table.options,
  );
  return Items?.[0] && toItem(Items[0]);
}

/** 128 bits over all that makes an event the same, since VVChat gives it no id. */
export function fingerprint({ event, data }: Event): string {
  const { robot, session, trigger } = data;
  const identity = [
    event,
    robot.app_id,
    robot.open_id,
    session.session_type,
    session.session_open_id,
    trigger.target,
    trigger.open_id ?? null,
    'content' in data ? data.content.text : null,
  ];
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
}

/** A row from the future was stored by a faster clock, so it is young; up to the skew that clocks may have. */
function isWithin(windowSeconds: number, { received_at }: Latest, now: number): boolean {
  const age = now - Date.parse(received_at);
  return windowSeconds > 0 && age < windowSeconds * 1_000 && age > -CLOCK_SKEW_MS;
}

const LAST_NUMBER = 9_999_999_999;

const eventId = (print: string, number: number) => `${print}-${`${number}`.padStart(10, '0')}`;

const numberOf = ({ event_id }: Latest) => Number(event_id.slice(event_id.lastIndexOf('-') + 1));

function pendingItem(event: Event, number: number, now: number): Item {
  const { robot, session, trigger } = event.data;
  const event_id = eventId(fingerprint(event), number);
  const id = randomUUID();
  return {
    session_open_id: session.session_open_id,
    event_id,
    event: event.event,
    app_id: robot.app_id,
    robot_open_id: robot.open_id,
    robot_no: robot.robot_no,
    session_type: session.session_type,
    trigger_target: trigger.target,
    ...(trigger.open_id !== undefined && { trigger_open_id: trigger.open_id }),
    ...('content' in event.data && { text: event.data.content.text }),
    received_at: iso(now),
    status: 'pending',
    claims: 0,
    robot_calls: 0,
    enqueue_id: id,
    write_id: id,
    next_attempt_at: iso(now + LEASE_MS),
    give_up_at: iso(now + GIVE_UP_MS),
    due_shard: shardOf(event_id),
    sent: 0,
  };
}

// ---- reading

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
  return attributes && toItem(attributes);
}

/**
 * What is due now, as the index has it: possibly stale, so each row is to be read before it is claimed.
 * A shard that cannot be read does not keep the others from being read.
 *
 * @throws at the end, what the first such shard met with
 */
export async function* due(table: Table, random = Math.random): AsyncGenerator<Key, void> {
  const first = Math.floor(random() * DUE_SHARDS);
  const faults: unknown[] = [];
  for (let i = 0; i < DUE_SHARDS; i++) {
    const pages = paginateQuery(
      { client: table.client },
      {
        TableName: table.name,
        IndexName: 'due',
        KeyConditionExpression: `due_shard = :shard AND ${DUE}`,
        ExpressionAttributeValues: {
          ':shard': { S: shardName((first + i) % DUE_SHARDS) },
          ':now': { S: iso(table.now()) },
        },
        ExpressionAttributeNames: { '#next_attempt_at': 'next_attempt_at' },
      },
      table.options,
    );
    try {
      for await (const { Items = [] } of pages) yield* shuffled(Items.map(toItem), random);
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw faults[0];
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
        ':failed': FAILED,
        ':from': between.from,
        ':to': between.to,
      }),
      ExclusiveStartKey: after && toAttributes({ ...placeOf(after), due_shard: FAILED }),
      Limit: limit,
    }),
    table.options,
  );
  return Items.map((it) => placeOf(toItem(it)));
}

/** What {@link failedRows} needs to go on behind a row. */
export const placeOf = ({ session_open_id, event_id, next_attempt_at }: FailedKey): FailedKey => ({
  session_open_id,
  event_id,
  next_attempt_at,
});

/** The commands that the robot answered, once it has. */
export const commandsOf = ({ commands }: Item): readonly Command[] | undefined =>
  commands === undefined ? undefined : JSON.parse(commands);

// ---- from the workers

/** Takes a row that is due, before the robot is asked or anything is sent, and presets the next back-off. */
export async function claim(table: Table, item: Item, random = Math.random): Promise<Lease> {
  const delay = Math.max(LEASE_MS, backOff(item.claims + 1, random));
  const changes = {
    next_attempt_at: iso(table.now() + delay),
    ...(item.commands === undefined && {
      last_error: UNFINISHED,
      robot_calls: robotCallsOf(item) + 1,
    }),
    ...(crashedWhileSending(item) && { last_error: OUTCOME_UNKNOWN, unknown: withUnknown(item) }),
  };
  return {
    ...(await write(table, unclaimed(item), changes, { onlyIfDue: true })),
    backedOff: true,
  };
}

/**
 * The stream's turn counts as one even where it left no trace: a robot that kills its process leaves none,
 * and must not do so without end.
 */
const robotCallsOf = ({ claims, robot_calls }: Item) => (claims === 0 ? 1 : robot_calls);

/** Whether a worker ended while it sent: then the command at hand may be out. */
const crashedWhileSending = ({ last_error }: Item) => last_error === SENDING;

/** Why a due row is not to be claimed any more; nothing if it is. */
export function exhaustedReason(item: Item, now: number): string | undefined {
  if (Date.parse(item.give_up_at) <= now) return `gave up: ${item.last_error ?? UNFINISHED}`;
  if (item.commands === undefined && robotCallsOf(item) >= MAX_ROBOT_CALLS) {
    return `the robot was asked ${MAX_ROBOT_CALLS} times: ${item.last_error ?? UNFINISHED}`;
  }
  return crashedWhileSending(item) && isUnknown(item) ? OUTCOME_UNKNOWN : undefined;
}

/** For how long a row has waited since it came, or was put back. */
export const waitedMs = ({ give_up_at }: Item, now: number): number =>
  Math.max(now - (Date.parse(give_up_at) - GIVE_UP_MS), 0);

/** Moves the lease's end, if a step of that many milliseconds could outlive it. That is not yet a claim. */
export async function renew(table: Table, lease: Lease, stepMs: number): Promise<Lease> {
  if (leaseLeft(table, lease) >= stepMs) return lease;
  const next_attempt_at = iso(table.now() + LEASE_MS);
  return {
    ...(await write(table, lease, { next_attempt_at }, { claims: false })),
    backedOff: false,
  };
}

/** Notes that a command is about to go out; then, as the last thing before it does, looks after the lease. */
export async function markSending(table: Table, lease: Lease, stepMs: number): Promise<Lease> {
  const isNoted = lease.item.last_error === SENDING;
  const noted = isNoted ? lease : await write(table, lease, { last_error: SENDING });
  return renew(table, noted, stepMs);
}

/** For how many milliseconds nobody else will take the row, however much the clocks differ. */
export const leaseLeft = ({ now }: Pick<Table, 'now'>, { item }: Lease): number =>
  Date.parse(item.next_attempt_at) - CLOCK_SKEW_MS - now();

/** Stores what the robot answered, before the first of it is sent; for a stream worker this is the claim. */
export const storeReply = (
  table: Table,
  lease: Lease,
  commands: readonly Command[],
): Promise<Lease> =>
  write(table, lease, { commands: JSON.stringify(commands), last_error: SENDING });

/** Counts a command that went out and is not the last. */
export const markSent = (table: Table, lease: Lease): Promise<Lease> =>
  write(table, lease, { sent: lease.item.sent + 1 });

/** Counts the last command, which settles the row. */
export function complete(table: Table, lease: Lease, retentionDays: number): Promise<Lease> {
  const last_error = lease.item.unknown ? OUTCOME_UNKNOWN : undefined;
  return write(table, lease, {
    ...settled(table, retentionDays),
    status: 'replied',
    sent: lease.item.sent + 1,
    replied_at: iso(table.now()),
    last_error,
  });
}

/** Settles a row to which the robot has nothing to say. */
export const completeWithoutReply = (
  table: Table,
  lease: Lease,
  retentionDays: number,
): Promise<Lease> =>
  write(table, lease, {
    ...settled(table, retentionDays),
    status: 'ignored',
    last_error: undefined,
  });

/** Settles a row that nobody will try again by themselves. It stays in the index `due`, under the word `failed`. */
export const fail = (
  table: Table,
  lease: Lease,
  last_error: string,
  retentionDays: number,
  outcomeUnknown = false,
): Promise<Lease> =>
  write(table, lease, {
    ...settled(table, retentionDays),
    ...(outcomeUnknown && { unknown: withUnknown(lease.item) }),
    status: 'failed',
    due_shard: FAILED,
    next_attempt_at: iso(table.now()),
    last_error,
  });

/** Fails a due row that is {@link exhaustedReason}. */
export const failExhausted = (
  table: Table,
  item: Item,
  reason: string,
  retentionDays: number,
): Promise<Lease> => fail(table, unclaimed(item), reason, retentionDays, crashedWhileSending(item));

export interface Postponement {
  readonly last_error: string;
  /** From when to try again, in milliseconds from now; left out, the back-off decides. */
  readonly delayMs?: number | undefined;
  /** The robot was asked in vain. */
  readonly tried?: boolean;
  /** The command at hand went out, and nobody knows whether it was carried out. */
  readonly outcomeUnknown?: boolean;
}

/** Puts a row off until later, or, where there is no later or no second chance, fails it. */
export function postpone(
  table: Table,
  lease: Lease,
  { last_error, delayMs, tried = false, outcomeUnknown = false }: Postponement,
  retentionDays: number,
  random = Math.random,
): Promise<Lease> {
  const { item, claimed } = lease;
  const robot_calls = tried && !claimed ? item.robot_calls + 1 : item.robot_calls;
  const next = nextAttempt(table, lease, delayMs, random);
  if (outcomeUnknown && isUnknown(item)) return fail(table, lease, OUTCOME_UNKNOWN, retentionDays);
  if ((tried && robot_calls >= MAX_ROBOT_CALLS) || Date.parse(item.give_up_at) <= next) {
    return fail(table, lease, last_error, retentionDays, outcomeUnknown);
  }
  return write(table, lease, {
    last_error,
    robot_calls,
    next_attempt_at: iso(next),
    ...(outcomeUnknown && { unknown: withUnknown(item) }),
  });
}

const OUTCOME_UNKNOWN = 'outcome unknown';

/**
 * Puts a failed row back: due now, with its robot_calls and its 24 hours anew. What was sent stays sent, and what the
 * robot has answered stays its answer.
 *
 * @throws {LeaseLostError} when it is not the failed row any more that was seen
 */
export const redrive = (table: Table, item: Item): Promise<Lease> =>
  write(
    table,
    unclaimed(item),
    {
      status: 'pending',
      robot_calls: 0,
      next_attempt_at: iso(table.now()),
      give_up_at: iso(table.now() + GIVE_UP_MS),
      due_shard: shardOf(item.event_id),
      expires_at: undefined,
    },
    { claims: false, from: 'failed' },
  );

/** Whether the command at hand went out with an unknown outcome: sent again, it may be said twice. */
export const isUnknown = ({ unknown = [], sent }: Item) => unknown.includes(sent);
const withUnknown = ({ unknown = [], sent }: Item) => [...new Set([...unknown, sent])];

/** A back-off that is preset stays: to write it again would cost the index a change. */
function nextAttempt(
  { now }: Table,
  { item, claimed, backedOff }: Lease,
  delayMs: number | undefined,
  random: () => number,
): number {
  if (backedOff && delayMs === undefined) return Date.parse(item.next_attempt_at);
  const claims = claimed ? item.claims : item.claims + 1;
  return now() + Math.min(delayMs ?? backOff(claims, random), MAX_BACK_OFF_MS);
}

const MAX_BACK_OFF_MS = 3_600_000;

/** 1, 2, 4 … minutes, give or take a quarter, at most an hour. */
const backOff = (claims: number, random: () => number) =>
  Math.min(60_000 * 2 ** (claims - 1) * (0.75 + random() / 2), MAX_BACK_OFF_MS);

const settled = ({ now }: Table, retentionDays: number): Partial<Changes> => ({
  expires_at: Math.ceil(now() / 1_000) + retentionDays * 86_400,
  due_shard: undefined,
  next_attempt_at: undefined,
});

// ---- conditions and the one write that uses them

const ABSENT = 'attribute_not_exists(event_id)';
const SAME_STATUS = '#status = :seen_status';
const SAME_CLAIM = '#claims = :seen_claims';
const SAME_LEASE = '#next_attempt_at = :seen_next_attempt_at';
const SAME_PROGRESS = '#sent = :seen_sent';
const AS_SEEN = [SAME_STATUS, SAME_CLAIM, SAME_LEASE, SAME_PROGRESS];
const DUE = '#next_attempt_at <= :now';

type Changes = { [Name in keyof Item]: Item[Name] | undefined };

/**
 * Writes on the condition that the row is as its worker knows it. A refused condition is looked into: the
 * write may have taken effect and only its answer been lost, so that the SDK repeated it.
 *
 * @param changes what is undefined is removed
 * @throws {LeaseLostError} when somebody else has written
 */
async function write(
  table: Table,
  { item, claimed, backedOff, write_id }: Lease,
  changes: Partial<Changes>,
  {
    claims = !claimed,
    onlyIfDue = false,
    from = 'pending',
  }: { claims?: boolean; onlyIfDue?: boolean; from?: 'pending' | 'failed' } = {},
): Promise<Lease> {
  const written = {
    ...changes,
    claims: claims ? item.claims + 1 : item.claims,
    write_id,
  };
  const took = await updateIf(
    table,
    keyOf(item),
    written,
    onlyIfDue ? [...AS_SEEN, DUE] : AS_SEEN,
    {
      seen_status: from,
      seen_claims: item.claims,
      seen_next_attempt_at: item.next_attempt_at,
      seen_sent: item.sent,
      ...(onlyIfDue && { now: iso(table.now()) }),
    },
  );
  const now = took ? ({ ...item, ...written } as Item) : await read(table, item);
  if (now?.write_id !== write_id) throw new LeaseLostError();
  return leaseOn(now, claimed || claims, backedOff);
}

const keyOf = ({ session_open_id, event_id }: Key) => ({ session_open_id, event_id });

const toItem = (attributes: Record<string, AttributeValue>) =>
  fromAttributes(attributes) as unknown as Item;

const shardName = (shard: number) => `${shard}`.padStart(2, '0');

const shardOf = (event_id: string) =>
  shardName(createHash('sha256').update(event_id).digest().readUInt8() % DUE_SHARDS);

/** In an order of its own for every worker, so that two of them seldom reach for the same row. */
function shuffled<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}
