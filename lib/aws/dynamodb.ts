import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  DynamoDBServiceException,
} from '@aws-sdk/client-dynamodb';
import { type ClientOptions, clientConfig } from './client-config.ts';
import type { Service } from './replacements/json-protocol.ts';

const DYNAMODB: Service = {
  name: 'dynamodb',
  version: '1.0',
  target: 'DynamoDB_20120810',
  errorOf: (name) =>
    name === 'ConditionalCheckFailedException'
      ? ConditionalCheckFailedException
      : DynamoDBServiceException,
};

/** The tables' client. */
export const createClient = (options?: Partial<ClientOptions>): DynamoDBClient =>
  new DynamoDBClient(clientConfig(DYNAMODB, options));
