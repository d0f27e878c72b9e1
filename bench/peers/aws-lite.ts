import awsLite from '@aws-lite/client';
// @ts-expect-error The plugin has no types of its own; those that it has elsewhere bring a second AWS SDK.
import dynamodb from '@aws-lite/dynamodb';
import type { APIGatewayProxyHandlerV2 } from 'aws-lambda';
import {
  isDuplicate,
  type Message,
  membershipOf,
  type Newest,
  newestOf,
  rowOf,
} from './message.ts';
import { isAuthentic, json, messageIn } from './vvchat.ts';

/** Region, credentials and endpoint come from the environment; connections are kept alive. */
const connected = awsLite({ plugins: [dynamodb] });

/** The job of sdk.ts by aws-lite. */
export const handler: APIGatewayProxyHandlerV2 = async (request) => {
  if (!isAuthentic(request)) return json(401, { status: 'unauthorized' });
  const status = await record(messageIn(request));
  return json(200, { status });
};

async function record(message: Message): Promise<'queued' | 'duplicate'> {
  const { DynamoDB } = await connected;
  const [, { Items: [newest] = [] }] = await Promise.all([
    DynamoDB.UpdateItem(membershipOf(message)),
    DynamoDB.Query(newestOf(message)),
  ]);
  if (isDuplicate(newest)) return 'duplicate';
  try {
    await DynamoDB.PutItem(rowOf(message, newest));
    return 'queued';
  } catch (error) {
    if (!(error instanceof Error && error.name === 'ConditionalCheckFailedException')) throw error;
    return 'duplicate';
  }
}

/** What is used of the plugin. */
declare module '@aws-lite/client' {
  interface AwsLiteClient {
    readonly DynamoDB: {
      UpdateItem(input: ReturnType<typeof membershipOf>): Promise<unknown>;
      Query(input: ReturnType<typeof newestOf>): Promise<{ Items?: Newest[] }>;
      PutItem(input: ReturnType<typeof rowOf>): Promise<unknown>;
    };
  }
}
