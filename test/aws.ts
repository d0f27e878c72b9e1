import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../local/ports.ts';

/*
 * AWS for tests: the server of moto, a Python package, which answers over HTTP as AWS does.
 */

const SERVER = fileURLToPath(new URL('moto-server.py', import.meta.url));
const READY_MS = 30_000;
const MISSING =
  'moto is missing: run `python3 -m pip install -r test/requirements.txt`, with Python 3 as python3 on the PATH.';

export interface Aws extends AsyncDisposable {
  readonly endpoint: string;
  /** The variables by which a command, a function or a client finds it. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Starts an empty one on a free port of 127.0.0.1. */
export async function startAws(): Promise<Aws> {
  const { http: port } = await freePorts();
  const endpoint = `http://127.0.0.1:${port}`;
  const environment = {
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    // Otherwise boto3 looks for other credentials.
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const others = Object.entries(process.env).filter(([name]) => !/^(?:AWS|MOTO)_/.test(name));
  const child = spawn('python3', [SERVER, `${port}`], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...Object.fromEntries(others), ...environment },
  });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    printed = (printed + text).slice(-10_000);
  });
  const over = once(child, 'close').then(
    () => {
      const isMissing = /ModuleNotFoundError|not found/.test(printed);
      throw new Error(isMissing ? MISSING : 'moto exited', { cause: printed });
    },
    (cause) => {
      throw new Error(MISSING, { cause });
    },
  );
  over.catch(() => {});
  try {
    await Promise.race([untilAnswered(`${endpoint}/moto-api/`), over]);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    endpoint,
    environment,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await over.catch(() => {});
    },
  };
}

async function untilAnswered(url: string): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await sleep(100)) {
    if (await fetch(url).catch(() => undefined)) return;
    if (Date.now() > end) throw new Error(`moto did not start within ${READY_MS / 1_000} s.`);
  }
}
