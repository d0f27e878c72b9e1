import type { Robot } from '../define-robot.ts';
import { commandsOf, type Item, type Key, sessionOf, toQuestion } from '../inbox/item.ts';
import { read } from '../inbox/queries.ts';
import type { InboxTable } from '../inbox/table.ts';
import {
  complete,
  completeWithoutReply,
  fail,
  type Lease,
  leaseLeft,
  markSent,
  postponeAsking,
  postponeDoubtful,
  postponeRefused,
  postponeSending,
  postponeUnknown,
  renew,
  storeReply,
  unclaimed,
} from '../inbox/transitions.ts';
import { errorFields, log } from '../log.ts';
import { record } from '../metric.ts';
import { MUTED } from '../mute.ts';
import { ask } from '../routing.ts';
import { SafeError } from '../safe-error.ts';
import { VVChatError } from '../vvchat/api.ts';
import { type Command, InvalidCommandError, toMessage } from '../vvchat/command.ts';
import { MIN_REJECTED_AGE_MS, NoTokenError } from '../vvchat/token.ts';
import { SENDING_MS, WRITE_MS } from './budgets.ts';
import { countOutcome, type Delivery, logOutcome, type Outcome } from './delivery.ts';
import { robotErrorFields } from './robot-error.ts';
import { OutOfTimeError, type SendFailure, send } from './send.ts';
import { repeatWrite } from './write.ts';

export class RobotTimeoutError extends SafeError {
  override readonly name = 'RobotTimeoutError';
}

/**
 * Delivers rows that were just inserted. The stream may bring them twice, or late: then they are another worker's.
 *
 * All of them are read before the first robot is called, so that all calls begin in one turn of the event loop: a handler
 * that blocks the thread finds no command of the others in flight, which would be of unknown outcome if Lambda ended
 * the process.
 */
export function deliverBatch(delivery: Delivery, keys: readonly Key[]): Promise<Outcome[]> {
  const rows = keys.map((key) => ({ key, reading: read(delivery.inbox, key) }));
  const allRead = Promise.allSettled(rows.map(({ reading }) => reading));
  const deliverRow = async (reading: Promise<Item | undefined>) => {
    await allRead;
    const item = await reading;
    if (!item) return 'absent';
    if (item.claims > 0) return 'taken';
    return deliver(delivery, unclaimed(item));
  };
  return Promise.all(rows.map(({ key, reading }) => logOutcome(key, () => deliverRow(reading))));
}

/** Delivers one row that was just inserted. */
export async function deliverNew(delivery: Delivery, key: Key): Promise<Outcome> {
  const [outcome] = await deliverBatch(delivery, [key]);
  return outcome as Outcome;
}

/** Takes a row as far as it goes: call the robot, store the answer, send it, settle. */
export async function deliver(delivery: Delivery, lease: Lease): Promise<Outcome> {
  const asked = isAnswered(lease) ? lease : await askRobot(delivery, lease);
  const sent = isAnswered(asked) ? await sendAll(delivery, asked) : asked;
  return countOutcome(delivery.inbox, sent);
}

const isAnswered = ({ item }: Lease): boolean => item.commands !== undefined;

// ---- ask

/** @returns the lease with the stored commands, or of a row that is settled or postponed without any */
async function askRobot(delivery: Delivery, unasked: Lease): Promise<Lease> {
  if (await isMuted(delivery, unasked)) return settleMuted(delivery, unasked);
  const { inbox, deadline } = delivery;
  const budget = Math.min(delivery.robotMs, deadline - inbox.now() - SENDING_MS);
  if (budget <= 0) return handleSendFailure(delivery, unasked, new OutOfTimeError());
  const lease = await renew(inbox, unasked, budget);
  const asked: Asked = { route: lease.item.event };
  let commands: readonly Command[];
  try {
    commands = await askInTime(delivery.robot, lease, budget, asked);
  } catch (error) {
    logRobotFailure(lease, asked, error);
    return handleRobotFailure(delivery, lease, error);
  }
  return writeUntilLeaseEnds(delivery, lease, () =>
    commands.length === 0 ? completeWithoutReply(inbox, lease) : storeReply(inbox, lease, commands),
  );
}

/** What of the robot is asked: its route, once one matches, or the event. */
interface Asked {
  route: string;
}

