import type { Context, ScheduledEvent } from 'aws-lambda';
import { readDeliveryConfig } from '../lib/config.ts';
import { robotIn } from '../lib/define-robot.ts';
import {
  createDelivery,
  type Delivery,
  forInvocation,
  type Summary,
} from '../lib/delivery/delivery.ts';
import { deliverDue } from '../lib/delivery/retry.ts';
import { InvalidRedriveError, type Redriven, redrive } from '../lib/inbox/redrive.ts';
import { errorFields, log } from '../lib/log.ts';
import { record } from '../lib/metric.ts';
import { SafeError } from '../lib/safe-error.ts';
import * as author from '../robot/robot.ts';

const delivery = createDelivery(readDeliveryConfig(process.env), robotIn(author));

/** Invokes the function to list failed rows, or to put them back. */
interface RedriveEvent {
  readonly redrive: unknown;
}

/** DynamoDB failed. Its errors may hold what is in the tables, and Lambda would log them whole. */
class RetryError extends SafeError {
  override readonly name = 'RetryError';
}

/** Delivers what is due, each minute. For an operator: lists failed rows, or puts them back. */
export const handler = async (
  event: ScheduledEvent | RedriveEvent | Record<string, never>,
  context: Context,
): Promise<Summary | Redriven> => {
  const invocation = forInvocation(delivery, 'retry', context);
  try {
    if ('redrive' in event) return await putBack(event.redrive, invocation);
    if (Object.keys(event).length > 0 && !('source' in event)) throw new InvalidRedriveError(USAGE);
    return await deliver(invocation);
  } catch (error) {
    if (error instanceof InvalidRedriveError) throw error;
    const fields = errorFields(error);
    log.error('retry failed', fields);
    throw new RetryError(`DynamoDB failed (${fields.error}); see the log, and call again.`);
  }
};

async function putBack(request: unknown, { inbox, deadline }: Delivery): Promise<Redriven> {
  const answer = await redrive(inbox, request, deadline);
  const { rows: _, ...counts } = answer;
  log.info('failed rows read', counts);
  return answer;
}

async function deliver(invocation: Delivery): Promise<Summary> {
  // So that an alarm can tell a day without events from missing data.
  record({ Events: 0 });
  const summary = await deliverDue(invocation);
  const isIdle = Object.keys(summary).length === 0;
  log.info(isIdle ? 'nothing is due' : 'due rows delivered', summary);
  return summary;
}

const USAGE =
  'The event must be that of the schedule, or {"redrive": {…}} to put failed rows back.';
