import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DeleteItemCommand } from '@aws-sdk/client-dynamodb';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { toAttributes } from '../../lib/aws/table.ts';
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
import { documented, saying } from '../../test/fixtures.ts';
import { nameOf } from '../names.ts';
import { createRobotApiSimulator } from '../simulator/robot-api.ts';
import { after, type Change, emptyState, LIMITS, pairOf, type State } from './state.ts';
import { createStudio, type Studio } from './studio.ts';

const GROUP = '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2';
const EMPTY_GROUP = 'hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp';
const MING = 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU';
const place = { chat: GROUP, person: MING };

let engine: Engine;
let webhook: Server;
let answerOf: RequestListener;
/** What was posted to the webhook. */
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
    onCarried: studio.carry,
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

/** What a page knows that opens now, and then follows. */
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
        const told = JSON.parse(data);
        const changes: Change[] = name === 'whole' ? told.changes : told;
        state = after(name === 'whole' ? emptyState() : state, changes);
        first.resolve();
      }
    }
  };
  read().catch(() => {});
  await first.promise;
  return { now: () => state, [Symbol.dispose]: () => end.abort() };
}

const whole = async () => {
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
  test('is HTML with its script and style, and loads nothing from elsewhere', async () => {
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

describe('who may change anything', () => {
  test.each([
    ['no page', { Origin: '' }, 403],
    ['a page from elsewhere', { Origin: 'http://example.com' }, 403],
    ['a framed page', { Origin: 'null' }, 403],
    ['another server of this machine', { Origin: 'http://127.0.0.1:8001' }, 403],
    ['a form', { 'Content-Type': 'text/plain' }, 415],
  ])('%s: %j', async (_, headers, status) => {
    expect(await act('weather', { weather: 'error' }, headers)).toMatchObject({ status });
    expect((await whole()).weather.get('now')).toBe('fine');
  });

  test.each([
    ['no JSON', '{', 400, 'body'],
    ['what is not asked for', { weather: 'fine', more: 1 }, 400, 'more'],
    ['what is not there', { weather: 'hail' }, 400, 'weather'],
    ['more than a mebibyte', { weather: 'x'.repeat(1_048_577) }, 413, ''],
  ])('not with %s', async (_, input, status, place) => {
    const answer = await fetch(`${url}/studio/weather`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Origin: url },
      body: typeof input === 'string' ? input : JSON.stringify(input),
    });
    expect(answer.status).toBe(status);
    expect(await answer.text()).toMatch(place);
  });
});

describe('what a person does', () => {
  test('a message that mentions a robot is posted as VVChat documents it', async () => {
    expect(await act('say', { ...place, text: '@小V 您好', keepMentions: false })).toMatchObject({
      status: 200,
      body: { events: 1 },
    });
    expect(eventsPosted()).toEqual([documented.at]);
    const { lines, exchanges } = await whole();
    expect(values(lines)).toEqual([
      expect.objectContaining({ chat: GROUP, person: MING, did: 'said', text: '@小V 您好' }),
    ]);
    expect(values(exchanges)).toEqual([
      expect.objectContaining({ kind: 'event', name: 'at', status: 200, ms: expect.any(Number) }),
    ]);
  });

  test('the name of the robot can stay in the text', async () => {
    await act('say', { ...place, text: '@小V 您好', keepMentions: true });
    expect(eventsPosted()[0]?.data).toMatchObject({ content: { text: '@小V 您好' } });
  });

  test.each(['您好', '@Echo 您好', '小V 您好'])(
    '%s mentions no robot of the group',
    async (text) => {
      expect(await act('say', { ...place, text, keepMentions: false })).toMatchObject({
        body: { events: 0 },
      });
      expect(posted).toEqual([]);
      expect(values((await whole()).lines)).toMatchObject([{ did: 'said-to-nobody' }]);
    },
  );

  test('nothing else of the text is changed', async () => {
    await act('say', { ...place, text: '@小V   a　b  c@小V.com ', keepMentions: false });
    expect(eventsPosted()[0]?.data).toMatchObject({ content: { text: '  a　b  c.com ' } });
    const chat = pairOf(MING, 'xds2323');
    await act('say', { chat, person: MING, text: ' @小V  x ', keepMentions: false });
    expect(eventsPosted()[1]?.data).toMatchObject({ content: { text: ' @小V  x ' } });
  });

  test('in a one-to-one chat the robot is told everything, and the session is the person', async () => {
    await act('say', {
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

  test('adding a robot, and opening the group', async () => {
    const join = { chat: EMPTY_GROUP, person: MING };
    await act('join', { ...join, robot_no: 'xds3345' });
    await act('join', { ...join, robot_no: 'Echo' });
    expect(await act('join', { ...join, robot_no: 'xds3345' })).toEqual({
      status: 409,
      body: { error: 'The robot is in the group.' },
    });
    await act('open', join);
    const about = { ...documented.join.data, trigger: { open_id: MING, target: 'user' } };
    expect(eventsPosted()).toEqual([
      { event: 'join-group-for-invite', version: 'v1', data: about },
      { event: 'session-open', version: 'v1', data: about },
    ]);
    expect(values((await whole()).lines)).toMatchObject([{ did: 'joined' }, { did: 'opened' }]);
  });

  test('a new group has no robots', async () => {
    const { body } = await act('create', { name: 'New' });
    expect((await whole()).chats.get(`${body.id}`)).toMatchObject({ name: 'New', robots: [] });
    await act('open', { chat: body.id, person: MING });
    expect(posted).toEqual([]);
  });

  test.each([
    ['join', { ...place, robot_no: 'nobody' }, 'There is no such robot.'],
    ['join', { ...place, chat: 'x', robot_no: 'xds2323' }, 'There is no such chat.'],
    [
      'join',
      { ...place, chat: pairOf(MING, 'xds2323'), robot_no: 'xds3345' },
      'Robots are pulled into groups only.',
    ],
  ])('is refused where it cannot be: %s %j', async (action, input, error) => {
    expect(await act(action, input)).toEqual({ status: 409, body: { error } });
    expect(posted).toEqual([]);
  });
});

describe('an event on the wire', () => {
  test('is sent as it is, though it is none, and its answer is shown', async () => {
    answerOf = (_, answer) => answer.writeHead(400).end('{"errors":[{"pointer":"/data"}]}');
    await act('post', { body: '{"event":' });
    expect(posted).toEqual(['{"event":']);
    expect(values((await whole()).exchanges)).toEqual([
      expect.objectContaining({
        name: '?',
        body: '{"event":',
        status: 400,
        answer: '{"errors":[{"pointer":"/data"}]}',
      }),
    ]);
  });

  test('without an answer says so', async () => {
    answerOf = ({ socket }) => socket.destroy();
    await act('post', { body: '{}' });
    expect(values((await whole()).exchanges)).toMatchObject([
      { status: 0, answer: expect.stringMatching(/^The webhook did not answer: /) },
    ]);
  });

  test('has the state of its inbox row, as it changes', async () => {
    const table = engine.table('inbox', Date);
    const event = saying('row');
    const { event_id } = await inbox.enqueue(table, event, undefined, 5);
    answerOf = (_, answer) => answer.end(JSON.stringify({ status: 'queued', event_id }));
    using page = await follow();
    await act('post', { body: JSON.stringify(event) });
    const id = pairOf(GROUP, event_id);
    await vi.waitFor(() => expect(values(page.now().exchanges)).toMatchObject([{ row: id }]));
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'pending' }));
    const item = (await inbox.read(table, { ...group, event_id })) as inbox.Item;
    const hold = await inbox.postpone(table, inbox.unclaimed(item), { last_error: 'x' }, 30);
    await vi.waitFor(() =>
      expect(page.now().rows.get(id)).toMatchObject({ claims: 1, last_error: 'x' }),
    );
    await inbox.fail(table, hold, 'y', 30);
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'failed' }));
    await inbox.redrive(table, (await inbox.read(table, item)) as inbox.Item);
    await vi.waitFor(() => expect(page.now().rows.get(id)).toMatchObject({ status: 'pending' }), {
      timeout: 3_000,
    });
  });
});

