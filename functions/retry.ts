import type { Context, ScheduledEvent } from 'aws-lambda';
import { readDeliveryConfig } from '../lib/config.ts';
import { createDelivery, type Summary } from '../lib/deliver.ts';
import { deliverDue } from '../lib/due.ts';
import { log } from '../lib/log.ts';
import { InvalidRedriveError, type Redriven, redrive } from '../lib/redrive.ts';
import { robot } from '../lib/robot.ts';

const delivery = createDelivery(readDeliveryConfig(process.env), robot);

/** What an operator invokes it with, to list failed rows or put them back. */
interface RedriveEvent {
  readonly redrive: unknown;
}

/** Every minute: delivers what is due. For an operator: puts back what failed. */
export const handler = async (
  event: ScheduledEvent | RedriveEvent | Record<string, never>,
  context: Context,
): Promise<Summary | Redriven> => {
  const deadline = Date.now() + context.getRemainingTimeInMillis();
  if ('redrive' in event) {
    const answer = await redrive(delivery.inbox, event.redrive, deadline);
    const { rows: _, ...counts } = answer;
    log.info('looked at failed rows', counts);
    return answer;
  }
  if (Object.keys(event).length > 0 && !('source' in event)) throw new InvalidRedriveError(USAGE);
  const summary = await deliverDue({ ...delivery, deadline });
  const isIdle = Object.keys(summary).length === 0;
  log.info(isIdle ? 'nothing is due' : 'delivered what was due', summary);
  return summary;
};

const USAGE = 'Takes the event of the schedule, or {"redrive": {…}} to put failed rows back.';
