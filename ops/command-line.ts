import { Command, InvalidArgumentError } from 'commander';
import { zonedTime } from '../lib/zoned-time.ts';
import { printVisibly } from '../local/terminal.ts';

/*
 * What the operator's commands share. A new command is a file beside this one, and a script in package.json.
 */

/** The options of every command. */
export interface Options {
  readonly stage: string;
  readonly json: boolean;
}

/** The options that were given make no sense. The message says what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * A command with the options that all commands have.
 *
 * @param name that of the script in package.json, and of the command's file
 * @example
 * const command = createCommand('count', 'Counts the rows of the inbox');
 * await run(command, async () => {
 *   const options = command.opts<Options>();
 *   …
 * });
 */
export const createCommand = (name: string, description: string): Command =>
  new Command(`npm run ${name} --`)
    .description(description)
    .requiredOption('--stage <stage>', 'the deployment to work on; "local" is npm start', stage)
    .option('--json', 'print JSON for scripts', false)
    .showHelpAfterError('(--help lists all options)')
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

function stage(text: string): string {
  if (/^[A-Za-z][\w-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the name of a stage, such as dev.');
}

/** Reads an option that is the id of a session, a person or a robot. */
export function id(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It must not be empty.');
}

/** Reads an option that is a whole number from 1. */
export function positive(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

/** Reads an option that is a time with its zone. @returns milliseconds since 1970 */
export function time(text: string): number {
  const milliseconds = zonedTime(text);
  if (milliseconds !== undefined) return milliseconds;
  throw new InvalidArgumentError('It must be a time such as 2026-03-14T09:00Z.');
}

/** Reads an option that is a period. @returns milliseconds */
export function duration(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,4})([mhd])$/.exec(text) ?? [];
  if (count !== undefined)
    return Number(count) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as 'm'];
  throw new InvalidArgumentError('It must be a period such as 30m, 2h or 1d.');
}

/** Runs a command. The exit code is 0 if it succeeded, 1 if it failed, and 2 if its options make no sense. */
export async function run(command: Command, work: () => Promise<void>): Promise<void> {
  printVisibly();
  try {
    process.loadEnvFile();
  } catch {
    // A .env is optional.
  }
  try {
    await command.action(work).parseAsync();
  } catch (error) {
    const isUsage = error instanceof UsageError;
    console.error(isUsage ? error.message : describe(error as Error));
    process.exitCode = isUsage ? 2 : 1;
  }
}

/** The error as AWS's SDK words it, and the usual remedy. */
function describe(error: Error): string {
  const code = 'code' in error ? `${error.code}` : error.name;
  const remedies: Record<string, string> = {
    ResourceNotFoundException: 'Is the stage deployed in this account and region?',
    CredentialsProviderError: 'Sign in to AWS, or set AWS_PROFILE.',
    ECONNREFUSED: 'Is npm start running?',
  };
  return `${code}: ${error.message || 'no connection'}. ${remedies[code] ?? ''}`.trim();
}

/** Prints the results: a table for people, JSON for scripts. */
export function printRows(rows: readonly object[], { json }: Pick<Options, 'json'>): void {
  if (json) console.log(JSON.stringify(rows, null, 2));
  else if (rows.length > 0) console.table(rows);
}

/** Prints a note for people, apart from the results. */
export const printNote = (text: string) => console.error(text);

/**
 * A text from outside as a line shows it: control characters, and those that turn the direction of writing, as
 * escapes, so that no terminal obeys them.
 */
export const visible = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (it) => `\\u{${it.codePointAt(0)?.toString(16)}}`);

/** `1 row`, `2 rows`. */
export const rowCount = (count: number) => `${count} ${count === 1 ? 'row' : 'rows'}`;
