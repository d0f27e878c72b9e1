import { randomUUID } from 'node:crypto';
import { PutItemCommand } from '@aws-sdk/client-dynamodb';
import { isConditionFailed, iso, type Table, toAttributes, updateIf } from '../aws/table.ts';
import type { Command } from '../vvchat/command.ts';
import {
  backOff,
  CLOCK_SKEW_MS,
  GIVE_UP_MS,
  LEASE_MS,
  MAX_BACK_OFF_MS,
  MAX_ROBOT_CALLS,
} from './backoff.ts';
import {
  crashedWhileSending,
  failedShardOf,
  type Item,
  isUnknown,
  keyOf,
  shardOf,
} from './item.ts';
import { read } from './queries.ts';
import type { InboxTable } from './table.ts';

/*
 * Every write of an inbox row. A row is the queue entry of an event, its lock and its record; each write is a
 * conditional write of that one row.
 *
 *   insert ─▶ pending ── storeReply ─▶ pending ── markSending, markSent ─▶ … ── complete ─▶ replied
 *               │  ▲                      │  ▲
 *               │  └─── renew, postpone… ─┴──┘      completeWithoutReply ─▶ ignored
 *               └─ claim, once it is due           fail, failExhausted ─▶ failed ── redrive ─▶ pending
 *
 * A postponement fails the row when its time or its calls of the robot are used up.
 *
 * The lease of the worker that has a row ends at `next_attempt_at`. From then on the row is due, for any worker.
 */

/** A row as its worker knows it. Every write of the worker is on the condition that the row still is so. */
export interface Lease {
  readonly item: Item;
  /**
   * - `unclaimed`: this worker has not written yet; its first write claims the row
   * - `claimed`
   * - `backed-off`: claimed, and the lease ends when the next attempt is to begin, should this one fail
   */
  readonly state: 'unclaimed' | 'claimed' | 'backed-off';
  /** Of this worker's next write, however often it has to be repeated. */
  readonly write_id: string;
}

/** Another worker has the row, or has settled it. The worker that sees this stops and leaves no trace. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** Stands for a row that was read and not claimed. */
export const unclaimed = (item: Item): Lease => leaseOn(item, 'unclaimed');

const leaseOn = (item: Item, state: Lease['state']): Lease => ({
  item,
  state,
  write_id: randomUUID(),
});

/** For how many milliseconds no other worker will take the row, however much the clocks differ. */
export const leaseLeft = ({ now }: Pick<Table, 'now'>, { item }: Lease): number =>
  Date.parse(item.next_attempt_at) - CLOCK_SKEW_MS - now();

// ---- into the inbox

/** Inserts a row; false if there is one under its key, which may be this one, its first answer having been lost. */
export async function insert(table: Table, item: Item): Promise<boolean> {
  try {
    await table.client.send(
      new PutItemCommand({
        TableName: table.name,
        Item: toAttributes({ ...item }),
        ConditionExpression: 'attribute_not_exists(event_id)',
      }),
      table.options,
    );
    return true;
  } catch (error) {
    if (isConditionFailed(error)) return false;
    throw error;
  }
}

// ---- the claim and its lease

/** Claims a row that is due, before the robot is called or a command sent, and presets the next back-off. */
export async function claim(table: InboxTable, item: Item): Promise<Lease> {
  const delay = Math.max(LEASE_MS, backOff(item.claims + 1, table.random));
  const changes = {
    next_attempt_at: iso(table.now() + delay),
    ...(item.commands === undefined
      ? { phase: 'asking' as const, robot_calls: robotCallsOf(item) + 1 }
      : { phase: undefined }),
    ...(crashedWhileSending(item) && { last_error: OUTCOME_UNKNOWN, unknown: withUnknown(item) }),
  };
  return write(table, unclaimed(item), changes, { state: 'backed-off', when: DUE });
}

/** The call of the worker on the stream counts even if it left no trace, as when the robot kills its process. */
const robotCallsOf = ({ claims, robot_calls }: Item) => (claims === 0 ? 1 : robot_calls);

/** Moves the lease's end if a step of so many milliseconds could outlive it. A renewal is not yet a claim. */
export async function renew(table: Table, lease: Lease, stepMs: number): Promise<Lease> {
  if (leaseLeft(table, lease) >= stepMs) return lease;
  const { item, state } = lease;
  const changes = { next_attempt_at: iso(table.now() + LEASE_MS), claims: item.claims };
  return write(table, lease, changes, { state: state === 'unclaimed' ? state : 'claimed' });
}

// ---- asking and sending

