import { beforeEach, describe, expect, test } from 'vitest';
import {
  closeWebview,
  openWebview,
  refreshWebview,
  sendText,
  toMessage,
} from '../../lib/vvchat/command.ts';
import { describe as lineOf } from './conversation.ts';
import { createRobotApiSimulator, type ReceivedCommand } from './robot-api.ts';

let received: ReceivedCommand[];
let now = 0;
let vvchat: ReturnType<typeof createRobotApiSimulator>;

beforeEach(() => {
  received = [];
  vvchat = createRobotApiSimulator({
    apps: new Map([['test', '123456']]),
    onCommand: (command) => received.push(command),
    now: () => now,
  });
});

const group = { session_open_id: 'g', session_type: '2' } as const;
const message = toMessage(sendText('您好'), group);

const tokenOf = async (query = 'app_id=test&app_key=123456') => {
  const answer = await vvchat.request(`/robotapi/v1/token?${query}`);
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

const send = async (body: unknown, query?: string, headers = {}) => {
  const { token } = (await tokenOf()).body;
  const answer = await vvchat.request(
    `/robotapi/v1/message/send?${query ?? `robot_no=xds2323&token=${token}`}`,
    {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    },
  );
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

const refused = (err_msg: string) => ({ status: 400, body: { err_code: 400, err_msg } });

test('issues a token for two hours', async () => {
  expect(await tokenOf()).toEqual({
    status: 200,
    body: { token: expect.stringMatching(/^[\da-f]{32}$/), expire_in: 7_200 },
  });
});

test.each(['', 'app_id=test', 'app_id=test&app_key=x', 'app_id=other&app_key=123456'])(
  'issues no token for the query %j',
  async (query) => {
    expect(await tokenOf(query)).toEqual(refused('wrong app_id or app_key'));
  },
);

test('accepts a token until it expires', async () => {
  const { token } = (await tokenOf()).body;
  const query = `robot_no=xds2323&token=${token}`;
  now += 7_199_999;
  expect(await send(message, query)).toEqual({ status: 200, body: {} });
  now += 1;
  expect(await send(message, query)).toEqual(refused('token wrong or expired'));
  expect(received).toHaveLength(1);
});

test.each([
  [sendText('您好'), { text: '您好' }, '您好'],
  [
    openWebview({ height: '50%', url: 'https://example.com/' }),
    { height: '50%', url: 'https://example.com/' },
    '[webview-group-open, height 50%, url https://example.com/]',
  ],
  [
    refreshWebview({ height: 234, url: 'https://example.com/' }),
    { height: '234', url: 'https://example.com/' },
    '[webview-group-refresh, height 234, url https://example.com/]',
  ],
  [closeWebview(), {}, '[webview-group-close]'],
])('carries out a command of the builders: $cmd', async (command, params, line) => {
  const body = toMessage(command, group);
  expect(await send(body)).toEqual({ status: 200, body: {} });
  expect(received).toEqual([{ robot_no: 'xds2323', app_id: 'test', message: body, params }]);
  expect(lineOf(received[0] as ReceivedCommand)).toBe(`group g  ◀ xds2323: ${line}`);
});

test("carries out the documentation's own example", async () => {
  const content = { cmd: 'webview-group-open', params: '{"height":"50%","url":""}' };
  expect(await send({ ...message, content })).toMatchObject({ status: 200 });
});

describe('refuses', () => {
  test.each([
    ['another type', { type: 'text' }, /^type: /],
    ['no session', { session_open_id: undefined }, /^session_open_id: /],
    ['an empty session', { session_open_id: '' }, /^session_open_id: /],
    ['a session type that is a number', { session_type: 2 }, /^session_type: /],
    ['an unknown receiver type', { to_type: '3' }, /^to_type: /],
    ['no receiver', { to: '' }, /^to: /],
    ['an unknown command', { content: { cmd: 'dance' } }, /^content.cmd: /],
    ['an unknown field', { more: 1 }, /^more: /],
    [
      'params that are not a string',
      { content: { cmd: 'send-text', params: { text: 'x' } } },
      /^content.params: must be a string of JSON/,
    ],
    [
      'params that are not JSON',
      { content: { cmd: 'send-text', params: 'text' } },
      /content.params/,
    ],
    ['a text without params', { content: { cmd: 'send-text' } }, /content.params: text/],
    [
      'an empty text',
      { content: { cmd: 'send-text', params: '{"text":""}' } },
      /content.params: text/,
    ],
    [
      'params of another command',
      { content: { cmd: 'webview-group-close', params: '{"text":"x"}' } },
      /content.params: text/,
    ],
    [
      'a meaningless height',
      { content: { cmd: 'webview-group-open', params: '{"height":"120%","url":""}' } },
      /content.params: height/,
    ],
    [
      'an address of another protocol',
      { content: { cmd: 'webview-group-refresh', params: '{"url":"file:///x"}' } },
      /content.params: url/,
    ],
    [
      'a web view in a one-to-one chat',
      { session_type: '1', content: { cmd: 'webview-group-close' } },
      /only groups have a web view/,
    ],
  ])('%s', async (_, change, err_msg) => {
    expect(await send({ ...message, ...change })).toEqual({
      status: 400,
      body: { err_code: 400, err_msg: expect.stringMatching(err_msg) },
    });
    expect(received).toEqual([]);
  });

  test('a body that is not JSON or not declared as JSON', async () => {
    expect(await send('{')).toMatchObject({ status: 400 });
    expect(await send(message, undefined, { 'Content-Type': 'text/plain' })).toEqual(
      refused('the content type must be application/json'),
    );
  });

  test('a command without a robot or a token', async () => {
    const { token } = (await tokenOf()).body;
    expect(await send(message, `token=${token}`)).toEqual(refused('robot_no is missing'));
    expect(await send(message, 'robot_no=x')).toEqual(refused('token wrong or expired'));
  });

  test('unknown paths', async () => {
    expect((await vvchat.request('/robotapi/v2/token')).status).toBe(404);
  });
});
