import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import inspector from 'node:inspector';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type BuildFailure, type BuildOptions, build, formatMessages } from 'esbuild';
import type { Report } from './robot-worker.ts';

/** A robot that cannot be loaded. The message is for its author: where, what, and what to do. */
export class RobotLoadError extends Error {
  override readonly name = 'RobotLoadError';
}

/** How to load a robot. */
export interface Loading {
  /** The project's folder. */
  readonly folder: string;
  /** Where the bundle is kept while it is loaded, from the project's folder. */
  readonly workFolder: string;
  /** How the functions are bundled. */
  readonly settings: BuildOptions;
  /** The environment variables of the function that will ask the robot, and no others. */
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds; without a limit while a debugger may hold the robot up. */
  readonly timeoutMs?: number;
}

const ROBOT = 'robot/robot.ts';
const TIMEOUT_MS = 10_000;

/**
 * Bundles the author's robot as the functions are bundled, and loads it as a function does when it starts, in a
 * thread of its own without network.
 *
 * @returns the events that the robot answers
 * @throws {RobotLoadError} when the robot does not build, does not load, or is none
 */
export async function loadRobot(loading: Loading): Promise<readonly string[]> {
  const bundle = join(loading.folder, loading.workFolder, `robot-${randomUUID()}.cjs`);
  try {
    await bundleRobot(loading, bundle);
    return await runBundle(loading, bundle);
  } finally {
    await rm(bundle, { force: true });
  }
}

/** The robot and what inspects it share one bundle, and so one copy of lib/define-robot.ts. */
const ENTRY = `
  import { robotIn, routedEvents } from './lib/define-robot.ts';
  import * as author from './${ROBOT}';
  export const events = routedEvents(robotIn(author));
`;

async function bundleRobot({ folder, settings }: Loading, outfile: string): Promise<void> {
  if (!existsSync(join(folder, ROBOT))) {
    throw new RobotLoadError(
      `${ROBOT} is missing. Create it, with: export const robot = defineRobot({ … });`,
    );
  }
  try {
    await build({
      ...settings,
      absWorkingDir: folder,
      stdin: { contents: ENTRY, loader: 'ts', resolveDir: folder, sourcefile: 'robot-entry.ts' },
      outfile,
      // Stacks name the author's lines.
      sourcemap: 'inline',
      sourcesContent: false,
      logLevel: 'silent',
    });
  } catch (error) {
    const { errors } = error as BuildFailure;
    if (errors === undefined) throw error;
    const faults = await formatMessages(errors, { kind: 'error' });
    const hint = errors.some(({ text }) => text.startsWith('Top-level await'))
      ? '\nAwait inside a handler instead.'
      : '';
    throw new RobotLoadError(
      `The robot does not build. Fix this:\n\n${faults.join('').trimEnd()}${hint}`,
    );
  }
}

async function runBundle(loading: Loading, bundle: string): Promise<readonly string[]> {
  const worker = new Worker(new URL('robot-worker.ts', import.meta.url), {
    env: loading.environment,
    // Not this process's own: what it preloads is none of the robot's.
    execArgv: [],
    workerData: bundle,
  });
  try {
    const report = await reportOf(worker, loading);
    if ('events' in report) return report.events;
    throw new RobotLoadError(describe(report.error, loading.folder));
  } finally {
    await worker.terminate();
  }
}

/** @throws {RobotLoadError} for a thread that ends, or goes on, without a report */
async function reportOf(worker: Worker, { timeoutMs = TIMEOUT_MS }: Loading): Promise<Report> {
  const timeUp = new AbortController();
  const { signal } = timeUp;
  const timer = setTimeout(() => timeUp.abort(), timeoutMs);
  // A breakpoint may pause the robot indefinitely.
  if (inspector.url() !== undefined) clearTimeout(timer);
  try {
    return await Promise.race([
      once(worker, 'message', { signal }).then(([report]) => report),
      once(worker, 'exit', { signal }).then(([code]) => {
        throw new RobotLoadError(
          `${ROBOT} ended its thread (exit code ${code}) while it was loaded.`,
        );
      }),
    ]);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new RobotLoadError(
      `${ROBOT} was still loading after ${timeoutMs / 1_000} s. Move slow work from the top of the robot's modules into a handler.`,
    );
  } finally {
    clearTimeout(timer);
    timeUp.abort();
  }
}

function describe({ name, message, stack }: ErrorReport, folder: string): string {
  const frames = framesIn(stack, folder);
  const place = frames[0] ?? ROBOT;
  if (name === 'InvalidRobotError') return frames.length > 0 ? `${place}: ${message}` : message;
  if (name === 'NetworkError') {
    return `${place} uses the network while the robot is loaded. ${message} Move the call into a handler.`;
  }
  const trace = frames.map((frame) => `\n    at ${frame}`).join('');
  return `${place}: ${name}: ${message}${trace}\nFix this line: code outside of handlers runs whenever a function starts.`;
}

type ErrorReport = Extract<Report, { error: object }>['error'];

/** The author's places in a stack, from the project's folder. */
function framesIn(stack: string, folder: string): string[] {
  const frames = stack.matchAll(/^\s+at (?:.*\()?(?<file>\S+?):(?<place>\d+:\d+)\)?$/gm);
  return [...frames]
    .map(({ groups }) => {
      const { file = '', place = '' } = groups ?? {};
      const path = file.startsWith('file:') ? fileURLToPath(file) : file;
      return `${relative(folder, path).replaceAll('\\', '/')}:${place}`;
    })
    .filter((frame) => frame.startsWith('robot/'));
}
