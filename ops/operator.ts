import { type AttributeValue, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { Command, InvalidArgumentError } from 'commander';
import { fromAttributes, type Row, type Table } from '../lib/aws/table.ts';
import { nameOf, STAGE } from '../local/names.ts';
import { HOST, SERVERS } from '../local/ports.ts';
import { createLocalClient } from '../local/tables.ts';

/** What every command of an operator's takes. */
export interface Options {
  readonly stage: string;
  readonly json: boolean;
}

/** An operator asked for what cannot be, or did not say enough. The message tells what to type. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A command with the options that all of them have. */
export const createCommand = (name: string, description: string): Command =>
  new Command(`npm run ${name} --`)
    .description(description)
    .requiredOption('--stage <stage>', 'which deployment; "local" is npm start', stage)
    .option('--json', 'print JSON, for other programs', false)
    .showHelpAfterError('(--help tells more)')
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

function stage(text: string): string {
  if (/^[A-Za-z][\w-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the name of a stage, such as dev.');
}

/** The id of a session, a person or a robot. */
export function id(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It must not be empty.');
}

/** A whole number from 1. */
export function positive(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

/** Runs a command: 0 when it is done, 1 when something failed, 2 when it was not understood. */
export async function run(command: Command, work: () => Promise<void>): Promise<void> {
  try {
    process.loadEnvFile();
  } catch {
    // There need not be a .env.
  }
  try {
    await command.action(work).parseAsync();
  } catch (error) {
    const isUsage = error instanceof UsageError;
    console.error(isUsage ? error.message : failure(error as Error));
    process.exitCode = isUsage ? 2 : 1;
  }
}

/** What AWS said, and what mostly helps. */
function failure(error: Error): string {
  const code = 'code' in error ? `${error.code}` : error.name;
  const help: Record<string, string> = {
    ResourceNotFoundException: 'Is the stage deployed, in this account and region?',
    CredentialsProviderError: 'Sign in to AWS, or set AWS_PROFILE.',
    ECONNREFUSED: 'Is npm start running?',
  };
  return `${code}: ${error.message || 'no connection'}. ${help[code] ?? ''}`.trim();
}

/** A table of a stage: on AWS by the operator's own credentials, or that of `npm start`. */
export function tableOf(part: 'memberships' | 'inbox', { stage }: Pick<Options, 'stage'>): Table {
  return { client: clientOf(stage), name: nameOf(part, stage), now: Date.now };
}

function clientOf(stage: string): DynamoDBClient {
  // As serverless.yml has it.
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

/** Prints rows: as a table for people, as JSON for programs. */
export function print(rows: readonly object[], { json }: Pick<Options, 'json'>): void {
  if (json) console.log(JSON.stringify(rows, null, 2));
  else if (rows.length > 0) console.table(rows);
}

/** A remark for people, which is not among the results. */
export const remark = (text: string) => console.error(text);
