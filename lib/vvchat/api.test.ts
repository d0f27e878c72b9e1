import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hanging, resetting, respondingWith } from '../../test/proxy.ts';
import { type FakeVVChat, startVVChat } from '../../test/vvchat.ts';
import { BODY_MS, createRobotApi, REQUEST_MS, type RobotApi, VVChatError } from './api.ts';
import { sendText, toMessage } from './command.ts';

const NOW = Date.parse('2026-03-14T09:00:00.000Z');
const message = toMessage(sendText('secret-text'), { session_open_id: 'g', session_type: '2' });

let vvchat: FakeVVChat;
let api: RobotApi;

beforeAll(async () => {
  vvchat = await startVVChat(() => NOW);
  api = createRobotApi(vvchat.url, () => NOW);
});
afterAll(() => vvchat[Symbol.asyncDispose]());
beforeEach(() => {
  vvchat.carried.length = 0;
});

const send = (robotApi = api) => robotApi.send('xds2323', 'secret-token', message);

const faultOf = async (call: Promise<unknown>): Promise<VVChatError> => {
  const error = await call.then(
    () => new Error('no fault'),
    (cause) => cause,
  );
  expect(error).toBeInstanceOf(VVChatError);
  return error;
};

describe('a token', () => {
  test('is fetched with the key of an app, and expires as VVChat specified', async () => {
    expect(await api.fetchToken('test', 'planted-key-of-test')).toEqual({
      token: expect.stringMatching(/^[\da-f]{32}$/),
      expiresAt: NOW + 7_200_000,
    });
  });

  test('may have the absolute time of its expiry', async () => {
    vvchat.fault('token', respondingWith(200, { token: 't', expire_in: 1_900_000_000 }));
    expect(await api.fetchToken('test', 'planted-key-of-test')).toEqual({
      token: 't',
      expiresAt: 1_900_000_000_000,
    });
  });

  test('may have its time to live as a string of digits', async () => {
    for (const [expire_in, expiresAt] of [
      ['7200', NOW + 7_200_000],
      ['1900000000', 1_900_000_000_000],
    ]) {
      vvchat.fault('token', respondingWith(200, { token: 't', expire_in }));
      expect(await api.fetchToken('test', 'planted-key-of-test')).toEqual({
        token: 't',
        expiresAt,
      });
    }
  });

  test('is not taken from an answer that names an error', async () => {
    vvchat.fault('token', respondingWith(200, { err_code: 40_001, err_msg: 'wrong app_key' }));
    expect(await faultOf(api.fetchToken('test', 'planted-key-of-test'))).toMatchObject({
      fault: 'refused',
      message: 'VVChat answered 200 (err_code 40001)',
      detail: 'wrong app_key',
    });
  });

  test('is not read from an answer over 64 KiB, whose connection is destroyed', async () => {
    const answer = (bytes: number) => {
      const rest = { token: 't', expire_in: 7200, more: '' };
      return { ...rest, more: 'x'.repeat(bytes - JSON.stringify(rest).length) };
    };
    vvchat.fault('token', respondingWith(200, answer(65_536)));
    expect(await api.fetchToken('test', 'planted-key-of-test')).toMatchObject({ token: 't' });
    vvchat.fault('token', respondingWith(200, answer(65_537)));
    expect(await faultOf(api.fetchToken('test', 'planted-key-of-test'))).toMatchObject({
      fault: 'busy',
    });
    const { promise: closed, resolve } = Promise.withResolvers<number>();
    vvchat.fault('token', ({ answer }) => {
      const { socket } = answer;
      Readable.from(repeat('x'.repeat(65_536))).pipe(answer.writeHead(200));
      socket?.once('close', () => resolve(socket.bytesWritten));
    });
    await faultOf(api.fetchToken('test', 'planted-key-of-test'));
    // What is on its way in the buffers of both ends is not read.
    expect(await closed).toBeLessThan(16 * 1024 * 1024);
  });

  test('is refused for a wrong key, without repeating it', async () => {
    const fault = await faultOf(api.fetchToken('test', 'wrong-key'));
    expect(fault).toMatchObject({
      fault: 'refused',
      message: 'VVChat answered 400 (err_code 400)',
      detail: 'wrong app_id or app_key',
    });
  });

  test.each([
    'not JSON',
    '',
    {},
    { token: '', expire_in: 7200 },
    { token: 't' },
    { token: 't', expire_in: 0 },
    { token: 't', expire_in: '' },
    { token: 't', expire_in: '0' },
    { token: 't', expire_in: '72e2' },
    { token: 't', expire_in: '-1' },
    { token: 't', expire_in: '999999999999' },
    { token: 't', expire_in: null },
    { token: 5, expire_in: 7200 },
    { token: 't', expire_in: 1e300 },
  ])('cannot be read from the answer %j', async (body) => {
    vvchat.fault('token', respondingWith(200, body));
    expect(await faultOf(api.fetchToken('test', 'planted-key-of-test'))).toMatchObject({
      fault: 'busy',
      message: 'VVChat answered 200 without a token and its time to live.',
    });
  });
});

