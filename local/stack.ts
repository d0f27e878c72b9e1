import { once } from 'node:events';
import { createServer, Server } from 'node:http';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { createAdaptorServer } from '@hono/node-server';
import dynalite from 'dynalite';
import { Hono } from 'hono';
import { nameOf } from './names.ts';
import { type Admission, admit } from './offline/loopback.ts';
import { GRACE_MS, startOffline } from './offline/offline.ts';
import { HOST, type Ports, type ServerName } from './ports.ts';
import { createRobotApiSimulator, type ReceivedCommand } from './simulator/robot-api.ts';
import { playStream } from './stream.ts';
import { createStudio } from './studio/studio.ts';
import { createLocalClient, createTables } from './tables.ts';

export interface StackOptions {
  readonly ports: Ports;
  /** The ports at which the functions reach DynamoDB and VVChat, if proxies stand in between. */
  readonly between?: Pick<Ports, 'dynamodb' | 'vvchat'>;
  readonly onReady?: (server: ServerName, url: string) => void;
  /** Called for every command that VVChat received from a robot. */
  readonly onCommand?: (command: ReceivedCommand) => void;
  /** Aborts the start. */
  readonly signal?: AbortSignal;
  /** Called for every line that API Gateway, Lambda or a function printed. */
  readonly onLine?: (line: string) => void;
}

export interface Stack {
  readonly client: DynamoDBClient;
  /** The process that the functions run in. */
  readonly workersPid: number;
  readonly url: (server: ServerName) => string;
  /** Rejects when API Gateway and Lambda end unexpectedly. */
  readonly broken: Promise<never>;
  readonly stop: () => Promise<void>;
}

/** The apps of VVChat's documentation and their local keys. serverless.yml has the same for stage local. */
const APPS = new Map([
  ['test', '123456'],
  ['qiyunxin', '654321'],
]);

/** The token in the event URL of stage local. */
export const WEBHOOK_PATH = '/vvchat/events?token=local';

/** Its scripts are inline, so that others cannot be kept from running; but none may call any other address. */
const ADMIN_POLICY =
  "default-src 'self' 'unsafe-inline' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'";

/**
 * Starts everything that the robot needs on this machine: DynamoDB with its tables and stream, VVChat's robot API
 * and the studio, API Gateway and Lambda, and dynamodb-admin.
 *
 * @throws when a part does not start; the others are stopped first
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const {
    ports,
    between,
    signal,
    onReady = () => {},
    onCommand = () => {},
    onLine = () => {},
  } = options;
  const cleanUps: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  };
  const url = (server: ServerName) => `http://${HOST}:${ports[server]}`;
  const client = createLocalClient(url('dynamodb'));
  const listen = async (server: Server, name: ServerName, admission: Admission = {}) => {
    admit(server, admission);
    server.listen(ports[name], HOST);
    await once(server, 'listening');
    cleanUps.push(() => close(server));
  };

  const startData = async () => {
    await listen(dynalite({ createTableMs: 0 }), 'dynamodb');
    await createTables(client);
    onReady('dynamodb', url('dynamodb'));
    const admin = await import('dynamodb-admin');
    // Its pages run scripts that a link may bring along.
    const app = createServer(admin.createServer({ dynamoDbClient: client }));
    await listen(app, 'dynamodbAdmin', {
      linkedFromPort: ports.vvchat,
      contentSecurityPolicy: ADMIN_POLICY,
    });
    onReady('dynamodbAdmin', url('dynamodbAdmin'));
  };
  const startVVChat = async () => {
    const studio = createStudio({
      client,
      inboxTable: nameOf('inbox'),
      membershipsTable: nameOf('memberships'),
      webhookUrl: `${url('http')}${WEBHOOK_PATH}`,
      adminUrl: url('dynamodbAdmin'),
      retry: () => invoke(url('lambda'), 'retry', {}),
    });
    cleanUps.push(async () => studio.stop());
    const robotApi = createRobotApiSimulator({
      apps: APPS,
      onCommand: (command) => {
        studio.applyCommand(command);
        onCommand(command);
      },
    });
    const { fetch } = new Hono()
      .use('/robotapi/*', ...studio.before)
      .route('/', studio.app)
      .route('/', robotApi);
    await listen(createAdaptorServer({ fetch }) as Server, 'vvchat', { linkable: ['/'] });
    onReady('vvchat', url('vvchat'));
  };
  const startFunctions = async () => {
    await offline.answers(`${url('http')}/vvchat/events`);
    onReady('http', url('http'));
    onReady('lambda', url('lambda'));
  };

  const offline = startOffline({ ...ports, ...between }, onLine);
  cleanUps.push(offline.stop);
  signal?.addEventListener('abort', offline.stop, { once: true });
  const parts = [startFunctions(), startData(), startVVChat()];
  try {
    await Promise.all(parts);
    signal?.removeEventListener('abort', offline.stop);
    const stream = playStream({
      client,
      table: nameOf('inbox'),
      invoke: async (Records, signal) => {
        await invoke(url('lambda'), 'reply', { Records }, signal);
      },
    });
    cleanUps.push(stream.stop);
    offline.onReload((reload) => {
      if (reload === 'broken') stream.pause();
      else stream.restart(GRACE_MS + 100);
    });
    return { client, workersPid: offline.pid, url, broken: offline.broken, stop };
  } catch (error) {
    await offline.stop();
    await Promise.allSettled(parts);
    await stop();
    throw error;
  }
}

/** Lambda's Invoke API reports a function's error in a header. */
async function invoke(
  lambdaUrl: string,
  name: 'reply' | 'retry',
  event: object,
  signal: AbortSignal | null = null,
): Promise<unknown> {
  const answer = await fetch(`${lambdaUrl}/2015-03-31/functions/${nameOf(name)}/invocations`, {
    method: 'POST',
    body: JSON.stringify(event),
    signal,
  });
  const error = answer.headers.get('X-Amz-Function-Error');
  if (!answer.ok || error) throw new Error(`${name}: ${error ?? answer.status}`);
  return answer.json();
}

/**
 * dynalite's own `close` shuts its database as well, while requests are still in flight. The database is in memory
 * and needs no closing.
 */
async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  Server.prototype.close.call(server);
  server.closeAllConnections();
  await closed;
}
