import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { record } from './record.ts';
import { json, messageIn } from './vvchat.ts';

/** The three calls of an @-message by AWS's SDK, and nothing else. */
export const handler: APIGatewayProxyHandlerV2 = async (request) => {
  const status = await record(messageIn(request));
  return json(200, { status });
};
