import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DeleteItemCommand } from '@aws-sdk/client-dynamodb';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { toAttributes } from '../../lib/aws/table.ts';
import { enqueue } from '../../lib/inbox/enqueue.ts';
import type { Item } from '../../lib/inbox/item.ts';
import * as queries from '../../lib/inbox/queries.ts';
import * as inbox from '../../lib/inbox/transitions.ts';
import { recordMembership } from '../../lib/membership.ts';
import {
  closeWebview,
  openWebview,
  refreshWebview,
  sendText,
  toMessage,
} from '../../lib/vvchat/command.ts';
import type { Event } from '../../lib/vvchat/event.ts';
import { type Engine, startEngine } from '../../test/engine.ts';
import { documented, newArrival, saying } from '../../test/fixtures.ts';
import { nameOf } from '../names.ts';
import { createRobotApiSimulator } from '../simulator/robot-api.ts';
import type { ErrorCode } from './errors.ts';
import { TEXTS } from './page/texts.ts';
import { type Change, emptyState, LIMITS, pairOf, type State, withChanges } from './state.ts';
import { createStudio, type Studio } from './studio.ts';

const GROUP = '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2';
const EMPTY_GROUP = 'hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp';
const MING = 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU';
const place = { chat: GROUP, person: MING };

let engine: Engine;
let webhook: Server;
let answerOf: RequestListener;
/** The bodies that were posted to the webhook. */
let posted: string[];
let retry: () => Promise<unknown>;
let studio: Studio;
let server: Server;
let url: string;
let later: number;

beforeEach(async () => {
  engine = await startEngine();
  posted = [];
  later = 0;
  answerOf = (_, answer) => answer.end('{"status":"recorded"}');
  webhook = createServer(async (request, answer) => {
    posted.push(Buffer.concat(await Array.fromAsync(request)).toString());
    answerOf(request, answer);
  });
  retry = async () => ({});
  studio = createStudio({
    client: engine.client,
    inboxTable: nameOf('inbox'),
    membershipsTable: nameOf('memberships'),
    webhookUrl: `${await listening(webhook)}/events?token=local`,
    adminUrl: 'http://127.0.0.1:8001',
    retry: () => retry(),
    now: () => Date.now() + later,
  });
  const robotApi = createRobotApiSimulator({
    apps: new Map([['test', '123456']]),
    onCommand: studio.applyCommand,
  });
  const { fetch } = new Hono()
    .use('/robotapi/*', ...studio.before)
    .route('/', studio.app)
    .route('/', robotApi);
  server = createAdaptorServer({ fetch }) as Server;
  url = await listening(server);
});
afterEach(async () => {
  studio.stop();
  for (const it of [server, webhook]) {
    it.close();
    it.closeAllConnections();
  }
  await engine[Symbol.asyncDispose]();
});

async function listening(it: Server): Promise<string> {
  await once(it.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(it.address() as AddressInfo).port}`;
}

const act = async (action: string, input: unknown, headers = {}) => {
  const answer = await fetch(`${url}/studio/${action}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Origin: url, ...headers },
    body: typeof input === 'string' ? input : JSON.stringify(input),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

/** The state of a page that is opened now and stays open. */
async function follow() {
  const end = new AbortController();
  const { body } = await fetch(`${url}/studio/changes`, { signal: end.signal });
  let state: State = emptyState();
  const first = Promise.withResolvers<void>();
  const read = async () => {
    let text = '';
    for await (const chunk of body as NonNullable<typeof body>) {
      text += Buffer.from(chunk).toString();
      for (let i = text.indexOf('\n\n'); i >= 0; i = text.indexOf('\n\n')) {
        const [, name, data = ''] = /event: (\w+)\ndata: (.*)/.exec(text.slice(0, i)) ?? [];
        text = text.slice(i + 2);
        const isSnapshot = name === 'snapshot';
        const body = JSON.parse(data);
        const changes: Change[] = isSnapshot ? body.changes : body;
        state = withChanges(isSnapshot ? emptyState() : state, changes);
        first.resolve();
      }
    }
  };
  read().catch(() => {});
  await first.promise;
  return { now: () => state, [Symbol.dispose]: () => end.abort() };
}

const snapshot = async () => {
  using page = await follow();
  return page.now();
};

const tokenOf = async (app_key = '123456') => {
  const answer = await fetch(`${url}/robotapi/v1/token?app_id=test&app_key=${app_key}`);
  return ((await answer.json()) as { token: string }).token;
};

