import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Reload } from '../../plugins/reload.ts';
import { type Ports, SERVERS, type ServerName } from '../ports.ts';
import { isNoise } from './output-filter.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SERVERLESS = createRequire(import.meta.url).resolve('serverless/bin/serverless.js');
const READY_MS = 60_000;

/** How long a worker goes on after a save that replaces it. */
export const GRACE_MS = 2_000;

/** The process has ended by itself; the message has what it printed last. */
export class OfflineError extends Error {
  override readonly name = 'OfflineError';
}

/** API Gateway and Lambda: serverless-offline, in a process of its own. */
export interface Offline {
  readonly pid: number;
  /** Settles once the webhook has answered. */
  readonly answers: (webhookUrl: string) => Promise<void>;
  /** Rejects when the process ends by itself. */
  readonly broken: Promise<never>;
  /** Tells of every save: new calls go to the new code from now on, or it does not build. */
  readonly onReload: (listener: (isBroken: boolean) => void) => void;
  readonly stop: () => Promise<void>;
}

export function startOffline(ports: Ports, onLine: (line: string) => void): Offline {
  // Packaging deletes the folder that the framework builds in by default.
  const workFolder = `node_modules/.cache/vvchat-robot/${process.pid}-${ports.http}`;
  const preload = new URL('preload.ts', import.meta.url).href;
  const child = spawn(
    process.execPath,
    [
      // Unlike NODE_OPTIONS, this is for the workers too.
      `--import=${preload}`,
      SERVERLESS,
      ...['offline', 'start'],
      ...['--httpPort', `${ports.http}`, '--lambdaPort', `${ports.lambda}`],
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
      },
    },
  );
  const lines: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output as Readable }).on('line', (line) => {
      if (isNoise(line)) return;
      lines.push(line);
      onLine(line);
    });
  }
  const over = new AbortController();
  const broken = once(child, 'exit').then(([code, signal]) => {
    over.abort();
    const last = lines.slice(-15).join('\n');
    throw new OfflineError(
      `API Gateway and Lambda (serverless-offline) ended by themselves, ${signal ?? `exit code ${code}`}:\n${last}`,
    );
  });
  broken.catch(() => {});
  return {
    pid: child.pid as number,
    answers: (webhookUrl) => Promise.race([untilAnswered(webhookUrl, over.signal), broken]),
    broken,
    onReload: (listener) => {
      child.on('message', (told: Reload) => listener(told === 'broken'));
    },
    stop: async () => {
      await end(child);
      await rm(`${ROOT}/${workFolder}`, { recursive: true, force: true });
    },
  };
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
      throw new Error(`The webhook did not come up within ${READY_MS / 1_000} s.`);
  }
}

/** Ends the process and all that it has started: nothing of it is to be kept. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  if (process.platform === 'win32') child.kill();
  else process.kill(-child.pid, 'SIGKILL');
  await exited;
}
