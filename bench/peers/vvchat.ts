import { createHash, timingSafeEqual } from 'node:crypto';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import type { Event } from '../../lib/vvchat/event.ts';
import type { Message } from './message.ts';

/** Whether the token in the URL is the one whose hash is in the environment. */
export function isAuthentic({ queryStringParameters }: APIGatewayProxyEventV2): boolean {
  const hash = createHash('sha256')
    .update(queryStringParameters?.token ?? '')
    .digest();
  return timingSafeEqual(hash, Buffer.from(process.env.WEBHOOK_TOKEN_SHA256 ?? '', 'hex'));
}

/** The message in VVChat's event, taken at its word. */
export function messageIn({ body }: APIGatewayProxyEventV2): Message {
  const { data }: Extract<Event, { event: 'at' }> = JSON.parse(body ?? '');
  return {
    app: data.robot.app_id,
    robot: data.robot.open_id,
    robotNo: data.robot.robot_no,
    chat: data.session.session_open_id,
    isGroup: data.session.session_type === '2',
    user: data.trigger.open_id ?? '',
    text: data.content.text,
  };
}

export const json = (statusCode: number, body: object): APIGatewayProxyStructuredResultV2 => ({
  statusCode,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});
