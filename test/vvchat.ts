import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { createRobotApiSimulator, type ReceivedCommand } from '../local/simulator/robot-api.ts';
import { type HttpProxy, startVVChatProxy } from './proxy.ts';

/**
 * VVChat's robot API over HTTP on a free port: as documented, but for the faults that a test asks for, by the
 * operations `token` and `send`.
 */
export interface FakeVVChat extends HttpProxy {
  /** What was carried out. */
  readonly carried: ReceivedCommand[];
}

export const APPS = new Map([
  ['test', 'planted-key-of-test'],
  ['qiyunxin', 'planted-key-of-qiyunxin'],
]);

export async function startVVChat(now: () => number = Date.now): Promise<FakeVVChat> {
  const carried: ReceivedCommand[] = [];
  const { fetch } = createRobotApiSimulator({
    apps: APPS,
    now,
    onCommand: (it) => carried.push(it),
  });
  const server = createAdaptorServer({ fetch }) as Server;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await startVVChatProxy(`http://127.0.0.1:${port}`);
  const closeProxy = proxy[Symbol.asyncDispose];
  return Object.assign(proxy, {
    carried,
    [Symbol.asyncDispose]: async () => {
      await closeProxy();
      server.close();
      server.closeAllConnections();
    },
  });
}
