import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { type Carried, createRobotApiSimulator } from '../local/simulator/robot-api.ts';

type Listener = (request: IncomingMessage, answer: ServerResponse) => void | Promise<void>;
type Endpoint = 'token' | 'send';

/** VVChat's robot API over HTTP on a free port: as documented, but for the faults that a test asks for. */
export interface FakeVVChat extends AsyncDisposable {
  readonly url: string;
  /** What was carried out. */
  readonly carried: Carried[];
  /** Every request that came. */
  readonly requests: Endpoint[];
  /** Answers the next request to an endpoint in place of VVChat; several are used up one by one. */
  readonly fault: (endpoint: Endpoint, listener: Listener) => void;
}

export const APPS = new Map([
  ['test', '123456'],
  ['qiyunxin', '654321'],
]);

export async function startVVChat(now: () => number = Date.now): Promise<FakeVVChat> {
  const carried: Carried[] = [];
  const requests: Endpoint[] = [];
  const faults: Record<Endpoint, Listener[]> = { token: [], send: [] };
  const vvchat = getRequestListener(
    createRobotApiSimulator({ apps: APPS, now, onCarried: (it) => carried.push(it) }).fetch,
  );
  const server = createServer((request, answer) => {
    const endpoint = request.url?.startsWith('/robotapi/v1/token') ? 'token' : 'send';
    requests.push(endpoint);
    const listener = faults[endpoint].shift() ?? vvchat;
    void listener(request, answer);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    carried,
    requests,
    fault: (endpoint, listener) => void faults[endpoint].push(listener),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A fault: VVChat answers with a status. */
export const answering =
  (status: number, body: unknown = {}, headers: Record<string, string> = {}): Listener =>
  (request, answer) => {
    request.resume();
    answer.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  };

/** A fault: the connection breaks after the request has come. */
export const resetting: Listener = (request) => {
  request.on('end', () => request.socket.resetAndDestroy()).resume();
};

/** A fault: no answer comes. */
export const hanging: Listener = (request) => {
  request.resume();
};
