import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HEAP, Invocation, Result } from './lambda-process.ts';

const PROCESS = fileURLToPath(new URL('lambda-process.ts', import.meta.url));

/** A clock that this process and its Lambda containers share; it goes on, and can be moved on. */
export class SharedClock implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'vvchat-robot-clock-'));
  readonly file = join(this.#folder, 'offset');
  #offset = 0;

  constructor() {
    this.advance(0);
  }

  readonly now = (): number => Date.now() + this.#offset;

  advance(milliseconds: number): void {
    this.#offset += milliseconds;
    writeFileSync(this.file, `${this.#offset}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** The container has ended, before or while it was invoked. */
export class ContainerEndedError extends Error {
  override readonly name = 'ContainerEndedError';
}

/** A Lambda container: a process with a packaged handler. */
export interface Lambda extends AsyncDisposable {
  readonly pid: number;
  readonly hasEnded: () => boolean;
  /**
   * One invocation at a time; others wait for their turn.
   *
   * @throws {ContainerEndedError}, or an error with what the handler threw as its message
   */
  readonly invoke: (event: unknown, timeoutMs?: number) => Promise<unknown>;
  /** How many bytes of its heap are in use. */
  readonly heapUsed: () => Promise<number>;
  readonly kill: () => void;
  /** Stands still, as Lambda has a container do between two invocations, and at any other moment. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** All that it printed. */
  readonly output: () => string;
}

export interface LambdaOptions {
  readonly handler: string;
  readonly timeoutMs: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: SharedClock;
  /** By how much its clock is ahead of the others. */
  readonly skewMs?: number;
}

export async function startLambda(options: LambdaOptions): Promise<Lambda> {
  const { handler, environment, clock, skewMs = 0 } = options;
  const child = spawn(process.execPath, ['--expose-gc', PROCESS, handler], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      ...environment,
      AWS_REGION: 'us-east-1',
      CLOCK_FILE: clock.file,
      CLOCK_SKEW_MS: `${skewMs}`,
    },
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  }
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new ContainerEndedError(`${signal ?? code}`);
  });
  ended.catch(() => {});
  const messageOrEnd = () => Promise.race([once(child, 'message'), ended]);
  try {
    await messageOrEnd();
  } catch (cause) {
    throw new Error(printed, { cause });
  }
  const ask = async (message: Invocation | typeof HEAP): Promise<unknown> => {
    if (hasEnded(child)) return ended;
    const answered = messageOrEnd();
    child.send(message);
    const [result] = (await answered) as [Result];
    if ('error' in result) throw new Error(result.error);
    return result.value;
  };
  let busy: Promise<unknown> = Promise.resolve();
  const askInTurn = (message: Invocation | typeof HEAP) => {
    const asked = busy.then(() => ask(message));
    busy = asked.catch(() => {});
    return asked;
  };
  return {
    pid: child.pid as number,
    hasEnded: () => hasEnded(child),
    invoke: (event, timeoutMs = options.timeoutMs) => askInTurn({ event, timeoutMs }),
    heapUsed: async () => Number(await askInTurn('heap')),
    kill: () => void child.kill('SIGKILL'),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    output: () => printed,
    [Symbol.asyncDispose]: async () => {
      if (!hasEnded(child)) child.kill('SIGKILL');
      await ended.catch(() => {});
    },
  };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) =>
  exitCode !== null || signalCode !== null;
