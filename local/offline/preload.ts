// What the process of serverless-offline, and each of its workers, imports first.
import { rmSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
import './loopback.ts';
import { printLogLines } from './log-lines.ts';
import { GRACE_MS } from './offline.ts';

if (isMainThread) {
  // Should the parent be killed, nothing of it stays behind.
  process.once('disconnect', () => {
    rmSync(`${process.env.ESBUILD_WORK_FOLDER}`, { recursive: true, force: true });
    process.exit();
  });
  // Listening must not keep the process from ending by itself.
  process.channel?.unref();

  // At a save, serverless-offline ends every worker, whatever it is at, and who waits for its answer waits in
  // vain. So workers get a moment to finish: new calls go to new ones meanwhile.
  const { terminate } = Worker.prototype;
  Worker.prototype.terminate = function terminateLater() {
    setTimeout(() => terminate.call(this), GRACE_MS);
    return Promise.resolve(0);
  };
} else {
  process.setSourceMapsEnabled(true);
  printLogLines();
}
