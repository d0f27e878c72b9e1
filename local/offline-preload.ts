// What the process of serverless-offline imports first.
import { isMainThread } from 'node:worker_threads';
import './loopback.ts';

// Should the parent be killed, nothing of it stays behind.
if (isMainThread) process.once('disconnect', () => process.exit());