const send = async (message: object, robot_no = 'xds2323', token?: string) =>
  fetch(
    `${url}/robotapi/v1/message/send?robot_no=${robot_no}&token=${token ?? (await tokenOf())}`,
    {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(message),
    },
  );

const group = { session_open_id: GROUP, session_type: '2' } as const;
const values = <T>(of: ReadonlyMap<string, T>) => [...of.values()];
const eventsPosted = () => posted.map((it): Event => JSON.parse(it));

describe('the page', () => {
  test('is HTML with a script and a style, and loads nothing from elsewhere', async () => {
    const answer = await fetch(url);
    expect(answer.headers.get('Content-Security-Policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    const html = await answer.text();
    for (const [, path] of html.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
      const part = await fetch(`${url}${path}`);
      expect(part.status).toBe(200);
      expect((await part.text()).length).toBeGreaterThan(1_000);
    }
    expect(html).toMatch(/main\.js/);
    expect(html).not.toMatch(/(?:src|href)="(?!\/|data:)/);
  });
});

describe('an action', () => {
  test.each([
    ['no page', { Origin: '' }, 403, 'foreign-page'],
    ['a page from elsewhere', { Origin: 'http://example.com' }, 403, 'foreign-page'],
    ['a framed page', { Origin: 'null' }, 403, 'foreign-page'],
    ['another server of this machine', { Origin: 'http://127.0.0.1:8001' }, 403, 'foreign-page'],
    ['a form', { 'Content-Type': 'text/plain' }, 415, 'not-json'],
  ])('is refused from %s: %j', async (_, headers, status, code) => {
    expect(await act('faults', { fault: 'server-error' }, headers)).toEqual({
      status,
      body: { code, error: TEXTS.en.errors[code as ErrorCode] },
    });
    expect((await snapshot()).faults.get('now')).toBe('none');
  });

  test.each([
    ['a body that is not JSON', '{', 400, 'invalid-input', /^body: /],
    ['an unknown field', { fault: 'none', more: 1 }, 400, 'invalid-input', /^more: /],
    ['an unknown value', { fault: 'hail' }, 400, 'invalid-input', /^fault: /],
    ['more than a mebibyte', { fault: 'x'.repeat(1_048_577) }, 413, 'input-too-large', undefined],
  ])('is refused with %s', async (_, input, status, code, detail) => {
    expect(await act('faults', input)).toEqual({
      status,
      body: {
        code,
        error: TEXTS.en.errors[code as ErrorCode],
        ...(detail && { detail: expect.stringMatching(detail) }),
      },
    });
  });
});

describe('a person', () => {
  test('posts the documented event by mentioning a robot', async () => {
    expect(await act('send', { ...place, text: '@小V 您好', keepMentions: false })).toMatchObject({
      status: 200,
      body: { events: 1 },
    });
    expect(eventsPosted()).toEqual([documented.at]);
    const { lines, exchanges } = await snapshot();
    expect(values(lines)).toEqual([
      expect.objectContaining({ chat: GROUP, person: MING, kind: 'message', text: '@小V 您好' }),
    ]);
    expect(values(exchanges)).toEqual([
      expect.objectContaining({ kind: 'event', name: 'at', status: 200, ms: expect.any(Number) }),
    ]);
  });

  test("can keep the robot's name in the text", async () => {
    await act('send', { ...place, text: '@小V 您好', keepMentions: true });
    expect(eventsPosted()[0]?.data).toMatchObject({ content: { text: '@小V 您好' } });
  });

  test.each(['您好', '@Echo 您好', '小V 您好'])(
    'mentions no robot of the group by writing %s',
    async (text) => {
      expect(await act('send', { ...place, text, keepMentions: false })).toMatchObject({
        body: { events: 0 },
      });
      expect(posted).toEqual([]);
      expect(values((await snapshot()).lines)).toMatchObject([{ kind: 'message-without-mention' }]);
    },
  );

  test('sends the rest of the text unchanged', async () => {
    await act('send', { ...place, text: '@小V   a　b  c@小V.com ', keepMentions: false });
    expect(eventsPosted()[0]?.data).toMatchObject({ content: { text: '  a　b  c.com ' } });
    const chat = pairOf(MING, 'xds2323');
    await act('send', { chat, person: MING, text: ' @小V  x ', keepMentions: false });
    expect(eventsPosted()[1]?.data).toMatchObject({ content: { text: ' @小V  x ' } });
  });

  test('needs no mention in a one-to-one chat, whose session is the person', async () => {
    await act('send', {
      chat: pairOf(MING, 'xds2323'),
      person: MING,
      text: 'hi',
      keepMentions: false,
    });
    expect(eventsPosted()).toMatchObject([
      {
        event: 'at',
        data: {
          content: { text: 'hi' },
          session: { session_open_id: MING, session_type: '1' },
          trigger: { open_id: MING, target: 'user' },
        },
      },
    ]);
  });

  test('adds a robot once, and opens the group', async () => {
    const join = { chat: EMPTY_GROUP, person: MING };
    await act('join', { ...join, robot_no: 'xds3345' });
    await act('join', { ...join, robot_no: 'Echo' });
    expect(await act('join', { ...join, robot_no: 'xds3345' })).toEqual({
      status: 409,
      body: { code: 'robot-already-in-group', error: 'The robot is already in the group.' },
    });
    await act('open', join);
    const about = { ...documented.join.data, trigger: { open_id: MING, target: 'user' } };
    expect(eventsPosted()).toEqual([
      { event: 'join-group-for-invite', version: 'v1', data: about },
      { event: 'session-open', version: 'v1', data: about },
    ]);
    expect(values((await snapshot()).lines)).toMatchObject([
      { kind: 'joined' },
      { kind: 'opened' },
    ]);
  });

  test('creates a group without robots', async () => {
    const { body } = await act('create', { name: 'New' });
    expect((await snapshot()).chats.get(`${body.id}`)).toMatchObject({ name: 'New', robots: [] });
    await act('open', { chat: body.id, person: MING });
    expect(posted).toEqual([]);
  });

  test.each([
    [{ ...place, robot_no: 'unknown' }, 'no-such-robot'],
    [{ ...place, chat: 'x', robot_no: 'xds2323' }, 'no-such-chat'],
    [{ ...place, chat: pairOf(MING, 'xds2323'), robot_no: 'xds3345' }, 'groups-only'],
  ] as const)('cannot add a robot: %j', async (input, code) => {
    expect(await act('join', input)).toEqual({
      status: 409,
      body: { code, error: TEXTS.en.errors[code] },
    });
    expect(posted).toEqual([]);
  });
});

describe('an edited event', () => {
  test('is posted as it is, even if it is invalid, and the response is shown', async () => {
    answerOf = (_, answer) => answer.writeHead(400).end('{"errors":[{"pointer":"/data"}]}');
    await act('post', { body: '{"event":' });
    expect(posted).toEqual(['{"event":']);
    expect(values((await snapshot()).exchanges)).toEqual([
      expect.objectContaining({
        name: '?',
        body: '{"event":',
        status: 400,
        answer: '{"errors":[{"pointer":"/data"}]}',
      }),
    ]);
  });

  test('shows why the webhook did not respond', async () => {
    answerOf = ({ socket }) => socket.destroy();
    await act('post', { body: '{}' });
    expect(values((await snapshot()).exchanges)).toMatchObject([
      { status: 0, failure: 'fetch failed' },
    ]);
  });

  test('shows its inbox row as it changes', async () => {
    const table = engine.table('inbox', Date);
    const event = saying('row');
    const { event_id } = await enqueue(table, newArrival(event), 5);
    answerOf = (_, answer) => answer.end(JSON.stringify({ status: 'queued', event_id }));
    using page = await follow();
    await act('post', { body: JSON.stringify(event) });
    const id = pairOf(GROUP, event_id);
    await vi.waitFor(() => expect(values(page.now().exchanges)).toMatchObject([{ row: id }]));
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'pending' }));
    const item = (await queries.read(table, { ...group, event_id })) as Item;
    const sending = await inbox.storeReply(table, inbox.unclaimed(item), [sendText('x')]);
    await vi.waitFor(() =>
      expect(page.now().rows.get(id)).toMatchObject({ claims: 1, phase: 'sending' }),
    );
    const lease = await inbox.postponeSending(table, sending, 'x');
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ last_error: 'x' }));
    expect(page.now().rows.get(id)?.phase).toBeUndefined();
    await inbox.fail(table, lease, 'y');
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'failed' }));
    await inbox.redrive(table, (await queries.read(table, item)) as Item);
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'pending' }), {
      timeout: 3_000,
    });
  });
});

