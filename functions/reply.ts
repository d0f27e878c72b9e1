import type { Context, DynamoDBRecord, DynamoDBStreamEvent } from 'aws-lambda';
import { readDeliveryConfig } from '../lib/config.ts';
import { robotIn } from '../lib/define-robot.ts';
import { deliverBatch } from '../lib/delivery/deliver.ts';
import {
  createDelivery,
  forInvocation,
  type Summary,
  summaryOf,
} from '../lib/delivery/delivery.ts';
import type { Key } from '../lib/inbox/item.ts';
import * as author from '../robot/robot.ts';

const delivery = createDelivery(readDeliveryConfig(process.env), robotIn(author));

/** Delivers the rows that were just inserted into the inbox. What it does not finish becomes due for `retry`. */
export const handler = async (
  { Records }: DynamoDBStreamEvent,
  context: Context,
): Promise<Summary> => {
  const keys = Records.map(keyOf);
  return summaryOf(await deliverBatch(forInvocation(delivery, 'reply', context), keys));
};

function keyOf({ dynamodb }: DynamoDBRecord): Key {
  const session_open_id = dynamodb?.Keys?.session_open_id?.S;
  const event_id = dynamodb?.Keys?.event_id?.S;
  if (session_open_id === undefined || event_id === undefined) {
    throw new TypeError(
      'The stream record lacks the keys of the inbox table; check the event source mapping.',
    );
  }
  return { session_open_id, event_id };
}
