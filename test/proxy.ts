import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request on its way through a proxy. */
export interface Exchange {
  /** What it asks for, such as `UpdateItem` or `send`. */
  readonly operation: string;
  readonly url: string;
  readonly body: Buffer;
  readonly answer: ServerResponse;
  /** Has the server behind do it, and waits for what it answers. */
  readonly forward: () => Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** What becomes of a request in place of being passed on. */
export type Fault = (exchange: Exchange) => void | Promise<void>;

/** An HTTP server on a free port of 127.0.0.1 that passes requests on, but for the faults that a test asks for. */
export interface HttpProxy extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The operation of every request that came. */
  readonly requests: string[];
  /** Does this to the next request for an operation; several are used up one by one. */
  readonly fault: (operation: string, ...faults: readonly Fault[]) => void;
  /** How many of these are still to come. */
  readonly faultsLeft: (operation: string) => number;
  /** Looks at every request for which no fault is waiting, and may name one. */
  intervene: (exchange: Exchange) => Fault | undefined;
}

export async function startProxy(
  target: string,
  operationOf: (request: IncomingMessage) => string,
): Promise<HttpProxy> {
  const requests: string[] = [];
  // Idle connections are given up before the server behind does so.
  const agent = new Agent({ keepAlive: true, timeout: 2_000 });
  const waiting = new Map<string, Fault[]>();
  const server = createServer(async (incoming, answer) => {
    const operation = operationOf(incoming);
    requests.push(operation);
    // The client may have been killed meanwhile.
    const body = await bodyOf(incoming).catch(() => undefined);
    if (!body) return;
    const forward = () => forwardTo(target, agent, incoming, body);
    const exchange = { operation, url: incoming.url ?? '', body, answer, forward };
    const fault = waiting.get(operation)?.shift() ?? proxy.intervene(exchange) ?? passing;
    await Promise.resolve(fault(exchange)).catch(() => answer.socket?.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy: HttpProxy = {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    fault: (operation, ...faults) =>
      void waiting.set(operation, [...(waiting.get(operation) ?? []), ...faults]),
    faultsLeft: (operation) => waiting.get(operation)?.length ?? 0,
    intervene: () => undefined,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
  return proxy;
}

/** In front of DynamoDB. */
export const startDynamoDBProxy = (endpoint: string): Promise<HttpProxy> =>
  startProxy(endpoint, ({ headers }) => `${headers['x-amz-target']}`.replace(/^.*\./, ''));

/** In front of VVChat's robot API. */
export const startVVChatProxy = (url: string): Promise<HttpProxy> =>
  startProxy(url, (request) => (request.url?.startsWith('/robotapi/v1/token') ? 'token' : 'send'));

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function forwardTo(
  target: string,
  agent: Agent,
  { url = '', method = '', headers }: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const { connection: _, ...rest } = headers;
  const forwarded = request(new URL(url, target), { method, headers: rest, agent });
  forwarded.end(body);
  const [answer] = (await once(forwarded, 'response')) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await bodyOf(answer) };
}

const relay = (answer: ServerResponse, { status, headers, body }: Answer) => {
  const { 'transfer-encoding': _, connection: __, ...rest } = headers;
  answer.writeHead(status, { ...rest, 'content-length': `${body.length}` }).end(body);
};

const reset = ({ socket }: ServerResponse) => void socket?.resetAndDestroy();

/** No fault. */
export const passing: Fault = async ({ answer, forward }) => relay(answer, await forward());

/** Another answer, without the server's doing. */
export const respondingWith =
  (status: number, body: unknown = {}, headers: Record<string, string> = {}): Fault =>
  ({ answer }) => {
    answer.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  };

/** The connection breaks before the server has done anything. */
export const resetting: Fault = ({ answer }) => reset(answer);

/** The connection breaks after the server has done it. */
export const resettingAfter: Fault = async ({ answer, forward }) => {
  await forward();
  reset(answer);
};

/** No answer comes, and nothing is done. */
export const hanging: Fault = () => {};

/** No answer comes, though it was done. */
export const hangingAfter: Fault = async ({ forward }) => {
  await forward();
};

/** An answer that takes its time. */
export const delaying =
  (milliseconds: number): Fault =>
  async (exchange) => {
    await sleep(milliseconds);
    await passing(exchange);
  };

/** A body that never ends. */
export const endless =
  (status: number, headers: Record<string, string> = {}): Fault =>
  async ({ answer }) => {
    answer.writeHead(status, headers).write('{"');
    while (!answer.destroyed) {
      answer.write('x'.repeat(1024));
      await sleep(5);
    }
  };

/** An error as DynamoDB has it. */
export const failing = (status: number, name: string): Fault =>
  respondingWith(
    status,
    { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: 'a secret' },
    { 'Content-Type': 'application/x-amz-json-1.0' },
  );

export const throttling = failing(400, 'ThrottlingException');
