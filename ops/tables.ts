import { readFileSync } from 'node:fs';
import { type AttributeValue, DynamoDBClient, paginateQuery } from '@aws-sdk/client-dynamodb';
import { parse } from 'yaml';
import { fromAttributes, type Row, type Table, toAttributes } from '../lib/aws/table.ts';
import type { InboxTable } from '../lib/inbox/table.ts';
import { nameOf, STAGE } from '../local/names.ts';
import { HOST, SERVERS } from '../local/ports.ts';
import { createLocalClient } from '../local/tables.ts';
import type { Options } from './command-line.ts';

/** A table of a stage: on AWS with the operator's own credentials, or that of `npm start`. */
export function tableOf(
  part: 'memberships' | 'inbox' | 'mutes',
  { stage }: Pick<Options, 'stage'>,
): Table {
  return { client: clientOf(stage), name: nameOf(part, stage), now: Date.now };
}

/** The inbox, for writes that settle rows. */
export const inboxOf = (options: Pick<Options, 'stage'>): InboxTable => ({
  ...tableOf('inbox', options),
  retentionDays: Number(readYaml('settings.yml').INBOX_RETENTION_DAYS),
  random: Math.random,
});

function clientOf(stage: string): DynamoDBClient {
  // The same default as in serverless.yml.
  const region = process.env.AWS_REGION || 'us-east-1';
  if (stage !== STAGE) return new DynamoDBClient({ region });
  const { variable, port } = SERVERS.dynamodb;
  return createLocalClient(`http://${HOST}:${process.env[variable] || port}`);
}

/** The rows of all pages of a Query or Scan. */
export async function* rowsIn(
  pages: AsyncIterable<{ Items?: Record<string, AttributeValue>[] | undefined }>,
): AsyncGenerator<Row> {
  for await (const { Items = [] } of pages) yield* Items.map(fromAttributes);
}

/** The rows that have a value as their partition key, in the table or in an index of it. */
export const rowsWith = (
  { client, name: TableName }: Table,
  key: string,
  value: string,
  options: { readonly IndexName?: string; readonly ConsistentRead?: boolean } = {},
): AsyncGenerator<Row> =>
  rowsIn(
    paginateQuery(
      { client },
      {
        TableName,
        KeyConditionExpression: `${key} = :value`,
        ExpressionAttributeValues: toAttributes({ ':value': value }),
        ...options,
      },
    ),
  );

/** For how many days point-in-time recovery keeps what a table contained. */
export function recoveryDays(): number {
  const { InboxTable } = readYaml('resources/tables.yml').Resources;
  return InboxTable.Properties.PointInTimeRecoverySpecification.RecoveryPeriodInDays;
}

const readYaml = (file: string) =>
  parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8'), { logLevel: 'silent' });
