import { readFileSync } from 'node:fs';
import { type AttributeValue, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { parse } from 'yaml';
import { fromAttributes, type Row, type Table } from '../lib/aws/table.ts';
import { nameOf, STAGE } from '../local/names.ts';
import { HOST, SERVERS } from '../local/ports.ts';
import { createLocalClient } from '../local/tables.ts';
import type { Options } from './command-line.ts';

/** A table of a stage: on AWS with the operator's own credentials, or that of `npm start`. */
export function tableOf(part: 'memberships' | 'inbox', { stage }: Pick<Options, 'stage'>): Table {
  return { client: clientOf(stage), name: nameOf(part, stage), now: Date.now };
}

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

/** For how many days point-in-time recovery keeps what a table contained. */
export function recoveryDays(): number {
  const text = readFileSync(new URL('../resources/tables.yml', import.meta.url), 'utf8');
  const { InboxTable } = parse(text, { logLevel: 'silent' }).Resources;
  return InboxTable.Properties.PointInTimeRecoverySpecification.RecoveryPeriodInDays;
}
