import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { recordMembership } from './record.ts';
import { json, messageIn } from './vvchat.ts';

/** One UpdateItem by AWS's SDK, and nothing else. */
export const handler: APIGatewayProxyHandlerV2 = async (request) => {
  await recordMembership(messageIn(request));
  return json(200, { status: 'recorded' });
};
