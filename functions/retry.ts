import type { Context, ScheduledEvent } from 'aws-lambda';
import { readDeliveryConfig } from '../lib/config.ts';
import { createDelivery, type Summary } from '../lib/deliver.ts';
import { deliverDue } from '../lib/due.ts';
import { log } from '../lib/log.ts';
import { robot } from '../lib/robot.ts';

const delivery = createDelivery(readDeliveryConfig(process.env), robot);

/** Every minute: delivers what is due. */
export const handler = async (_: ScheduledEvent, context: Context): Promise<Summary> => {
  const deadline = Date.now() + context.getRemainingTimeInMillis();
  const summary = await deliverDue({ ...delivery, deadline });
  const isIdle = Object.keys(summary).length === 0;
  log.info(isIdle ? 'nothing is due' : 'delivered what was due', summary);
  return summary;
};
