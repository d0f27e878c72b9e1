import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { inspect } from 'node:util';
import type { Context } from 'aws-lambda';

/*
 * A Lambda container: a process that loads a packaged handler and runs one invocation after the other, on
 * request of its parent. Its clock is read from a file, so that tests can move it.
 */

export interface Invocation {
  readonly event: unknown;
  readonly timeoutMs: number;
}

export type Result = { readonly value: unknown } | { readonly error: string };

/** In place of an invocation: asks for the bytes of the heap that are in use, once what is not needed is gone. */
export const HEAP = 'heap';

const { CLOCK_FILE = '', CLOCK_SKEW_MS = '0' } = process.env;
const { now } = Date;
Date.now = () => now() + Number(readFileSync(CLOCK_FILE, 'utf8')) + Number(CLOCK_SKEW_MS);
// Lambda prints the whole of an entry, as JSON.
inspect.defaultOptions.depth = null;
// So that each run takes the same steps.
Math.random = () => 0.5;

const [, , file = ''] = process.argv;
const { handler } = createRequire(import.meta.url)(file);

process.on('message', async (message: Invocation | typeof HEAP) => {
  if (message === HEAP) {
    globalThis.gc?.();
    process.send?.({ value: process.memoryUsage().heapUsed });
    return;
  }
  const { event, timeoutMs } = message;
  const began = Date.now();
  const context: Partial<Context> = {
    awsRequestId: randomUUID(),
    getRemainingTimeInMillis: () => timeoutMs - (Date.now() - began),
  };
  process.send?.(await resultOf(() => handler(event, context)));
});
process.send?.('ready');

async function resultOf(call: () => Promise<unknown>): Promise<Result> {
  try {
    return { value: await call() };
  } catch (error) {
    return { error: `${error}` };
  }
}
