import {
  ConditionalCheckFailedException,
  type DynamoDBClientConfig,
  DynamoDBServiceException,
} from '@aws-sdk/client-dynamodb';
import { type HandlerOptions, runtimeConfig } from './json-protocol.ts';

export * from './stubs.ts';

/** Replaces the function of this name in the SDK's client of DynamoDB. */
export function getRuntimeConfig(
  config: DynamoDBClientConfig & { readonly requestHandler: HandlerOptions },
) {
  return runtimeConfig(
    {
      name: 'dynamodb',
      version: '1.0',
      target: 'DynamoDB_20120810',
      errorOf: (name) =>
        name === 'ConditionalCheckFailedException'
          ? ConditionalCheckFailedException
          : DynamoDBServiceException,
    },
    config,
  );
}
