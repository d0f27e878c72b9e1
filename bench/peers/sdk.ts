import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { record } from './record.ts';
import { isAuthentic, json, messageIn } from './vvchat.ts';

/** The webhook as one would write it at first: AWS's SDK as it comes, and the event taken at its word. */
export const handler: APIGatewayProxyHandlerV2 = async (request) => {
  if (!isAuthentic(request)) return json(401, { status: 'unauthorized' });
  const status = await record(messageIn(request));
  return json(200, { status });
};
