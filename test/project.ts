import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts, type Ports, SERVERS, type ServerName } from '../local/ports.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCE = [
  'events',
  'functions',
  'lib',
  'local',
  'plugins',
  'resources',
  'LICENSE',
  'package.json',
  'serverless.yml',
  'settings.yml',
  'tsconfig.json',
];

/** The project in a folder of its own, for a test to change and to run commands in. */
export interface Project extends AsyncDisposable {
  readonly folder: string;
  readonly ports: Ports;
  /** Starts a command there, with nothing of this process's environment that could matter. */
  readonly start: (command: string[], env?: Record<string, string>) => Run;
  readonly change: (file: string, change: (text: string) => string) => Promise<void>;
  /** Writes a file, in folders that need not exist. */
  readonly write: (file: string, text: string) => Promise<void>;
}

export interface Run {
  readonly process: ChildProcess;
  /** All that was printed so far. */
  readonly output: () => string;
  /** Waits until something was printed. */
  readonly prints: (pattern: RegExp, milliseconds?: number) => Promise<RegExpExecArray>;
  /** Waits for the end; the exit code, or the signal. */
  readonly ends: () => Promise<number | string>;
}

/** Copies the project, with the robot of test/robot.ts in place of the author's. */
export async function copyProject(): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-'));
  const home = join(folder, 'home');
  const ports = await freePorts();
  await Promise.all(SOURCE.map((it) => cp(join(ROOT, it), join(folder, it), { recursive: true })));
  await cp(join(ROOT, 'test/robot.ts'), join(folder, 'robot/robot.ts'));
  await linkPackages(folder);
  await mkdir(home);
  const runs: Run[] = [];
  const env = {
    PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
    // Not the project's folder: there osls keeps a cache in .serverless, which each packaging deletes.
    HOME: home,
    NO_COLOR: '1',
    ESBUILD_WORK_FOLDER: '.esbuild',
    ...Object.fromEntries(
      Object.entries(SERVERS).map(([name, { variable }]) => [
        variable,
        `${ports[name as ServerName]}`,
      ]),
    ),
  };
  return {
    folder,
    ports,
    start: ([command = '', ...args], more = {}) => {
      const child = spawn(command, args, { cwd: folder, env: { ...env, ...more }, detached: true });
      runs.push(runOf(child));
      return runs.at(-1) as Run;
    },
    change: async (file, change) => {
      const path = join(folder, file);
      await writeFile(path, change(await readFile(path, 'utf8')));
    },
    write: async (file, text) => {
      const path = join(folder, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    },
    [Symbol.asyncDispose]: async () => {
      for (const run of runs) killGroup(run.process);
      await Promise.all(runs.map((run) => run.ends()));
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** A folder of its own for packages, so that what is cached in it is the copy's too. */
async function linkPackages(folder: string): Promise<void> {
  const packages = join(ROOT, 'node_modules');
  await mkdir(join(folder, 'node_modules'));
  const names = (await readdir(packages)).filter((name) => name !== '.cache');
  await Promise.all(
    names.map((name) => symlink(join(packages, name), join(folder, 'node_modules', name))),
  );
}

/** As Ctrl-C does in a terminal: the signal goes to the command and to all that it has started. */
export const interrupt = ({ process: child }: Run) =>
  process.kill(-(child.pid as number), 'SIGINT');

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
}

function runOf(child: ChildProcess): Run {
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  return {
    process: child,
    output: () => printed,
    ends: () => ended,
    prints: async (pattern, milliseconds = 20_000) => {
      for (const end = Date.now() + milliseconds; ; await sleep(20)) {
        const match = pattern.exec(printed);
        if (match) return match;
        if (isOver || Date.now() > end) throw new Error(`${pattern} was not printed:\n${printed}`);
      }
    },
  };
}

/** Awaits a condition. */
export async function until<T>(
  look: () => Promise<T | undefined | false>,
  milliseconds = 10_000,
): Promise<T> {
  for (const end = Date.now() + milliseconds; ; await sleep(50)) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`in vain: ${look}`);
  }
}
