import { setTimeout as sleep } from 'node:timers/promises';
import type { Robot } from '../define-robot.ts';
import { commandsOf, type Key, sessionOf, toQuestion } from '../inbox/item.ts';
import { read } from '../inbox/queries.ts';
import {
  complete,
  completeWithoutReply,
  fail,
  type Lease,
  LeaseLostError,
  leaseLeft,
  markSent,
  postponeAsking,
  postponeSending,
  postponeUnknown,
  renew,
  storeReply,
  unclaimed,
} from '../inbox/transitions.ts';
import { errorFields, log } from '../log.ts';
import { record } from '../metric.ts';
import { ask } from '../routing.ts';
import { SafeError } from '../safe-error.ts';
import { VVChatError } from '../vvchat/api.ts';
import { type Command, InvalidCommandError, toMessage } from '../vvchat/command.ts';
import { ROBOT_MS, SENDING_MS, WRITE_MS, WRITE_RETRY_MS } from './budgets.ts';
import { countOutcome, type Delivery, logOutcome, type Outcome } from './delivery.ts';
import { robotErrorFields } from './robot-error.ts';
import { OutOfTimeError, type SendFailure, send } from './send.ts';

export class RobotTimeoutError extends SafeError {
  override readonly name = 'RobotTimeoutError';
}

/** Delivers a row that was just inserted. The stream may bring it twice, or late: then it is another worker's. */
export const deliverNew = (delivery: Delivery, key: Key): Promise<Outcome> =>
  logOutcome(key, async () => {
    const item = await read(delivery.inbox, key);
    if (!item) return 'absent';
    if (item.claims > 0) return 'taken';
    return deliver(delivery, unclaimed(item));
  });

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
  const { inbox, deadline } = delivery;
  const budget = Math.min(ROBOT_MS, deadline - inbox.now() - SENDING_MS);
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
  const timer = setTimeout(() => {
    const error = new RobotTimeoutError(
      `The robot took over ${budget / 1_000} s to answer ${asked.route}.`,
    );
    timeUp.abort(error);
    reject(error);
  }, budget);
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
  const { inbox } = delivery;
  const commands = commandsOf(answered.item) ?? [];
  let lease = answered;
  for (const [i, command] of commands.entries()) {
    if (i < answered.item.sent) continue;
    const { lease: sending, failure } = await send(
      delivery,
      lease,
      toMessage(command, sessionOf(lease.item)),
    );
    if (failure) return handleSendFailure(delivery, sending, failure);
    const isLast = i === commands.length - 1;
    lease = await writeUntilLeaseEnds(delivery, sending, () =>
      isLast ? complete(inbox, sending) : markSent(inbox, sending),
    );
  }
  return lease;
}

function handleSendFailure(delivery: Delivery, lease: Lease, failure: SendFailure): Promise<Lease> {
  const { inbox } = delivery;
  const { event_id, app_id } = lease.item;
  log.warn('command not sent', { event_id, app_id, reason: failure.message });
  const last_error = errorText(failure);
  const delayMs = failure instanceof OutOfTimeError ? 0 : failure.retryAfterMs;
  const fault = failure instanceof VVChatError ? failure.fault : undefined;
  return writeUntilLeaseEnds(delivery, lease, () => {
    if (fault === 'refused') return fail(inbox, lease, last_error);
    return fault === 'unknown'
      ? postponeUnknown(inbox, lease, last_error, delayMs)
      : postponeSending(inbox, lease, last_error, delayMs);
  });
}

function errorText(failure: SendFailure): string {
  const detail = failure instanceof VVChatError ? failure.detail : undefined;
  return detail === undefined ? failure.message : `${failure.message}: ${detail}`;
}

// ---- write

/**
 * Repeats a write that DynamoDB did not take for as long as the row is this worker's. If the first failure were
 * final, the robot would have been called for nothing, or a command be sent again.
 */
async function writeUntilLeaseEnds(
  { inbox, deadline }: Delivery,
  lease: Lease,
  write: () => Promise<Lease>,
): Promise<Lease> {
  const end = Math.min(inbox.now() + leaseLeft(inbox, lease), deadline) - WRITE_MS;
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof LeaseLostError || inbox.now() >= end) throw error;
      await sleep(WRITE_RETRY_MS);
    }
  }
}
