/*
 * The process of serverless-offline, and each of its workers, imports this first. Everything here makes up for
 * something that serverless-offline has no setting for: it listens to any web page, outlives a parent that was
 * killed, ends a worker in the middle of a reply when a file is saved, and prints log entries as objects.
 */
import { rmSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
import './loopback.ts';
import { printLogLines } from './log-lines.ts';
import { GRACE_MS } from './offline.ts';

if (isMainThread) {
  // The parent was killed: leave nothing behind.
  process.once('disconnect', () => {
    rmSync(`${process.env.ESBUILD_WORK_FOLDER}`, { recursive: true, force: true });
    // An exit would wait for a worker that is paused at a breakpoint.
    process.kill(process.pid, 'SIGKILL');
  });
  // The channel alone must not keep the process running.
  process.channel?.unref();

  // At a save, serverless-offline ends every worker, also one in the middle of a call, whose caller would wait for
  // ever. So workers get a moment to finish, while new calls go to new ones.
  const { terminate } = Worker.prototype;
  Worker.prototype.terminate = function terminateLater() {
    setTimeout(() => terminate.call(this), GRACE_MS);
    return Promise.resolve(0);
  };
} else {
  process.setSourceMapsEnabled(true);
  printLogLines();
}
