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
import { type HistoryEntry, withHistory } from './history.ts';
import {
  acknowledgedShardOf,
  crashed,
  crashedWhileSending,
  failedShardOf,
  type Item,
  isLastSend,
  keyOf,
  robotCallsOf,
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

/**
 * Claims a row that is due, before the robot is called or a command sent, and presets the next back-off.
 *
 * @param lease of an earlier try of the same claim, whose answer was lost
 */
export async function claim(
  table: InboxTable,
  item: Item,
  lease = unclaimed(item),
): Promise<Lease> {
  const delay = Math.max(LEASE_MS, backOff(item.claims + 1, table.random));
  const changes = {
    next_attempt_at: iso(table.now() + delay),
    ...(item.commands === undefined
      ? { phase: 'asking' as const, robot_calls: robotCallsOf(item) }
      : { phase: undefined }),
    ...(crashedWhileSending(item) && { last_error: OUTCOME_UNKNOWN, ...lastSend(table, item) }),
    ...(item.phase && noted(table, item, 'crashed', CRASHES[item.phase])),
  };
  return write(table, lease, changes, { state: 'backed-off', when: DUE });
}

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
    answered_at: iso(table.now()),
    last_error: undefined,
  });

/** Marks that a command is about to be sent; then, as the last thing before it is, renews the lease. */
export async function markSending(table: Table, lease: Lease, stepMs: number): Promise<Lease> {
  const isMarked = lease.item.phase === 'sending';
  const marked = isMarked ? lease : await write(table, lease, { phase: 'sending' });
  return renew(table, marked, stepMs);
}

/** Lists the command at hand as one that may have been carried out, before it is sent again under the same lease. */
export const markUnknown = (table: Table, lease: Lease): Promise<Lease> =>
  write(table, lease, { unknown: withUnknown(lease.item) });

/** Counts a command that was sent and is not the last. */
export const markSent = (table: Table, lease: Lease): Promise<Lease> =>
  write(table, lease, { sent: lease.item.sent + 1, ...forgottenSend(lease.item) });

/** What a row notes of its next command alone. */
const forgottenSend = ({ unknown_at, refused }: Item): Changes => ({
  ...(unknown_at !== undefined && { unknown_at: undefined }),
  ...(refused !== undefined && { refused: undefined }),
});

// ---- settled

/** Counts the last command that was sent, and settles the row. */
export const complete = (table: InboxTable, lease: Lease): Promise<Lease> =>
  write(table, lease, {
    ...settled(table),
    ...forgottenSend(lease.item),
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
): Promise<Lease> =>
  write(table, lease, {
    ...settled(table),
    status: 'ignored',
    answered_at: last_error === undefined ? iso(table.now()) : undefined,
    last_error,
  });

/** Settles a row that is not retried unless an operator puts it back. It stays in the index `due`, apart. */
export const fail = (table: InboxTable, lease: Lease, last_error: string): Promise<Lease> =>
  failWith(table, lease, { last_error });

/** Fails a due row for which {@link exhaustedReason} has a reason. */
export function failExhausted(table: InboxTable, item: Item, last_error: string): Promise<Lease> {
  const isCut = crashedWhileSending(item);
  return failWith(table, unclaimed(item), {
    last_error,
    robot_calls: robotCallsOf(item),
    // Once it is put back, a message that crashed the robot is still quarantined.
    ...(crashed(item) && !isCut && { phase: 'crashed' as const }),
    ...(isCut && lastSend(table, item)),
  });
}

/** Why a due row is not to be claimed any more; undefined if it is. */
export function exhaustedReason(item: Item, now: number): string | undefined {
  const { commands, last_error, phase } = item;
  const reason = phase ? CRASHES[phase] : (last_error ?? 'no attempt was finished');
  if (Date.parse(item.give_up_at) <= now) return `gave up: ${reason}`;
  if (commands === undefined && robotCallsOf(item) >= MAX_ROBOT_CALLS) {
    return `no answer after ${MAX_ROBOT_CALLS} attempts: ${reason}`;
  }
  return crashedWhileSending(item) && isLastSend(item) ? OUTCOME_UNKNOWN : undefined;
}

const CRASHES = {
  asking: 'the function crashed while the robot answered',
  crashed: 'the function crashed while the robot answered',
  sending: 'the function crashed while a command was sent',
} as const;

const failWith = (table: InboxTable, lease: Lease, changes: Changes): Promise<Lease> =>
  write(table, lease, {
    ...settled(table),
    ...noted(table, lease.item, 'failed', changes.last_error),
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
  const robot_calls = lease.item.robot_calls + 1;
  const changes = { last_error, robot_calls };
  return robot_calls >= MAX_ROBOT_CALLS
    ? failWith(table, lease, changes)
    : postpone(table, lease, changes);
}

/** When a postponed row is due: after the back-off, unless something else is known. */
export interface Delay {
  /** Milliseconds that VVChat asks for: they lengthen the back-off, and never shorten it. */
  readonly atLeastMs?: number | undefined;
  /** Nothing failed: the worker ran out of time. */
  readonly none?: boolean;
}

/** Postpones a row of which nothing was sent in this attempt. */
export const postponeSending = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delay?: Delay,
): Promise<Lease> => postpone(table, lease, { last_error }, delay);

/**
 * Postpones a row whose command most likely was not carried out. The row lists it as of unknown outcome, and it is
 * sent again like one that was not sent.
 */
export const postponeDoubtful = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delay?: Delay,
): Promise<Lease> =>
  postpone(table, lease, { last_error, unknown: withUnknown(lease.item) }, delay);