/** Stores the robot's answer before its first command is sent. For the worker on the stream this is the claim. */
export const storeReply = (
  table: Table,
  lease: Lease,
  commands: readonly Command[],
): Promise<Lease> =>
  write(table, lease, {
    commands: JSON.stringify(commands),
    phase: 'sending',
    last_error: undefined,
  });

/** Marks that a command is about to be sent; then, as the last thing before it is, renews the lease. */
export async function markSending(table: Table, lease: Lease, stepMs: number): Promise<Lease> {
  const isMarked = lease.item.phase === 'sending';
  const marked = isMarked ? lease : await write(table, lease, { phase: 'sending' });
  return renew(table, marked, stepMs);
}

/** Counts a command that was sent and is not the last. */
export const markSent = (table: Table, lease: Lease): Promise<Lease> =>
  write(table, lease, { sent: lease.item.sent + 1 });

// ---- settled

/** Counts the last command that was sent, and settles the row. */
export const complete = (table: InboxTable, lease: Lease): Promise<Lease> =>
  write(table, lease, {
    ...settled(table),
    status: 'replied',
    sent: lease.item.sent + 1,
    replied_at: iso(table.now()),
    last_error: lease.item.unknown && OUTCOME_UNKNOWN,
  });

/** Settles a row to which the robot has no answer, or for another reason why none is sent. */
export const completeWithoutReply = (
  table: InboxTable,
  lease: Lease,
  last_error?: string,
): Promise<Lease> => write(table, lease, { ...settled(table), status: 'ignored', last_error });

/** Settles a row that is not retried unless an operator puts it back. It stays in the index `due`, apart. */
export const fail = (table: InboxTable, lease: Lease, last_error: string): Promise<Lease> =>
  failWith(table, lease, { last_error });

/** Fails a due row for which {@link exhaustedReason} has a reason. */
export function failExhausted(table: InboxTable, item: Item, last_error: string): Promise<Lease> {
  const isCut = crashedWhileSending(item);
  return failWith(table, unclaimed(item), {
    last_error,
    // Once it is put back, a message that crashed the robot is still quarantined.
    ...(item.phase === 'asking' && { phase: item.phase }),
    ...(isCut && { unknown: withUnknown(item) }),
  });
}

/** Why a due row is not to be claimed any more; undefined if it is. */
export function exhaustedReason(item: Item, now: number): string | undefined {
  const { commands, last_error, phase } = item;
  const reason = phase ? CRASHES[phase] : (last_error ?? 'no attempt was finished');
  if (Date.parse(item.give_up_at) <= now) return `gave up: ${reason}`;
  if (commands === undefined && robotCallsOf(item) >= MAX_ROBOT_CALLS) {
    return `the robot was called ${MAX_ROBOT_CALLS} times: ${reason}`;
  }
  return crashedWhileSending(item) && isUnknown(item) ? OUTCOME_UNKNOWN : undefined;
}

const CRASHES = {
  asking: 'the function crashed while the robot answered',
  sending: 'the function crashed while a command was sent',
} as const;

const failWith = (table: InboxTable, lease: Lease, changes: Changes): Promise<Lease> =>
  write(table, lease, {
    ...settled(table),
    status: 'failed',
    due_shard: failedShardOf(lease.item.event_id),
    next_attempt_at: iso(table.now()),
    ...changes,
  });

const settled = ({ now, retentionDays }: InboxTable): Changes => ({
  expires_at: Math.ceil(now() / 1_000) + retentionDays * 86_400,
  due_shard: undefined,
  next_attempt_at: undefined,
  phase: undefined,
});

// ---- later

/** Postpones a row whose robot did not answer, or fails it after the last call that the robot gets. */
export function postponeAsking(
  table: InboxTable,
  lease: Lease,
  last_error: string,
): Promise<Lease> {
  const { item, state } = lease;
  const robot_calls = state === 'unclaimed' ? item.robot_calls + 1 : item.robot_calls;
  return robot_calls >= MAX_ROBOT_CALLS
    ? fail(table, lease, last_error)
    : postpone(table, lease, { last_error, robot_calls });
}

/**
 * Postpones a row of which nothing was sent in this attempt.
 *
 * @param delayMs from now; left out, the back-off decides
 */
export const postponeSending = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delayMs?: number,
): Promise<Lease> => postpone(table, lease, { last_error }, delayMs);

/** Postpones a row whose command was sent with an unknown outcome; fails it if that was so once before. */
export const postponeUnknown = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delayMs?: number,
): Promise<Lease> =>
  isUnknown(lease.item)
    ? fail(table, lease, OUTCOME_UNKNOWN)
    : postpone(table, lease, { last_error, unknown: withUnknown(lease.item) }, delayMs);