describe('what a robot does', () => {
  test('appears in its chat, and on the wire without a key or a token', async () => {
    const token = await tokenOf();
    expect((await send(toMessage(sendText('您好'), group), 'xds2323', token)).status).toBe(200);
    const state = await whole();
    expect(values(state.lines)).toMatchObject([
      { chat: GROUP, robot_no: 'xds2323', did: 'said', text: '您好' },
    ]);
    expect(values(state.exchanges)).toMatchObject([
      { kind: 'token', name: 'test', status: 200 },
      { kind: 'command', name: 'send-text', status: 200, robot_no: 'xds2323' },
    ]);
    const all = JSON.stringify(values(state.exchanges));
    expect(all).not.toContain(token);
    expect(all).not.toContain('123456');
  });

  test('opens, changes and closes the web view of a group', async () => {
    const webview = async () => (await whole()).chats.get(GROUP)?.webview;
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
    expect(values((await whole()).lines).map(({ did }) => did)).toEqual([
      'webview-missed',
      'webview-opened',
      'webview-changed',
      'webview-changed',
      'webview-changed',
      'webview-closed',
    ]);
  });

  test('appears though the session and the robot were not known', async () => {
    await send(toMessage(sendText('x'), { session_open_id: 'g', session_type: '2' }), 'new');
    await send(toMessage(sendText('y'), { session_open_id: 'p', session_type: '1' }), 'new');
    const { chats, lines, people, robots } = await whole();
    expect(chats.get('g')).toMatchObject({ name: 'g', robots: ['new'] });
    expect(chats.get(pairOf('p', 'new'))).toMatchObject({ session_open_id: 'p', robots: ['new'] });
    expect(people.get('p')).toBeDefined();
    expect(robots.get('new')).toMatchObject({ app_id: 'test' });
    expect(values(lines).map(({ chat }) => chat)).toEqual(['g', pairOf('p', 'new')]);
  });
});

