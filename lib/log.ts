import { SafeError } from './safe-error.ts';

type Fields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** One line for the operator. Lambda's JSON log format adds the time, the level and the request's id. */
export const log = {
  info: (message: string, fields: Fields = {}) => console.info({ message, ...fields }),
  warn: (message: string, fields: Fields = {}) => console.warn({ message, ...fields }),
  error: (message: string, fields: Fields = {}) => console.error({ message, ...fields }),
};

/**
 * What may be told of a caught error. Messages, causes and properties of errors that are not ours hold
 * URLs, keys and what users wrote; the class and the places in the code do not.
 */
export function errorFields(error: unknown): {
  error: string;
  detail?: string;
  at: readonly string[];
} {
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
