import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../aws/dynamodb.ts';
import type { Table } from '../aws/table.ts';
import { type DeliveryConfig, TEST_HOST } from '../config.ts';
import * as inbox from '../inbox/transitions.ts';
import { errorFields, log } from '../log.ts';
import { record } from '../metric.ts';
import type { Robot } from '../robot.ts';
import { ask, type Question } from '../routing.ts';
import { SafeError } from '../safe-error.ts';
import { createRobotApi, REQUEST_MS, type RobotApi, VVChatError } from '../vvchat/api.ts';
import { appKeys } from '../vvchat/app-key.ts';
import { type Command, InvalidCommandError, type Message, toMessage } from '../vvchat/command.ts';
import { createTokens, NoTokenError, type Token, type Tokens } from '../vvchat/token.ts';

/** What it takes to answer the rows of an inbox. */
export interface Delivery {
  readonly inbox: Table;
  readonly robot: Robot;
  readonly api: Pick<RobotApi, 'send'>;
  readonly tokens: Tokens;
  readonly retentionDays: number;
  /** Milliseconds since 1970: when the function's own time is up. */
  readonly deadline: number;
  readonly random?: () => number;
}

/**
 * What became of a row: settled; put off until it is due again; `absent`; `taken`, so that it is for `retry`;
 * `lost` to another worker meanwhile; `stalled`, when DynamoDB failed, so that it comes due by itself; or
 * `skipped`, to be left for a later minute.
 */
export type Outcome =
  | 'replied'
  | 'ignored'
  | 'failed'
  | 'postponed'
  | 'absent'
  | 'taken'
  | 'lost'
  | 'stalled'
  | 'skipped';

/** How many rows came to what. */
export type Summary = Partial<Record<Outcome, number>>;

export class RobotTimeoutError extends SafeError {
  override readonly name = 'RobotTimeoutError';
}

/** How long a robot may think. */
export const ROBOT_MS = 60_000;

/** What is left to a function after the robot's turn, for a token and the first sends. */
export const SENDING_MS = 30_000;

/** What a function keeps in hand for the write that follows a send: three attempts, and a look at what became of them. */
const WRITE_MS = 14_000;

/** Builds a delivery from the environment; a function gives it the deadline of each invocation. */
export function createDelivery(config: DeliveryConfig, robot: Robot): Omit<Delivery, 'deadline'> {
  if (config.VVCHAT_API_URL === TEST_HOST) {
    log.warn("VVChat's test host has no https: keys and tokens can be read on their way");
  }
  const client = createClient();
  const now = Date.now;
  const api = createRobotApi(config.VVCHAT_API_URL);
  const keyOf = appKeys(config);
  return {
    inbox: { client, name: config.INBOX_TABLE, now },
    robot,
    api,
    tokens: createTokens({ client, name: config.TOKENS_TABLE, now }, async (app_id) =>
      api.fetchToken(app_id, await keyOf(app_id)),
    ),
    retentionDays: config.INBOX_RETENTION_DAYS,
  };
}

/** Answers a row that was just put. The stream may bring one twice, or late: then it is somebody else's. */
export const deliverNew = (delivery: Delivery, key: inbox.Key): Promise<Outcome> =>
  attempt(key, async () => {
    const item = await inbox.read(delivery.inbox, key);
    if (!item) return 'absent';
    if (item.claims > 0) return 'taken';
    return deliver(delivery, inbox.unclaimed(item));
  });

/** Works on one row and tells what came of it; whatever goes wrong is no matter of the other rows. */
export async function attempt<T extends Outcome | undefined>(
  { event_id }: inbox.Key,
  work: () => Promise<T>,
): Promise<T | 'lost' | 'stalled'> {
  try {
    const outcome = await work();
    if (outcome && outcome !== 'skipped') log.info(`inbox row ${outcome}`, { event_id });
    return outcome;
  } catch (error) {
    const outcome = error instanceof inbox.LeaseLostError ? 'lost' : 'stalled';
    log.warn(`inbox row ${outcome}`, { event_id, ...errorFields(error) });
    return outcome;
  }
}

