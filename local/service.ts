import { readFileSync } from 'node:fs';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DynamoDBClient,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';
import { parse } from 'yaml';

/** What serverless.yml and resources/ say of the stage that runs on this machine. */

export const STAGE = 'local';

interface Resource {
  readonly Type: string;
  readonly Properties: CreateTableCommandInput & {
    readonly TimeToLiveSpecification?: unknown;
    readonly PointInTimeRecoverySpecification?: unknown;
  };
}

const read = (text: string) => parse(text, { logLevel: 'silent' });
const textOf = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');

/** The name of the service, with which all names on AWS begin. */
export const serviceName: string = read(textOf('serverless.yml')).service;

/** The full name of a table or a function. */
export const nameOf = (part: string, stage = STAGE) => `${serviceName}-${stage}-${part}`;

/** The tables, less what is not for `CreateTable` or not for the embedded engine. */
export function tableDefinitions(): CreateTableCommandInput[] {
  const text = textOf('resources/tables.yml')
    .replace(/\$\{self:service\}/g, serviceName)
    .replace(/\$\{sls:stage\}/g, STAGE);
  return (Object.values(read(text).Resources) as Resource[])
    .filter(({ Type }) => Type === 'AWS::DynamoDB::Table')
    .map(({ Properties }) => {
      const { StreamSpecification: _, ...table } = creatable(Properties);
      return table;
    });
}

/** Of a table's properties those that `CreateTable` takes, and engines for tests know. */
export function creatable(properties: Resource['Properties']): CreateTableCommandInput {
  const {
    TimeToLiveSpecification: _,
    PointInTimeRecoverySpecification: __,
    DeletionProtectionEnabled: ___,
    ...table
  } = properties;
  return table;
}

/** A client of an engine of this machine's. */
export const createLocalClient = (endpoint: string) =>
  new DynamoDBClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: STAGE, secretAccessKey: STAGE },
  });

/** Creates the tables, and waits for them. */
export async function createTables(
  client: DynamoDBClient,
  tables = tableDefinitions(),
): Promise<void> {
  await Promise.all(
    tables.map(async (table) => {
      await client.send(new CreateTableCommand(table));
      await waitUntilTableExists(
        { client, maxWaitTime: 10, minDelay: 0.05, maxDelay: 0.1 },
        { TableName: table.TableName },
      );
    }),
  );
}
