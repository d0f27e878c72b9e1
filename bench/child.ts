import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Those that were started here and have not ended. */
const running = new Set<ChildProcess>();

/** Starts this Node with a file of this folder. However the run ends, the process ends with it. */
export function startNode(args: readonly string[], options: SpawnOptions): ChildProcess {
  if (running.size === 0) process.once('exit', endAll);
  const child = spawn(process.execPath, args, options);
  running.add(child);
  child.once('exit', () => {
    running.delete(child);
    if (running.size === 0) process.off('exit', endAll);
  });
  return child;
}

/** Ends a process, and waits until it has. */
export async function end(child: ChildProcess): Promise<void> {
  if (!running.has(child)) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** All that a process prints from now on. */
export function printedBy({
  stdout,
  stderr,
}: Partial<Pick<ChildProcess, 'stdout' | 'stderr'>>): () => string {
  let printed = '';
  for (const stream of [stdout, stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  }
  return () => printed;
}

/**
 * The next message of a process.
 *
 * @throws {Error} with what it printed, when it ends before it sends a message
 */
export async function messageFrom<T>(child: ChildProcess, printed: () => string): Promise<T> {
  const over = new AbortController();
  try {
    const { signal } = over;
    const ended = once(child, 'close', { signal }).then(([code, by]) => {
      throw new Error(`A process ended (${by ?? code}):\n${printed()}`);
    });
    const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
    return message;
  } finally {
    over.abort();
  }
}

function endAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
