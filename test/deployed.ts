import { createHash } from 'node:crypto';
import type { Item, Key } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { type Engine, startEngine } from './engine.ts';
import { sample } from './fixtures.ts';
import { type Lambda, SharedClock, startLambda } from './lambda.ts';
import {
  environmentOf,
  type FunctionName,
  handlerFile,
  type Package,
  packaged,
  timeoutOf,
} from './package.ts';
import { type HttpProxy, startDynamoDBProxy } from './proxy.ts';
import { APPS, type FakeVVChat, startVVChat } from './vvchat.ts';

/** The packaged functions in processes of their own; between them and DynamoDB and VVChat, a proxy each. */
export interface Deployed extends AsyncDisposable {
  readonly engine: Engine;
  readonly dynamodb: HttpProxy;
  readonly vvchat: FakeVVChat;
  readonly clock: SharedClock;
  /** Starts a container. */
  readonly start: (name: FunctionName, skewMs?: number) => Promise<Lambda>;
  /** What the webhook answers to an event. */
  readonly post: (webhook: Lambda, event: Event) => Promise<Posted>;
  /** Has an event accepted, and returns the key of its row. */
  readonly put: (event: Event) => Promise<Key>;
  readonly read: (key: Key) => Promise<Item>;
  /** Runs `retry`, each time after the row has come due, until the row is settled. */
  readonly recover: (key: Key) => Promise<Item>;
  /** The texts that VVChat carried out for its sessions and that begin so. */
  readonly sent: (beginning: string) => string[];
  /** What all containers have printed. */
  readonly printed: () => string;
}

/** Of the event URL. */
export const URL_TOKEN = 'planted-token-of-the-url';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

export interface Posted {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, string>>;
}

export async function startDeployed(): Promise<Deployed> {
  const clock = new SharedClock();
  const [bundle, engine, vvchat] = await Promise.all([
    packaged(),
    startEngine(),
    startVVChat(clock.now),
  ]);
  const dynamodb = await startDynamoDBProxy(engine.endpoint);
  const table = engine.table('inbox', clock);
  const containers: Lambda[] = [];

  const start = async (name: FunctionName, skewMs = 0) => {
    const urls = { dynamodb: dynamodb.url, vvchat: vvchat.url };
    const container = await startFunction(bundle, name, engine, urls, clock, skewMs);
    containers.push(container);
    return container;
  };
  const lasting: Partial<Record<FunctionName, Promise<Lambda>>> = {};
  const the = (name: FunctionName) => {
    lasting[name] ??= start(name);
    return lasting[name];
  };
  const read = async (key: Key) => {
    const item = await queries.read(table, key);
    if (!item) throw new Error('no such row');
    return item;
  };
  return {
    engine,
    dynamodb,
    vvchat,
    clock,
    start,
    post,
    put: async (event) => put(await the('webhook'), event),
    read,
    recover: async (key) => {
      const retry = await the('retry');
      for (let runs = 0; runs < 20; runs++) {
        const item = await read(key);
        if (item.status !== 'pending') return item;
        // A row that is held back stays due.
        clock.advance(Math.max(Date.parse(item.next_attempt_at) - clock.now() + 1_000, 60_000));
        await retry.invoke(sample('retry'));
      }
      throw new Error('not settled after 20 runs');
    },
    sent: (beginning) =>
      vvchat.carried
        .map(({ params }) => `${params.text}`)
        .filter((text) => text.startsWith(beginning)),
    printed: () => containers.map((it) => it.output()).join('\n'),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(containers.map((it) => it[Symbol.asyncDispose]()));
      await dynamodb[Symbol.asyncDispose]();
      await vvchat[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      clock[Symbol.dispose]();
    },
  };
}

async function post(webhook: Lambda, event: Event): Promise<Posted> {
  const rawQueryString = `token=${URL_TOKEN}`;
  const request = { ...sample('at'), rawQueryString, body: JSON.stringify(event) };
  const { statusCode, headers, body } = (await webhook.invoke(request)) as {
    statusCode: number;
    headers: Record<string, string>;
    body: string;
  };
  return { status: statusCode, headers, body: JSON.parse(body) };
}

/** Has a container of the webhook accept an event, and returns the key of its row. */
export async function put(webhook: Lambda, event: Event): Promise<Key> {
  const { body } = await post(webhook, event);
  if (body.event_id === undefined) throw new Error(JSON.stringify(body));
  return { session_open_id: event.data.session.session_open_id, event_id: body.event_id };
}

/** Starts a container of a packaged function, with DynamoDB and VVChat at the given addresses. */
export const startFunction = (
  bundle: Package,
  name: FunctionName,
  { environment }: Pick<Engine, 'environment'>,
  urls: { readonly dynamodb: string; readonly vvchat: string },
  clock: SharedClock,
  skewMs = 0,
): Promise<Lambda> =>
  startLambda({
    handler: handlerFile(bundle, name),
    timeoutMs: timeoutOf(bundle, name),
    environment: {
      ...environmentOf(bundle, name),
      ...environment,
      AWS_ENDPOINT_URL: urls.dynamodb,
      AWS_ENDPOINT_URL_DYNAMODB: urls.dynamodb,
      VVCHAT_API_URL: urls.vvchat,
      APP_KEYS: [...APPS].map((pair) => pair.join('=')).join(','),
      // That of the sample events is good as well.
      WEBHOOK_TOKEN_SHA256: [URL_TOKEN, 'local'].map(sha256).join(','),
      METRICS_SERVICE: 'vvchat-robot-test',
    },
    clock,
    skewMs,
  });

/** What the stream hands to `reply` for these rows. */
export const inserted = (...keys: readonly Key[]) => ({
  Records: keys.map(({ session_open_id, event_id }) => ({
    ...sample('reply').Records[0],
    dynamodb: {
      ...sample('reply').Records[0].dynamodb,
      Keys: { session_open_id: { S: session_open_id }, event_id: { S: event_id } },
    },
  })),
});
