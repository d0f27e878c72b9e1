import { readFileSync } from 'node:fs';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DynamoDBClient,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';
import { parse } from 'yaml';
import { STAGE, serviceName } from './names.ts';

interface Resource {
  readonly Type: string;
  readonly Properties: CreateTableCommandInput & {
    readonly TimeToLiveSpecification?: unknown;
    readonly PointInTimeRecoverySpecification?: unknown;
  };
}

/** The tables of resources/tables.yml as `CreateTable` takes them, without streams, which dynalite does not have. */
export function tableDefinitions(): CreateTableCommandInput[] {
  const text = readFileSync(new URL('../resources/tables.yml', import.meta.url), 'utf8')
    .replace(/\$\{self:service\}/g, serviceName)
    .replace(/\$\{sls:stage\}/g, STAGE);
  return (Object.values(parse(text, { logLevel: 'silent' }).Resources) as Resource[])
    .filter(({ Type }) => Type === 'AWS::DynamoDB::Table')
    .map(({ Properties }) => {
      const { StreamSpecification: _, ...table } = creatable(Properties);
      return table;
    });
}

/** The properties of a table that `CreateTable` takes and the local engines support. */
export function creatable(properties: Resource['Properties']): CreateTableCommandInput {
  const {
    TimeToLiveSpecification: _,
    PointInTimeRecoverySpecification: __,
    DeletionProtectionEnabled: ___,
    ...table
  } = properties;
  return table;
}

/** A client of a DynamoDB engine on this machine. */
export const createLocalClient = (endpoint: string) =>
  new DynamoDBClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: STAGE, secretAccessKey: STAGE },
  });

/** Creates the tables and waits until they are active. */
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
