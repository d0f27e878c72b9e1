/**
 * The worker thread in which `load-robot.ts` loads the author's robot. The network is shut before anything of the
 * author's runs, and what fails is reported with its stack, which a thread's `error` event would lose.
 */
import dgram from 'node:dgram';
import dns from 'node:dns';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

/** What the worker posts. */
export type Report =
  | { readonly events: readonly string[] }
  | { readonly error: { readonly name: string; readonly message: string; readonly stack: string } };

type Method = (this: unknown, ...args: unknown[]) => unknown;

process.setSourceMapsEnabled(true);
Error.stackTraceLimit = 50;
process.on('uncaughtException', report);
process.exit = (code) => {
  throw new Error(`process.exit(${code ?? ''}) would end the whole function.`);
};
shutNetwork();
await load();

async function load(): Promise<void> {
  try {
    const { events } = createRequire(import.meta.url)(workerData);
    // An unhandled error of a promise or a socket surfaces within a turn of the event loop.
    await nextTurn();
    await nextTurn();
    post({ events });
  } catch (error) {
    report(error);
  }
}

function report(error: unknown): void {
  const { name, message, stack = '' } = networkErrorIn(error) ?? asError(error);
  post({ error: { name, message, stack } });
}

function post(report: Report): void {
  parentPort?.postMessage(report);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(`${String(error)} was thrown, not an Error.`);
}

/** Libraries wrap what they catch. */
function networkErrorIn(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined;
  return error.name === 'NetworkError' ? error : networkErrorIn(error.cause);
}

function shutNetwork(): void {
  globalThis.fetch = () => Promise.reject(refusal());
  replace(Socket.prototype, ['connect'], function connect(this: unknown) {
    const error = refusal();
    // As a connection that is refused: later, so that it can still be listened to.
    process.nextTick(() => (this as Socket).destroy(error));
    return this;
  });
  replace(dgram.Socket.prototype, ['connect', 'send'], () => {
    throw refusal();
  });
  const lookups = (object: object) =>
    Object.getOwnPropertyNames(object).filter((name) => /^(?:lookup|resolve|reverse)/.test(name));
  for (const object of [dns, dns.Resolver.prototype]) {
    replace(object, lookups(object), (...args) => {
      const callback = args.at(-1);
      if (typeof callback !== 'function') throw refusal();
      process.nextTick(callback, refusal());
    });
  }
  for (const object of [dns.promises, dns.promises.Resolver.prototype]) {
    replace(object, lookups(object), () => Promise.reject(refusal()));
  }
  syncBuiltinESMExports();
}

function replace(object: object, names: readonly string[], method: Method): void {
  for (const name of names) Object.defineProperty(object, name, { value: method });
}

function refusal(): Error {
  const error = new Error('The network may be used only while an event is answered.');
  error.name = 'NetworkError';
  return error;
}
