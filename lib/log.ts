import { SafeError } from './safe-error.ts';

type Fields = Readonly<
  Record<string, string | number | boolean | readonly string[] | readonly ErrorFields[] | undefined>
>;

/** An error in a log entry. */
export type ErrorFields = {
  /** Its class. */
  readonly error: string;
  /** Its message. */
  readonly detail?: string;
  /** Its places in the code. */
  readonly at: readonly string[];
};

/** Logs one line. Lambda's JSON log format adds the time, the level and the request ID. */
export const log = {
  info: (message: string, fields: Fields = {}) => console.info({ message, ...fields }),
  warn: (message: string, fields: Fields = {}) => console.warn({ message, ...fields }),
  error: (message: string, fields: Fields = {}) => console.error({ message, ...fields }),
};

/**
 * The fields of a caught error that are safe to log: its class, its places in the code, and its message if it is a
 * {@link SafeError}. Messages, causes and properties of other errors may hold URLs, keys and users' texts.
 */
export function errorFields(error: unknown): ErrorFields {
  if (!(error instanceof Error)) return { error: typeof error, at: [] };
  const at = (error.stack ?? '')
    .replace(error.message, '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 8)
    .map((line) => line.trim());
  return error instanceof SafeError
    ? { error: error.name, detail: error.message, at }
    : { error: error.name, at };
}