test('send has VVChat carry out a command', async () => {
  const { token } = await api.fetchToken('test', 'planted-key-of-test');
  await api.send('xds 2323&', token, message);
  expect(vvchat.carried).toEqual([
    { robot_no: 'xds 2323&', app_id: 'test', message, params: { text: 'secret-text' } },
  ]);
});

describe('an answer', () => {
  test.each([
    [429, 'busy'],
    [500, 'doubtful'],
    [502, 'doubtful'],
    [503, 'busy'],
    [504, 'unknown'],
    [302, 'busy'],
    [400, 'refused'],
    [401, 'refused'],
    [404, 'refused'],
  ])('of %i is %s', async (status, fault) => {
    vvchat.fault('send', respondingWith(status, ''));
    expect(await faultOf(send())).toMatchObject({
      fault,
      message: `VVChat answered ${status}`,
      detail: undefined,
      retryAfterMs: undefined,
    });
  });

  test.each([
    [200, { err_code: 40_013, err_msg: 'no such session' }, 40_013],
    [200, { err_code: '40013', err_msg: 'no such session' }, 40_013],
    [200, { err_code: -1, err_msg: 'no such session' }, -1],
    [201, { err_code: 400, err_msg: 'no such session', token: 'x' }, 400],
  ])('of %i with an err_code counts as refused: %j', async (status, body, err_code) => {
    vvchat.fault('send', respondingWith(status, body, { 'Retry-After': '7' }));
    expect(await faultOf(send())).toMatchObject({
      fault: 'refused',
      message: `VVChat answered ${status} (err_code ${err_code})`,
      detail: 'no such session',
      isDoubtful: true,
      retryAfterMs: undefined,
    });
  });

  test('of 4xx is no doubtful refusal', async () => {
    vvchat.fault('send', respondingWith(400, { err_code: 400 }));
    expect(await faultOf(send())).toMatchObject({ fault: 'refused', isDoubtful: false });
  });

  test.each([
    { err_code: 0 },
    { err_code: 200, err_msg: 'ok' },
    { err_code: '0' },
    { err_code: '200' },
    { err_code: null },
    { err_code: 'ok' },
    { err_code: '' },
    { err_msg: 'success' },
    [],
    null,
    'err_code: 400',
    '{"err_code": 400',
    `{"err_code": 400, "more": "${'x'.repeat(65_536)}"}`,
  ])('of 200 is success with the body %j', async (body) => {
    vvchat.fault('send', respondingWith(200, body));
    await expect(send()).resolves.toBeUndefined();
  });

  test('of 200 is success if its body takes longer than a second', async () => {
    vvchat.fault('send', ({ answer }) => {
      answer.writeHead(200).write('{"err_code":400');
      setTimeout(() => answer.end('}'), 2 * BODY_MS).unref();
    });
    const began = performance.now();
    await expect(send()).resolves.toBeUndefined();
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(BODY_MS - 50);
    expect(took).toBeLessThan(BODY_MS + 500);
  });

  test.each([200, 201, 202, 204])(
    'of %i is success, whatever becomes of its body',
    async (status) => {
      vvchat.fault('send', respondingWith(status, ''));
      await send();
      vvchat.fault('send', ({ answer }) => {
        answer.writeHead(status).flushHeaders();
      });
      await send();
      vvchat.fault('send', ({ answer }) => {
        answer.writeHead(status, { 'Transfer-Encoding': 'chunked' }).flushHeaders();
        answer.socket?.end('this is no chunk\r\n');
      });
      await send();
    },
  );

  test('whose body never ends counts by its status', async () => {
    for (const status of [400, 429]) {
      vvchat.fault('send', ({ answer }) => {
        answer.writeHead(status, { 'Retry-After': '7' }).write('{');
      });
    }
    const [refused, busy] = await Promise.all([faultOf(send()), faultOf(send())]);
    expect(refused).toMatchObject({ fault: 'refused', message: 'VVChat answered 400' });
    expect(busy).toMatchObject({ fault: 'busy', retryAfterMs: 7_000 });
  });

  test('whose body is reset counts by its status', async () => {
    vvchat.fault('send', ({ answer }) => {
      answer.writeHead(400, { 'Content-Length': '100' });
      answer.write('x', () => answer.socket?.resetAndDestroy());
    });
    expect(await faultOf(send())).toMatchObject({ fault: 'refused' });
  });

  test('that redirects is not followed', async () => {
    const before = vvchat.requests.length;
    vvchat.fault('send', respondingWith(307, '', { Location: `${vvchat.url}/elsewhere` }));
    await faultOf(send());
    expect(vvchat.requests.length).toBe(before + 1);
  });

  test.each([
    ['7', 7_000],
    ['0', 0],
    ['Sat, 14 Mar 2026 09:01:00 GMT', 60_000],
    ['Sat, 14 Mar 2026 08:00:00 GMT', 0],
    ['soon', undefined],
  ])('may say when to retry: %s', async (header, retryAfterMs) => {
    vvchat.fault('send', respondingWith(429, '', { 'Retry-After': header }));
    expect(await faultOf(send())).toMatchObject({ fault: 'busy', retryAfterMs });
  });

  test('keeps its err_code, and its err_msg without what was in the query', async () => {
    const err_msg = `no: secret-token\n${'x'.repeat(300)}`;
    vvchat.fault('send', respondingWith(400, { err_code: 40_013, err_msg }));
    const fault = await faultOf(send());
    expect(fault.message).toBe('VVChat answered 400 (err_code 40013)');
    expect(fault.detail).toMatch(/^no: … x+$/);
    expect(fault.detail).toHaveLength(200);
  });

  test('redacts a token that contains the robot number, and one with special characters', async () => {
    for (const [robot_no, token, echo] of [
      ['r1', 'abcr1defSECRET', 'abcr1defSECRET'],
      ['r1', 'a~bSECRET!', 'a%7EbSECRET%21'],
      ['r1', 'a~bSECRET!', 'a%7ebsecret%21'],
    ] as const) {
      vvchat.fault('send', respondingWith(400, { err_msg: `<${echo}>` }));
      const fault = await faultOf(api.send(robot_no, token, message));
      expect(fault.detail).toBe('<…>');
    }
  });

  test.each([
    'Ab%2Bc/dE%2Bf/9GhIj',
    'Ab%252Bc%252FdE%252Bf%252F9GhIj%253D',
    'Ab&#43;c&#x2F;dE&plus;f/9GhIj',
    'Ab c/dE f/9GhIj',
    'begins with Ab+c/dE+f',
    'ab+c/de+f/9ghij==',
  ])('is withheld where it contains a part of a secret: %s', async (err_msg) => {
    vvchat.fault('send', respondingWith(400, { err_msg: `wrong: ${err_msg}` }));
    const fault = await faultOf(api.send('r1', 'Ab+c/dE+f/9GhIj==', message));
    expect(fault.detail).not.toMatch(/Ab/i);
  });

  test('redacts a key in either encoding', async () => {
    vvchat.fault('token', respondingWith(400, { err_msg: 'bad a+b/c and a%2Bb%2Fc' }));
    expect(await faultOf(api.fetchToken('test', 'a+b/c'))).toMatchObject({
      message: 'VVChat answered 400',
      detail: 'bad … and …',
    });
  });

  test.each(['<html>', '[]', '{"err_code":"x","err_msg":5}', '"x"'])(
    'whose body is %s counts by its status',
    async (body) => {
      vvchat.fault('send', respondingWith(400, body));
      expect(await faultOf(send())).toMatchObject({
        fault: 'refused',
        message: 'VVChat answered 400',
        detail: undefined,
      });
    },
  );

  test('that never ends counts by its status', async () => {
    vvchat.fault('send', ({ answer }) => {
      answer.writeHead(400);
      Readable.from(repeat('x'.repeat(65_536))).pipe(answer);
    });
    expect(await faultOf(send())).toMatchObject({
      fault: 'refused',
      message: 'VVChat answered 400',
    });
  });

  test('that breaks off counts by its status', async () => {
    vvchat.fault('send', ({ answer }) => {
      answer.writeHead(200, { 'Content-Length': '100' });
      answer.write('x', () => answer.destroy());
    });
    await send();
  });
});

