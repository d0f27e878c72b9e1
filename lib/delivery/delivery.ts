import type { Context } from 'aws-lambda';
import { createClient } from '../aws/dynamodb.ts';
import type { Table } from '../aws/table.ts';
import { type DeliveryConfig, TEST_HOST } from '../config.ts';
import type { Robot } from '../define-robot.ts';
import type { Item, Key } from '../inbox/item.ts';
import type { InboxTable } from '../inbox/table.ts';
import { type Lease, LeaseLostError } from '../inbox/transitions.ts';
import { errorFields, log } from '../log.ts';
import { record } from '../metric.ts';
import { createRobotApi, type RobotApi } from '../vvchat/api.ts';
import { appKeys } from '../vvchat/app-key.ts';
import { createTokens, type Tokens } from '../vvchat/token.ts';
import { type Answers, createAnswers } from './answers.ts';
import { createMutes, type Mutes } from './mutes.ts';
import type { SendFailure } from './send.ts';

/** What it takes to deliver the rows of an inbox. */
export interface Delivery {
  readonly inbox: InboxTable;
  readonly robot: Robot;
  /** How long the robot may take to answer: at most `ROBOT_MS`. */
  readonly robotMs: number;
  readonly api: Pick<RobotApi, 'send'>;
  readonly tokens: Tokens;
  readonly mutes: Mutes;
  readonly answers: Answers;
  /** When the function's own time is up, in milliseconds since 1970. */
  readonly deadline: number;
  /** Is called for each command that was sent, and for each that was not or may not have been. */
  readonly onSend?: (item: Item, failure: SendFailure | undefined) => void;
}

/** Builds a delivery from the environment; a function adds the deadline of each invocation. */
export function createDelivery(config: DeliveryConfig, robot: Robot): Omit<Delivery, 'deadline'> {
  if (config.VVCHAT_API_URL === TEST_HOST) {
    log.warn("VVChat's test host has no https: keys and tokens can be read on their way");
  }
  const table: Omit<Table, 'name'> = { client: createClient(), now: Date.now };
  const api = createRobotApi(config.VVCHAT_API_URL);
  const keyOf = appKeys(config);
  return {
    inbox: {
      ...table,
      name: config.INBOX_TABLE,
      retentionDays: config.INBOX_RETENTION_DAYS,
      random: Math.random,
    },
    robot,
    robotMs: config.ROBOT_TIMEOUT_SECONDS * 1_000,
    api,
    mutes: createMutes({ ...table, name: config.MUTES_TABLE }),
    answers: createAnswers({ ...table, name: config.TOKENS_TABLE }),
    tokens: createTokens({ ...table, name: config.TOKENS_TABLE }, async (app_id) =>
      api.fetchToken(app_id, await keyOf(app_id)),
    ),
  };
}

/** Adds to a delivery what is an invocation's own: its deadline, and its name in the rows that it writes. */
export const forInvocation = (
  delivery: Omit<Delivery, 'deadline'>,
  functionName: 'reply' | 'retry',
  context: Context,
): Delivery => ({
  ...delivery,
  inbox: { ...delivery.inbox, worker: `${functionName} ${context.awsRequestId}` },
  deadline: Date.now() + context.getRemainingTimeInMillis(),
});

/**
 * What became of a row: settled (`replied`, `ignored`, `failed`); `postponed` until it is due again; `absent`;
 * `taken` already, so that it is for `retry`; `lost` to another worker meanwhile; `stalled`, when DynamoDB failed, so
 * that it becomes due by itself; or `skipped`, left for a later run.
 */
export type Outcome =
  | Exclude<Item['status'], 'pending'>
  | 'postponed'
  | 'absent'
  | 'taken'
  | 'lost'
  | 'stalled'
  | 'skipped';

/** How many rows had which outcome. */
export type Summary = Partial<Record<Outcome, number>>;

export function summaryOf(outcomes: readonly Outcome[]): Summary {
  const summary: Summary = {};
  for (const outcome of outcomes) summary[outcome] = (summary[outcome] ?? 0) + 1;
  return summary;
}

/** Works on one row and logs the outcome. It never rejects: one row's error does not affect the others. */
export async function logOutcome<T extends Outcome | undefined>(
  { event_id }: Key,
  work: () => Promise<T>,
): Promise<T | 'lost' | 'stalled'> {
  try {
    const outcome = await work();
    if (outcome && outcome !== 'skipped') log.info(`inbox row ${outcome}`, { event_id });
    return outcome;
  } catch (error) {
    const outcome = error instanceof LeaseLostError ? 'lost' : 'stalled';
    log.warn(`inbox row ${outcome}`, { event_id, ...errorFields(error) });
    return outcome;
  }
}

/** The outcome of a worker's last write; that of a settled row is counted. */
export function countOutcome({ now }: Pick<Table, 'now'>, { item }: Lease): Outcome {
  const { status, received_at, unknown } = item;
  if (status === 'pending') return 'postponed';
  if (unknown) record({ UnknownOutcomes: unknown.length });
  if (status === 'failed') record({ Failures: 1 });
  if (status === 'replied') {
    record({ Replies: 1, ReplyMilliseconds: Math.max(now() - Date.parse(received_at), 0) });
  }
  return status;
}