const OUTCOME_UNKNOWN = 'outcome unknown';

const withUnknown = ({ unknown = [], sent }: Item) => [...new Set([...unknown, sent])];

function postpone(
  table: InboxTable,
  lease: Lease,
  changes: Changes,
  delayMs?: number,
): Promise<Lease> {
  const next = nextAttempt(table, lease, delayMs);
  if (Date.parse(lease.item.give_up_at) <= next) {
    const { robot_calls: _, ...noted } = changes;
    return failWith(table, lease, noted);
  }
  return write(table, lease, { ...changes, phase: undefined, next_attempt_at: iso(next) });
}

/** A back-off that is preset stays: writing it again would cost a change of the index. */
function nextAttempt(
  { now, random }: InboxTable,
  { item, state }: Lease,
  delayMs: number | undefined,
): number {
  if (state === 'backed-off' && delayMs === undefined) return Date.parse(item.next_attempt_at);
  const claims = state === 'unclaimed' ? item.claims + 1 : item.claims;
  return now() + Math.min(delayMs ?? backOff(claims, random), MAX_BACK_OFF_MS);
}

/** Makes a postponed row due now. False if a worker has it, or has written it since it was read. */
export async function makeDue(table: Table, item: Item): Promise<boolean> {
  if (item.status !== 'pending' || item.phase || item.claims === 0) return false;
  return updateIf(
    table,
    keyOf(item),
    { next_attempt_at: iso(table.now()) },
    ['#write_id = :seen_write_id'],
    { seen_write_id: item.write_id },
  );
}

/**
 * Puts a failed row back: due now, with all its calls of the robot and its whole time before it. What was sent stays
 * sent, and a stored answer stays the answer.
 *
 * @param changes `commands: undefined` discards the stored answer, so that the robot is asked again: only for a row
 *   of which nothing was sent
 * @throws {LeaseLostError} when it is no longer the failed row that was read
 */
export const redrive = (
  table: Table,
  item: Item,
  changes: { readonly commands?: undefined } = {},
): Promise<Lease> =>
  write(
    table,
    unclaimed(item),
    {
      status: 'pending',
      claims: item.claims,
      robot_calls: 0,
      next_attempt_at: iso(table.now()),
      give_up_at: iso(table.now() + GIVE_UP_MS),
      due_shard: shardOf(item.event_id),
      expires_at: undefined,
      ...changes,
    },
    { from: 'failed' },
  );

// ---- conditions, and the one write that uses them

const SAME_STATUS = '#status = :seen_status';
const SAME_CLAIM = '#claims = :seen_claims';
const SAME_LEASE = '#next_attempt_at = :seen_next_attempt_at';
const SAME_PROGRESS = '#sent = :seen_sent';
const AS_SEEN = [SAME_STATUS, SAME_CLAIM, SAME_LEASE, SAME_PROGRESS];
const DUE = '#next_attempt_at <= :now';

/** What is undefined is removed. */
type Changes = Partial<{ [Name in keyof Item]: Item[Name] | undefined }>;

interface WriteOptions {
  readonly from?: 'pending' | 'failed';
  /** A condition besides that the row is as its worker knows it. */
  readonly when?: typeof DUE;
  /** Of the lease, once it is written. */
  readonly state?: Lease['state'];
}

/**
 * Writes on the condition that the row is as its worker knows it. If the condition fails, the row is read: the
 * write may have taken effect and only its answer been lost, so that the SDK repeated it.
 *
 * @throws {LeaseLostError} when another worker has written
 */
async function write(
  table: Table,
  { item, state, write_id }: Lease,
  changes: Changes,
  {
    from = 'pending',
    when,
    state: next = state === 'unclaimed' ? 'claimed' : state,
  }: WriteOptions = {},
): Promise<Lease> {
  const claims = state === 'unclaimed' ? item.claims + 1 : item.claims;
  const written = { claims, ...changes, write_id };
  const isWritten = await updateIf(
    table,
    keyOf(item),
    written,
    when ? [...AS_SEEN, when] : AS_SEEN,
    {
      seen_status: from,
      seen_claims: item.claims,
      seen_next_attempt_at: item.next_attempt_at,
      seen_sent: item.sent,
      ...(when && { now: iso(table.now()) }),
    },
  );
  const now = isWritten ? ({ ...item, ...written } as Item) : await read(table, item);
  if (now?.write_id !== write_id) throw new LeaseLostError();
  return leaseOn(now, next);
}