/** Takes a row the rest of its way: ask, store the answer, send, settle. */
export async function deliver(delivery: Delivery, seen: inbox.Lease): Promise<Outcome> {
  const isAnswered = (hold: inbox.Lease) => hold.item.commands !== undefined;
  const answered = isAnswered(seen) ? seen : await answer(delivery, seen);
  return outcomeOf(isAnswered(answered) ? await say(delivery, answered) : answered, delivery.inbox);
}

/** What a row has come to, by a worker's last write; a settled one is counted. */
export function outcomeOf({ item }: inbox.Lease, { now }: Pick<Table, 'now'>): Outcome {
  const { status, received_at, unknown } = item;
  if (status === 'pending') return 'postponed';
  if (unknown) record({ UnknownOutcomes: unknown.length });
  if (status === 'failed') record({ Failures: 1 });
  if (status === 'replied') {
    record({ Replies: 1, ReplyMilliseconds: Math.max(now() - Date.parse(received_at), 0) });
  }
  return status;
}

export function summaryOf(outcomes: readonly Outcome[]): Summary {
  const summary: Summary = {};
  for (const outcome of outcomes) summary[outcome] = (summary[outcome] ?? 0) + 1;
  return summary;
}

// ---- ask

/** @returns the row with the commands, or as it stands where there are none to send */
async function answer(delivery: Delivery, seen: inbox.Lease): Promise<inbox.Lease> {
  const { inbox: table, retentionDays } = delivery;
  const budget = Math.min(ROBOT_MS, delivery.deadline - table.now() - SENDING_MS);
  if (budget <= 0) return putOff(delivery, seen, new OutOfTimeError());
  const hold = await inbox.renew(table, seen, budget);
  let commands: readonly Command[];
  try {
    commands = await askInTime(delivery.robot, hold, budget);
    for (const command of commands) toMessage(command, sessionOf(hold.item));
  } catch (error) {
    log.error('the robot did not answer', { event_id: hold.item.event_id, ...errorFields(error) });
    const last_error = faultOfRobot(error);
    return insist(delivery, hold, () =>
      isForGood(error)
        ? inbox.fail(table, hold, last_error, retentionDays)
        : inbox.postpone(table, hold, { last_error, tried: true }, retentionDays, delivery.random),
    );
  }
  return insist(delivery, hold, () =>
    commands.length === 0
      ? inbox.completeWithoutReply(table, hold, retentionDays)
      : inbox.storeReply(table, hold, commands),
  );
}

async function askInTime(
  robot: Robot,
  { item, claimed }: inbox.Lease,
  budget: number,
): Promise<readonly Command[]> {
  const timeUp = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new RobotTimeoutError(`The robot took over ${budget / 1_000} s.`);
    timeUp.abort(error);
    reject(error);
  }, budget);
  try {
    const attempt = claimed ? item.claims : item.claims + 1;
    return await Promise.race([ask(robot, question(item, attempt, timeUp.signal)), promise]);
  } finally {
    clearTimeout(timer);
  }
}

function question(item: inbox.Item, attempt: number, signal: AbortSignal): Question {
  const { app_id, robot_open_id, robot_no, trigger_target, trigger_open_id, event, text } = item;
  const context = {
    session: sessionOf(item),
    robot: { app_id, open_id: robot_open_id, robot_no },
    trigger: { target: trigger_target, open_id: trigger_open_id ?? '' },
    // The numbers of rows begin anew once their time to live is over.
    receivedAt: new Date(item.received_at),
    eventId: `${item.event_id}-${Date.parse(item.received_at)}`,
    attempt,
    signal,
  };
  return event === 'at' ? { ...context, event, text: text ?? '' } : { ...context, event };
}

const sessionOf = ({ session_open_id, session_type }: inbox.Item) => ({
  session_open_id,
  session_type,
});

/** A command that cannot be carried out in this session will not become one by asking again. */
const isForGood = (error: unknown) => error instanceof InvalidCommandError;

function faultOfRobot(error: unknown): string {
  const { error: name, detail } = errorFields(error);
  return detail === undefined ? `the robot threw ${name}` : `${name}: ${detail}`;
}

// ---- send