/** Postpones a row whose command was sent with an unknown outcome; fails it if that was so once before. */
export const postponeUnknown = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delay?: Delay,
): Promise<Lease> =>
  isLastSend(lease.item)
    ? fail(table, lease, OUTCOME_UNKNOWN)
    : postpone(table, lease, { last_error, ...lastSend(table, lease.item) }, delay);

/**
 * Postpones a row whose command VVChat refused, perhaps for its token; fails it if the same command was refused in
 * an earlier attempt.
 */
export const postponeRefused = (
  table: InboxTable,
  lease: Lease,
  last_error: string,
  delay?: Delay,
): Promise<Lease> =>
  lease.item.refused !== undefined
    ? fail(table, lease, last_error)
    : postpone(table, lease, { last_error, refused: lease.item.sent }, delay);

const OUTCOME_UNKNOWN = 'outcome unknown';

const withUnknown = ({ unknown = [], sent }: Item) => [...new Set([...unknown, sent])];

/** Notes that the next send of the command is its last. */
const lastSend = ({ now }: Table, item: Item): Changes => ({
  unknown: withUnknown(item),
  unknown_at: iso(now()),
});

function postpone(
  table: InboxTable,
  lease: Lease,
  changes: Changes,
  delay: Delay = {},
): Promise<Lease> {
  const next = nextAttempt(table, lease, delay);
  if (Date.parse(lease.item.give_up_at) <= next) {
    return failWith(table, lease, { ...changes, last_error: `gave up: ${changes.last_error}` });
  }
  return write(table, lease, {
    ...changes,
    ...noted(table, lease.item, 'postponed', changes.last_error),
    phase: undefined,
    next_attempt_at: iso(next),
  });
}

/** A back-off that is preset stays where it can: writing it again would cost a change of the index. */
function nextAttempt(
  { now, random }: InboxTable,
  { item, state }: Lease,
  { atLeastMs = 0, none = false }: Delay,
): number {
  if (none) return now();
  const claims = state === 'unclaimed' ? item.claims + 1 : item.claims;
  const backedOff =
    state === 'backed-off' ? Date.parse(item.next_attempt_at) : now() + backOff(claims, random);
  return Math.max(backedOff, now() + Math.min(atLeastMs, MAX_BACK_OFF_MS));
}

// ---- for an operator

/** Makes a postponed row due now. False if a worker has it, or has written it since it was read. */
export async function makeDue(table: Table, item: Item): Promise<boolean> {
  if (item.status !== 'pending' || item.phase || item.claims === 0) return false;
  const changes = { claims: item.claims, next_attempt_at: iso(table.now()) };
  return unlessLost(write(table, unclaimed(item), changes));
}

/**
 * Marks a failed row as seen. It stays failed, and can still be put back, but lies apart from the failed rows that
 * are new. False if it has been written since it was read.
 */
export function acknowledge(table: Table, item: Item): Promise<boolean> {
  const changes = {
    claims: item.claims,
    due_shard: acknowledgedShardOf(item.event_id),
    acknowledged_at: iso(table.now()),
  };
  return unlessLost(write(table, unclaimed(item), changes, { from: 'failed' }));
}

/** Whether a write was made; false if another worker has written the row since it was read. */
export async function unlessLost(writing: Promise<Lease>): Promise<boolean> {
  try {
    await writing;
    return true;
  } catch (error) {
    if (error instanceof LeaseLostError) return false;
    throw error;
  }
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
      refused: undefined,
      next_attempt_at: iso(table.now()),
      give_up_at: iso(table.now() + GIVE_UP_MS),
      due_shard: shardOf(item.event_id),
      expires_at: undefined,
      acknowledged_at: undefined,
      ...noted(table, item, 'redriven'),
      ...changes,
    },
    { from: 'failed' },
  );

/** What went wrong goes into the row's history, with a write that happens anyway. */
const noted = (
  { now, worker }: Worker,
  item: Item,
  what: HistoryEntry['what'],
  why?: string,
): Changes => ({
  history: withHistory(item, {
    at: iso(now()),
    what,
    ...(why !== undefined && { why }),
    ...(worker !== undefined && { by: worker }),
  }),
});

// ---- conditions, and the one write that uses them

const SAME_STATUS = '#status = :seen_status';
/** Every write of a worker has an id of its own, so nothing that was sent earlier can land later. */
const SAME_WRITE = '#write_id = :seen_write_id';
const AS_SEEN = [SAME_STATUS, SAME_WRITE];
const DUE = '#next_attempt_at <= :now';

/** What is undefined is removed. */
type Changes = Partial<{ [Name in keyof Item]: Item[Name] | undefined }>;

type Worker = Table & Pick<InboxTable, 'worker'>;

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
  table: Worker,
  { item, state, write_id }: Lease,
  changes: Changes,
  {
    from = 'pending',
    when,
    state: next = state === 'unclaimed' ? 'claimed' : state,
  }: WriteOptions = {},
): Promise<Lease> {
  const claims = state === 'unclaimed' ? item.claims + 1 : item.claims;
  const { worker } = table;
  const written = { claims, ...changes, write_id, ...(worker !== undefined && { worker }) };
  const isWritten = await updateIf(
    table,
    keyOf(item),
    written,
    when ? [...AS_SEEN, when] : AS_SEEN,
    {
      seen_status: from,
      seen_write_id: item.write_id,
      ...(when && { now: iso(table.now()) }),
    },
  );
  const now = isWritten ? ({ ...item, ...written } as Item) : await read(table, item);
  if (now?.write_id !== write_id) throw new LeaseLostError();
  return leaseOn(now, next);
}