test('what comes from elsewhere does not grow without end', async () => {
  const token = await tokenOf();
  for (let i = 0; i < 1_100; i++) {
    const session = { session_open_id: `p${i}`, session_type: '1' } as const;
    await send(toMessage(sendText('x'), session), `r${i}`, token);
  }
  const { chats, lines, exchanges, people, robots } = await whole();
  expect(chats.size).toBe(500);
  expect(people.size).toBeLessThanOrEqual(500);
  expect(robots.size).toBe(500);
  expect(lines.size).toBeLessThanOrEqual(LIMITS.lines);
  expect(exchanges.size).toBe(LIMITS.exchanges);
});

test.each(['cross-site', 'same-site', 'same-origin'])(
  'the robot API is not for a page (%s)',
  async (site) => {
    const answer = await fetch(`${url}/robotapi/v1/token?app_id=evil&app_key=x`, {
      headers: { 'Sec-Fetch-Site': site },
    });
    expect(answer.status).toBe(403);
    expect((await whole()).exchanges.size).toBe(0);
  },
);

test('a page that falls behind is told the whole again', async () => {
  using page = await follow();
  for (let i = 0; i < 2_100; i++) studio.carry(carriedText(`${i}`));
  await vi.waitFor(() => expect(values(page.now().lines).at(-1)?.text).toBe('2099'));
  expect(page.now().lines.size).toBe(LIMITS.lines);
});

const carriedText = (text: string) => ({
  robot_no: 'xds2323',
  app_id: 'test',
  message: { ...toMessage(sendText(text), group), content: { cmd: 'send-text' as const } },
  params: { text },
});

