// What the process of serverless-offline imports first.
import { isMainThread, Worker } from 'node:worker_threads';
import './loopback.ts';
import { GRACE_MS } from './offline.ts';

if (isMainThread) {
  // Should the parent be killed, nothing of it stays behind.
  process.once('disconnect', () => process.exit());

  // At a save, serverless-offline ends every worker, whatever it is at, and who waits for its answer waits in
  // vain. So workers get a moment to finish: new calls go to new ones meanwhile.
  const { terminate } = Worker.prototype;
  Worker.prototype.terminate = function terminateLater() {
    setTimeout(() => terminate.call(this), GRACE_MS);
    return Promise.resolve(0);
  };
}