test('a blocked thread makes no outcome unknown: an answer is read, and what waits for a connection is not sent', async () => {
  const server = new Worker(
    `const { createServer } = require('node:http');
    const { parentPort } = require('node:worker_threads');
    const server = createServer((request, answer) => {
      parentPort.postMessage('received');
      setTimeout(() => answer.end('{}'), 200);
    }).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  const [port] = await once(server, 'message');
  const sent = send(createRobotApi(`http://127.0.0.1:${port}`));
  await once(server, 'message');
  let others = 0;
  server.on('message', () => others++);
  const unsent = faultOf(send(createRobotApi(`http://127.0.0.1:${port}`)));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REQUEST_MS + 500);
  await expect(sent).resolves.toBeUndefined();
  expect(await unsent).toMatchObject({ fault: 'unreachable' });
  await server.terminate();
  expect(others).toBe(0);
});

describe('a missing answer', () => {
  test('after a reset leaves the outcome unknown', async () => {
    vvchat.fault('send', resetting);
    const fault = await faultOf(send());
    expect(fault).toMatchObject({
      fault: 'unknown',
      message: expect.stringMatching(/^the request to VVChat broke off \(ECONN/),
    });
    expect(fault.cause).toBeInstanceOf(Error);
  });

  test('in time leaves the outcome unknown', async () => {
    vvchat.fault('send', hanging);
    const began = performance.now();
    expect(await faultOf(send())).toMatchObject({
      fault: 'unknown',
      message: 'the request to VVChat broke off (no answer within 5 s)',
    });
    expect(performance.now() - began).toBeGreaterThan(REQUEST_MS - 100);
  });

  test('because of a change of protocols leaves the outcome unknown', async () => {
    vvchat.fault('send', ({ answer }) => {
      answer.writeHead(101, { Connection: 'Upgrade', Upgrade: 'x' }).end();
    });
    expect(await faultOf(send())).toMatchObject({ fault: 'unknown' });
  });

  test('because of an answer that is not HTTP leaves the outcome unknown', async () => {
    await using server = createServer((socket) => {
      socket.once('data', () => socket.end('this is not HTTP\r\n\r\n'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    expect(await faultOf(send(createRobotApi(urlOf(server))))).toMatchObject({ fault: 'unknown' });
  });

  test('because nothing listens means that nothing was sent', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = urlOf(server);
    await server[Symbol.asyncDispose]();
    expect(await faultOf(send(createRobotApi(url)))).toMatchObject({
      fault: 'unreachable',
      message: 'VVChat cannot be reached (ECONNREFUSED)',
    });
  });

  test('to a TLS handshake means that nothing was sent', async () => {
    expect(
      await faultOf(send(createRobotApi(vvchat.url.replace('http:', 'https:')))),
    ).toMatchObject({
      fault: 'unreachable',
      message: expect.stringMatching(/^VVChat cannot be reached \(\w+\)$/),
    });
  });

  test('never leads to an error that repeats a secret', async () => {
    vvchat.fault('send', resetting);
    vvchat.fault('send', respondingWith(400, { err_msg: 'secret-token' }));
    for (const fault of [await faultOf(send()), await faultOf(send())]) {
      expect(`${fault.message} ${fault.detail}`).not.toMatch(/secret/);
    }
  });
});

function* repeat(text: string) {
  for (;;) yield text;
}

const urlOf = (server: { address: () => unknown }) =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
