import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import inspector from 'node:inspector';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Reload } from '../../plugins/reload.ts';
import { HOST, type Ports, SERVERS, type ServerName } from '../ports.ts';
import { isRoutine } from './output-filter.ts';

/*
 * serverless-offline runs in a process of its own. So a crash of it is noticed, all that it started can be ended
 * at once, and what preload.ts changes in Node's prototypes stays out of the local DynamoDB and VVChat.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SERVERLESS = createRequire(import.meta.url).resolve('serverless/bin/serverless.js');
const READY_MS = 60_000;

/** The port on which a debugger reaches the functions; without it they run without an inspector. */
export const INSPECT_VARIABLE = 'LOCAL_INSPECT_PORT';

/** How long a worker may finish what it is at after a save has replaced it. */
export const GRACE_MS = 2_000;

/** The process ended unexpectedly. The message is the framework's own, or else the last lines of its output. */
export class OfflineError extends Error {
  override readonly name = 'OfflineError';
}

/** API Gateway and Lambda: serverless-offline, in a process of its own. */
export interface Offline {
  readonly pid: number;
  /** Settles once the webhook has answered. */
  readonly answers: (webhookUrl: string) => Promise<void>;
  /** Rejects when the process ends unexpectedly. */
  readonly broken: Promise<never>;
  /** The listener is called after every save; once `reloaded`, new calls run the new code. */
  readonly onReload: (listener: (reload: Reload) => void) => void;
  readonly stop: () => Promise<void>;
}

/** Starts API Gateway and Lambda. */
export function startOffline(ports: Ports, onLine: (line: string) => void): Offline {
  // Packaging deletes the default folder.
  const workFolder = `node_modules/.cache/vvchat-robot/${process.pid}-${ports.http}`;
  const preload = new URL('preload.ts', import.meta.url).href;
  const child = spawn(
    process.execPath,
    [
      // Unlike NODE_OPTIONS, this reaches the workers too.
      `--import=${preload}`,
      ...inspectFlags(),
      SERVERLESS,
      ...['offline', 'start'],
      ...['--httpPort', `${ports.http}`, '--lambdaPort', `${ports.lambda}`],
      // A function that is paused at a breakpoint must not be ended.
      ...(isDebugged() ? ['--noTimeout'] : []),
    ],
    {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        ...process.env,
        ...portVariables(ports),
        ESBUILD_WORK_FOLDER: workFolder,
        SLS_NOTIFICATIONS_MODE: 'off',
        SLS_TELEMETRY_DISABLED: '1',
        // The terminal shows escapes instead of obeying them, those for colours included.
        NO_COLOR: '1',
        FORCE_COLOR: undefined,
      },
    },
  );
  const lines: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output as Readable }).on('line', (line) => {
      if (isRoutine(line)) return;
      lines.push(line);
      onLine(line);
    });
  }
  const ended = new AbortController();
  const broken = once(child, 'exit').then(([code, signal]) => {
    ended.abort();
    throw new OfflineError(reasonOf(lines, signal ?? `exit code ${code}`));
  });
  broken.catch(() => {});
  return {
    pid: child.pid as number,
    answers: (webhookUrl) => Promise.race([untilAnswered(webhookUrl, ended.signal), broken]),
    broken,
    onReload: (listener) => {
      child.on('message', listener);
    },
    stop: async () => {
      await end(child);
      await rm(`${ROOT}/${workFolder}`, { recursive: true, force: true });
    },
  };
}

function inspectFlags(): string[] {
  const port = process.env[INSPECT_VARIABLE];
  return port ? [`--inspect=${HOST}:${port}`] : [];
}

/** VS Code attaches to this process and to its children by itself. */
const isDebugged = () => inspectFlags().length > 0 || inspector.url() !== undefined;

function reasonOf(lines: readonly string[], end: string): string {
  const message = lines.lastIndexOf('Error:');
  if (message >= 0) return lines.slice(message + 1).join('\n');
  return `API Gateway and Lambda (serverless-offline) ended unexpectedly (${end}):\n${lines.slice(-15).join('\n')}`;
}

const portVariables = (ports: Ports) =>
  Object.fromEntries(
    Object.entries(SERVERS).map(([name, { variable }]) => [
      variable,
      `${ports[name as ServerName]}`,
    ]),
  );

async function untilAnswered(url: string, signal: AbortSignal): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await sleep(100, undefined, { signal })) {
    const answer = await fetch(url, { method: 'POST' }).catch(() => undefined);
    if (answer?.status === 401) return;
    if (Date.now() > end)
      throw new Error(`The webhook did not answer within ${READY_MS / 1_000} s.`);
  }
}

/** Kills the process and all that it started: none of it has anything to save. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  if (process.platform === 'win32') child.kill();
  else process.kill(-child.pid, 'SIGKILL');
  await exited;
}