async function askInTime(
  robot: Robot,
  { item, state }: Lease,
  budget: number,
  asked: Asked,
): Promise<readonly Command[]> {
  const attempt = state === 'unclaimed' ? item.claims + 1 : item.claims;
  const timeUp = new AbortController();
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const abort = () => {
    const message = `The robot took over ${budget / 1_000} s to answer ${asked.route}.`;
    const error = new RobotTimeoutError(message);
    timeUp.abort(error);
    reject(error);
  };
  // Not before what has arrived is read: another robot may have blocked the thread.
  const timer = setTimeout(() => setImmediate(abort), budget);
  const onRoute = (route: string) => {
    asked.route = route;
  };
  try {
    return await Promise.race([
      ask(robot, toQuestion(item, attempt, timeUp.signal), onRoute),
      tooLate,
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function logRobotFailure({ item: { event_id } }: Lease, { route }: Asked, error: unknown): void {
  record({ RobotErrors: 1 });
  log.error('the robot failed to answer', { event_id, route, ...robotErrorFields(error) });
}

function handleRobotFailure(delivery: Delivery, lease: Lease, error: unknown): Promise<Lease> {
  const { inbox } = delivery;
  const fields = errorFields(error);
  const last_error =
    fields.detail === undefined
      ? `the robot threw ${fields.error}`
      : `${fields.error}: ${fields.detail}`;
  // What this session cannot have will not be possible at the next attempt either.
  const isFinal = error instanceof InvalidCommandError;
  return writeUntilLeaseEnds(delivery, lease, () =>
    isFinal ? fail(inbox, lease, last_error) : postponeAsking(inbox, lease, last_error),
  );
}

// ---- send

/** Sends the commands that were not sent yet, counts each, and settles the row with the last. */
async function sendAll(delivery: Delivery, answered: Lease): Promise<Lease> {
  if (await isMuted(delivery, answered)) return settleMuted(delivery, answered);
  const { inbox } = delivery;
  const commands = commandsOf(answered.item) ?? [];
  let lease = answered;
  for (const [i, command] of commands.entries()) {
    if (i < answered.item.sent) continue;
    const message = toMessage(command, sessionOf(lease.item));
    const { lease: sending, failure, isFinal } = await send(delivery, lease, message);
    delivery.onSend?.(sending.item, failure);
    if (failure) return handleSendFailure(delivery, sending, failure, isFinal);
    const isLast = i === commands.length - 1;
    lease = await writeUntilLeaseEnds(delivery, sending, () =>
      isLast ? complete(inbox, sending) : markSent(inbox, sending),
    );
  }
  return lease;
}

function handleSendFailure(
  delivery: Delivery,
  lease: Lease,
  failure: SendFailure,
  isFinal = false,
): Promise<Lease> {
  const { event_id, app_id } = lease.item;
  log.warn('command not sent', { event_id, app_id, reason: failure.message });
  return writeUntilLeaseEnds(delivery, lease, () =>
    writeFailure(delivery.inbox, lease, failure, isFinal),
  );
}

function writeFailure(
  inbox: InboxTable,
  lease: Lease,
  failure: SendFailure,
  isFinal: boolean,
): Promise<Lease> {
  const last_error = errorText(failure);
  if (failure instanceof OutOfTimeError) {
    return postponeSending(inbox, lease, last_error, { none: true });
  }
  const delay = { atLeastMs: failure.retryAfterMs };
  if (failure instanceof NoTokenError) return postponeSending(inbox, lease, last_error, delay);
  switch (failure.fault) {
    case 'refused':
      return isFinal
        ? fail(inbox, lease, last_error)
        : postponeRefused(inbox, lease, last_error, { atLeastMs: MIN_REJECTED_AGE_MS });
    case 'unknown':
      return postponeUnknown(inbox, lease, last_error, delay);
    case 'doubtful':
      return postponeDoubtful(inbox, lease, last_error, delay);
    default:
      return postponeSending(inbox, lease, last_error, delay);
  }
}

function errorText(failure: SendFailure): string {
  const detail = failure instanceof VVChatError ? failure.detail : undefined;
  return detail === undefined ? failure.message : `${failure.message}: ${detail}`;
}

// ---- mute

/** An answer of which a part was sent, or may have been, is sent to its end. */
const isMuted = async ({ mutes }: Delivery, { item }: Lease): Promise<boolean> =>
  item.sent === 0 && item.unknown === undefined && mutes.include(item);

const settleMuted = (delivery: Delivery, lease: Lease): Promise<Lease> =>
  writeUntilLeaseEnds(delivery, lease, () => completeWithoutReply(delivery.inbox, lease, MUTED));

// ---- write

/**
 * Repeats a write that DynamoDB did not take for as long as the row is this worker's. If the first failure were
 * final, the robot would have been called for nothing, or a command be sent again.
 */
function writeUntilLeaseEnds(
  { inbox, deadline }: Delivery,
  lease: Lease,
  write: () => Promise<Lease>,
): Promise<Lease> {
  const end = Math.min(inbox.now() + leaseLeft(inbox, lease), deadline) - WRITE_MS;
  return repeatWrite(inbox, end, write);
}