describe("a robot's command", () => {
  test('appears in its chat and in the traffic, without keys and tokens', async () => {
    const token = await tokenOf();
    expect((await send(toMessage(sendText('您好'), group), 'xds2323', token)).status).toBe(200);
    const state = await snapshot();
    expect(values(state.lines)).toMatchObject([
      { chat: GROUP, robot_no: 'xds2323', kind: 'send-text', text: '您好' },
    ]);
    expect(values(state.exchanges)).toMatchObject([
      { kind: 'token', name: 'test', status: 200 },
      { kind: 'command', name: 'send-text', status: 200, robot_no: 'xds2323' },
    ]);
    const all = JSON.stringify(values(state.exchanges));
    expect(all).not.toContain(token);
    expect(all).not.toContain('123456');
  });

  test('opens, refreshes and closes the web view of a group', async () => {
    const webview = async () => (await snapshot()).chats.get(GROUP)?.webview;
    const url = 'https://example.com/';
    await send(toMessage(refreshWebview({ url }), group));
    expect(await webview()).toBeUndefined();
    await send(toMessage(openWebview({ height: '50%', url }), group));
    expect(await webview()).toEqual({
      height: '50%',
      url,
      robot_no: 'xds2323',
      load: expect.any(String),
    });
    const first = await webview();
    await send(toMessage(refreshWebview({ url }), group));
    expect(await webview()).toEqual({
      ...first,
      load: expect.not.stringMatching(`${first?.load}`),
    });
    await send(toMessage(refreshWebview({ url: `${url}2` }), group));
    expect(await webview()).toMatchObject({ height: '50%', url: `${url}2` });
    await send(toMessage(refreshWebview({ height: 234, url }), group));
    expect(await webview()).toMatchObject({ height: '234', url });
    await send(toMessage(closeWebview(), group));
    expect(await webview()).toBeUndefined();
    expect(values((await snapshot()).lines)).toMatchObject([
      { kind: 'webview-refresh-missed', text: url },
      { kind: 'webview-group-open', text: `${url} (50%)` },
      { kind: 'webview-group-refresh', text: `${url} (50%)` },
      { kind: 'webview-group-refresh', text: `${url}2 (50%)` },
      { kind: 'webview-group-refresh', text: `${url} (234)` },
      { kind: 'webview-group-close' },
    ]);
  });

  test('adds the session and the robot if they are unknown', async () => {
    await send(toMessage(sendText('x'), { session_open_id: 'g', session_type: '2' }), 'new');
    await send(toMessage(sendText('y'), { session_open_id: 'p', session_type: '1' }), 'new');
    const { chats, lines, people, robots } = await snapshot();
    expect(chats.get('g')).toMatchObject({ name: 'g', robots: ['new'] });
    expect(chats.get(pairOf('p', 'new'))).toMatchObject({ session_open_id: 'p', robots: ['new'] });
    expect(people.get('p')).toBeDefined();
    expect(robots.get('new')).toMatchObject({ app_id: 'test' });
    expect(values(lines).map(({ chat }) => chat)).toEqual(['g', pairOf('p', 'new')]);
  });
});

