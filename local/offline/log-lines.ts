/*
 * On AWS a log entry is JSON, made by Lambda's own console. serverless-offline leaves Node's console as it is, which
 * would print each entry as an object over several lines; so the console's methods are replaced in its workers.
 */

import type { ErrorFields } from '../../lib/log.ts';

/** Prints a function's log entries as lines. */
export function printLogLines(target: Pick<Console, 'info' | 'warn' | 'error'> = console): void {
  for (const level of ['info', 'warn', 'error'] as const) {
    const print = target[level].bind(target);
    target[level] = (...args: unknown[]) =>
      args.length === 1 && isEntry(args[0]) ? print(lineOf(args[0])) : print(...args);
  }
}

interface Entry {
  readonly message: string;
  readonly at?: readonly string[];
  readonly causes?: readonly ErrorFields[];
}

const isEntry = (it: unknown): it is Entry =>
  typeof it === 'object' &&
  it !== null &&
  Object.getPrototypeOf(it) === Object.prototype &&
  'message' in it &&
  typeof it.message === 'string';

function lineOf({ message, at = [], causes = [], ...fields }: Entry): string {
  const details = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  const causeLines = causes.flatMap(({ error, detail, at }) => [
    `caused by ${error}${detail === undefined ? '' : `: ${detail}`}`,
    ...placesIn(at),
  ]);
  return [`${message}  ${details.join(' ')}`.trimEnd(), ...placesIn(at), ...causeLines]
    .flatMap((line) => line.split('\n'))
    .join('\n  ');
}

const placesIn = (at: readonly string[]) => at.filter((place) => !/node:|node_modules/.test(place));