test('memberships are shown as they come and go, and are chats', async () => {
  const event = structuredClone(documented.join);
  event.data.session.session_open_id = 'from elsewhere';
  event.data.robot = { app_id: 'test', open_id: 'r', robot_no: 'no' };
  using page = await follow();
  await recordMembership(engine.table('memberships', Date), event);
  await vi.waitFor(() =>
    expect(values(page.now().memberships)).toMatchObject([{ robot_no: 'no' }]),
  );
  expect(page.now().chats.get('from elsewhere')).toMatchObject({ robots: ['no'] });
  await act('say', { chat: 'from elsewhere', person: MING, text: '@no hi', keepMentions: false });
  expect(eventsPosted()).toMatchObject([{ data: { robot: event.data.robot } }]);
  await engine.client.send(
    new DeleteItemCommand({
      TableName: nameOf('memberships'),
      Key: toAttributes({ session_open_id: 'from elsewhere', robot_open_id: 'r' }),
    }),
  );
  await vi.waitFor(() => expect(page.now().memberships.size).toBe(0));
});

test('several pages see the same', async () => {
  using one = await follow();
  using other = await follow();
  await act('say', { ...place, text: '@小V 您好', keepMentions: false });
  await vi.waitFor(() => expect(one.now().exchanges.size).toBe(1));
  await vi.waitFor(() => expect(other.now()).toEqual(one.now()));
});

describe('the weather', () => {
  const message = toMessage(sendText('x'), group);
  const said = async () => (await whole()).lines.size;

  test.each([
    ['error', 500, null],
    ['throttled', 429, '30'],
  ])('%s: %i', async (weather, status, retryAfter) => {
    await act('weather', { weather });
    const answer = await send(message);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('Retry-After')).toBe(retryAfter);
    expect(await said()).toBe(0);
    expect(values((await whole()).exchanges).at(-1)).toMatchObject({ kind: 'command', status });
    await act('weather', { weather: 'fine' });
    expect((await send(message)).status).toBe(200);
  });

  test('slow: carried out after 3 s', async () => {
    await act('weather', { weather: 'slow' });
    expect((await send(message)).status).toBe(200);
    expect(values((await whole()).exchanges).at(-1)?.ms).toBeGreaterThanOrEqual(3_000 - 10);
  });

  test('lost: carried out, and nobody is told', async () => {
    await act('weather', { weather: 'lost' });
    await expect(send(message)).rejects.toThrow('fetch failed');
    expect(await said()).toBe(1);
    await vi.waitFor(async () =>
      expect(values((await whole()).exchanges).at(-1)).toMatchObject({ status: 0 }),
    );
  });

  test('expired: a token is refused once it is older than a minute', async () => {
    await act('weather', { weather: 'expired' });
    const token = await tokenOf();
    expect((await send(message, 'xds2323', token)).status).toBe(200);
    later = 61_001;
    expect((await send(message, 'xds2323', token)).status).toBe(400);
    expect((await send(message)).status).toBe(200);
  });
});

describe('the button', () => {
  test('makes due what waits, and only that, and runs retry', async () => {
    const table = engine.table('inbox', Date);
    const put = async (text: string) => {
      const event = saying(text);
      const { event_id } = await inbox.enqueue(table, event, undefined, 5);
      return (await inbox.read(table, { ...group, event_id })) as inbox.Item;
    };
    const read = async (item: inbox.Item) => (await inbox.read(table, item)) as inbox.Item;
    const waiting = await put('waiting');
    await inbox.postpone(table, inbox.unclaimed(waiting), { last_error: 'x' }, 30);
    const others = [await put('new'), await put('sending'), await put('failed')];
    const [, sending, failed] = others.map(inbox.unclaimed) as [
      inbox.Lease,
      inbox.Lease,
      inbox.Lease,
    ];
    await inbox.storeReply(table, sending, [sendText('x')]);
    await inbox.fail(table, failed, 'x', 30);
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

  test('tells of a retry that fails', async () => {
    retry = () => Promise.reject(new Error('retry: Unhandled'));
    expect(await act('retry', {})).toEqual({ status: 502, body: { error: 'retry: Unhandled' } });
  });
});