test('the state stays bounded, however many robots and sessions there are', async () => {
  const token = await tokenOf();
  for (let i = 0; i < 1_100; i++) {
    const session = { session_open_id: `p${i}`, session_type: '1' } as const;
    await send(toMessage(sendText('x'), session), `r${i}`, token);
  }
  const { chats, lines, exchanges, people, robots } = await snapshot();
  expect(chats.size).toBe(500);
  expect(people.size).toBeLessThanOrEqual(500);
  expect(robots.size).toBe(500);
  expect(lines.size).toBeLessThanOrEqual(LIMITS.lines);
  expect(exchanges.size).toBe(LIMITS.exchanges);
});

test.each(['cross-site', 'same-site', 'same-origin'])(
  'the robot API refuses web pages (%s)',
  async (site) => {
    const answer = await fetch(`${url}/robotapi/v1/token?app_id=evil&app_key=x`, {
      headers: { 'Sec-Fetch-Site': site },
    });
    expect(answer.status).toBe(403);
    expect((await snapshot()).exchanges.size).toBe(0);
  },
);

test('a page that falls behind gets a new snapshot', async () => {
  using page = await follow();
  for (let i = 0; i < 2_100; i++) studio.applyCommand(receivedText(`${i}`));
  await vi.waitFor(() => expect(values(page.now().lines).at(-1)?.text).toBe('2099'));
  expect(page.now().lines.size).toBe(LIMITS.lines);
});

const receivedText = (text: string) => ({
  robot_no: 'xds2323',
  app_id: 'test',
  message: { ...toMessage(sendText(text), group), content: { cmd: 'send-text' as const } },
  params: { text },
});