/** Sends what has not been sent yet, counting each command, and settles the row with the last. */
async function say(delivery: Delivery, answered: inbox.Lease): Promise<inbox.Lease> {
  const { inbox: table, retentionDays } = delivery;
  const session = sessionOf(answered.item);
  const messages = (inbox.commandsOf(answered.item) ?? []).map((it) => toMessage(it, session));
  let hold = answered;
  for (const message of messages.slice(hold.item.sent)) {
    const { hold: held, fault } = await send(delivery, hold, message);
    if (fault) return putOff(delivery, held, fault);
    const isLast = held.item.sent + 1 === messages.length;
    hold = await insist(delivery, held, () =>
      isLast ? inbox.complete(table, held, retentionDays) : inbox.markSent(table, held),
    );
  }
  return hold;
}

interface Sent {
  readonly hold: inbox.Lease;
  readonly fault?: VVChatError | NoTokenError | OutOfTimeError;
}

class OutOfTimeError extends Error {
  override readonly name = 'OutOfTimeError';

  constructor() {
    super('the function had no time left');
  }
}

async function send(delivery: Delivery, held: inbox.Lease, message: Message): Promise<Sent> {
  const { tokens } = delivery;
  const { app_id } = held.item;
  let hold = held;
  const sendWith = async ({ token }: Token) => {
    checkTime(delivery);
    hold = await inbox.markSending(delivery.inbox, hold, REQUEST_MS);
    checkTime(delivery);
    await delivery.api.send(hold.item.robot_no, token, message);
  };
  try {
    let token = await inTime(delivery, tokens.get(app_id));
    for (let isSent = false; !isSent; ) {
      try {
        await sendWith(token);
        isSent = true;
      } catch (refusal) {
        if (!(refusal instanceof VVChatError && refusal.fault === 'refused')) throw refusal;
        const other = await inTime(delivery, tokens.replace(app_id, token));
        if (!other) throw refusal;
        token = other;
      }
    }
    return { hold };
  } catch (fault) {
    if (isFault(fault)) return { hold, fault };
    throw fault;
  }
}

/** @throws {OutOfTimeError} when a send, and the write that counts it, could outlast the function */
function checkTime({ inbox: { now }, deadline }: Delivery): void {
  if (deadline - now() < REQUEST_MS + WRITE_MS) throw new OutOfTimeError();
}

/** Waits for a token, but not for so long that nothing could be sent with it. */
async function inTime<T>({ inbox: { now }, deadline }: Delivery, token: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const left = deadline - now() - REQUEST_MS - WRITE_MS;
  const timer = setTimeout(() => reject(new OutOfTimeError()), Math.max(left, 0));
  try {
    return await Promise.race([token, promise]);
  } finally {
    clearTimeout(timer);
  }
}

const isFault = (error: unknown): error is NonNullable<Sent['fault']> =>
  error instanceof VVChatError || error instanceof NoTokenError || error instanceof OutOfTimeError;

function putOff(
  delivery: Delivery,
  hold: inbox.Lease,
  fault: NonNullable<Sent['fault']>,
): Promise<inbox.Lease> {
  const { inbox: table, retentionDays, random } = delivery;
  const { event_id, app_id } = hold.item;
  log.warn('not sent', { event_id, app_id, reason: fault.message });
  const detail = fault instanceof VVChatError ? fault.detail : undefined;
  const last_error = detail === undefined ? fault.message : `${fault.message}: ${detail}`;
  const isFinal = fault instanceof VVChatError && fault.fault === 'refused';
  const postponement = {
    last_error,
    delayMs: fault instanceof OutOfTimeError ? 0 : fault.retryAfterMs,
    outcomeUnknown: fault instanceof VVChatError && fault.fault === 'unknown',
  };
  return insist(delivery, hold, () =>
    isFinal
      ? inbox.fail(table, hold, last_error, retentionDays)
      : inbox.postpone(table, hold, postponement, retentionDays, random),
  );
}

/**
 * Writes what has happened, for as long as the row is this worker's. Were it given up at the first failure of
 * DynamoDB, the robot would be asked in vain, or a command sent again.
 */
async function insist(
  { inbox: table, deadline }: Delivery,
  hold: inbox.Lease,
  write: () => Promise<inbox.Lease>,
): Promise<inbox.Lease> {
  const end = Math.min(table.now() + inbox.leaseLeft(table, hold), deadline) - WRITE_MS;
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof inbox.LeaseLostError || table.now() >= end) throw error;
      await sleep(500);
    }
  }
}