test('memberships appear and disappear with their rows, and add chats', async () => {
  const event = structuredClone(documented.join);
  event.data.session.session_open_id = 'from elsewhere';
  event.data.robot = { app_id: 'test', open_id: 'r', robot_no: 'no' };
  using page = await follow();
  await recordMembership(engine.table('memberships', Date), event);
  await vi.waitFor(() =>
    expect(values(page.now().memberships)).toMatchObject([{ robot_no: 'no' }]),
  );
  expect(page.now().chats.get('from elsewhere')).toMatchObject({ robots: ['no'] });
  await act('send', { chat: 'from elsewhere', person: MING, text: '@no hi', keepMentions: false });
  expect(eventsPosted()).toMatchObject([{ data: { robot: event.data.robot } }]);
  await engine.client.send(
    new DeleteItemCommand({
      TableName: nameOf('memberships'),
      Key: toAttributes({ session_open_id: 'from elsewhere', robot_open_id: 'r' }),
    }),
  );
  await vi.waitFor(() => expect(page.now().memberships.size).toBe(0));
});

test('all open pages show the same state', async () => {
  using one = await follow();
  using other = await follow();
  await act('send', { ...place, text: '@小V 您好', keepMentions: false });
  await vi.waitFor(() => expect(one.now().exchanges.size).toBe(1));
  await vi.waitFor(() => expect(other.now()).toEqual(one.now()));
});

describe('the fault', () => {
  const message = toMessage(sendText('x'), group);
  const lineCount = async () => (await snapshot()).lines.size;

  test.each([
    ['server-error', 500, null],
    ['throttled', 429, '30'],
  ])('%s answers %i until it is switched off', async (fault, status, retryAfter) => {
    await act('faults', { fault });
    const answer = await send(message);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('Retry-After')).toBe(retryAfter);
    expect(await lineCount()).toBe(0);
    expect(values((await snapshot()).exchanges).at(-1)).toMatchObject({ kind: 'command', status });
    await act('faults', { fault: 'none' });
    expect((await send(message)).status).toBe(200);
  });

  test('slow carries a command out after 3 s', async () => {
    await act('faults', { fault: 'slow' });
    expect((await send(message)).status).toBe(200);
    expect(values((await snapshot()).exchanges).at(-1)?.ms).toBeGreaterThanOrEqual(3_000 - 10);
  });

  test('response-lost carries a command out and breaks the connection', async () => {
    await act('faults', { fault: 'response-lost' });
    await expect(send(message)).rejects.toThrow('fetch failed');
    expect(await lineCount()).toBe(1);
    await vi.waitFor(async () =>
      expect(values((await snapshot()).exchanges).at(-1)).toMatchObject({ status: 0 }),
    );
  });

  test('tokens-expire refuses a token that is older than a minute', async () => {
    await act('faults', { fault: 'tokens-expire' });
    const token = await tokenOf();
    expect((await send(message, 'xds2323', token)).status).toBe(200);
    later = 61_001;
    expect((await send(message, 'xds2323', token)).status).toBe(400);
    expect((await send(message)).status).toBe(200);
  });
});

describe('the action retry', () => {
  test('makes postponed rows due, leaves all others alone, and runs the function', async () => {
    const table = engine.table('inbox', Date);
    const put = async (text: string) => {
      const event = saying(text);
      const { event_id } = await enqueue(table, newArrival(event), 5);
      return (await queries.read(table, { ...group, event_id })) as Item;
    };
    const read = async (item: Item) => (await queries.read(table, item)) as Item;
    const waiting = await put('waiting');
    await inbox.postponeSending(table, inbox.unclaimed(waiting), 'x');
    const others = [await put('new'), await put('sending'), await put('failed')];
    const [, sending, failed] = others.map(inbox.unclaimed) as [
      inbox.Lease,
      inbox.Lease,
      inbox.Lease,
    ];
    await inbox.storeReply(table, sending, [sendText('x')]);
    await inbox.fail(table, failed, 'x');
    const before = await Promise.all(others.map(read));
    retry = async () => {
      expect(Date.parse((await read(waiting)).next_attempt_at)).toBeLessThanOrEqual(Date.now());
      return { replied: 1 };
    };
    expect(await act('retry', {})).toEqual({
      status: 200,
      body: { due: 1, summary: { replied: 1 } },
    });
    expect(await Promise.all(others.map(read))).toEqual(before);
  });

  test('reports a function that fails', async () => {
    retry = () => Promise.reject(new Error('retry: Unhandled'));
    expect(await act('retry', {})).toEqual({
      status: 502,
      body: { code: 'retry-failed', error: 'retry failed.', detail: 'retry: Unhandled' },
    });
  });
});
