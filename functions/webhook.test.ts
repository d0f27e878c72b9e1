import { createHash } from 'node:crypto';
import { GetItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import type { Context } from 'aws-lambda';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { fromAttributes, type Row, toAttributes } from '../lib/aws/table.ts';
import type { Request, Response } from '../lib/http.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { nameOf } from '../local/names.ts';
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, sample, saying } from '../test/fixtures.ts';
import { countedDuring } from '../test/metrics.ts';
import { failing, hanging, startDynamoDBProxy, throttling } from '../test/proxy.ts';

const HASHES = {
  local: '25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6',
  next: createHash('sha256').update('next').digest('hex'),
};
const context = { getRemainingTimeInMillis: () => 10_000 } as Context;

let engine: Engine;
const log = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(() => {
  for (const level of ['info', 'warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation(log[level].mockReset());
  }
});

/** The function, as Lambda loads it with an environment. */
async function load(env: Record<string, string | undefined> = {}) {
  vi.resetModules();
  const whole = {
    ...engine.environment,
    MEMBERSHIPS_TABLE: nameOf('memberships'),
    INBOX_TABLE: nameOf('inbox'),
    WEBHOOK_TOKEN_SHA256: HASHES.local,
    VVCHAT_APP_IDS: 'test,qiyunxin',
    ROUTED_EVENTS: 'at,join-group-for-invite',
    DEDUPE_WINDOW_SECONDS: '5',
    ...env,
  };
  for (const [name, value] of Object.entries(whole)) vi.stubEnv(name, value);
  const { handler } = await import('./webhook.ts');
  return async (changes: object = {}) =>
    readable(await handler({ ...sample('at'), ...changes } as Request, context));
}

const readable = ({ statusCode, headers, body }: Response) => ({
  status: statusCode,
  headers,
  body: JSON.parse(body ?? ''),
});

const post = (event: unknown) => ({ body: JSON.stringify(event) });

const ok = (body: object) => ({
  status: 200,
  headers: { 'Content-Type': 'application/json' },
  body,
});

const problem = (status: number, title: string, detail: string, more = {}, headers = {}) => ({
  status,
  headers: { 'Content-Type': 'application/problem+json', ...headers },
  body: { type: 'about:blank', title, status, detail, ...more },
});

const UNAUTHORIZED = problem(
  401,
  'Unauthorized',
  'The query parameter "token" is missing, repeated or wrong.',
);

const malformed = (...errors: [pointer: string, detail: string][]) =>
  problem(
    400,
    'Bad Request',
    'The event does not have the shape that the VVChat robot protocol v1 documents.',
    { errors: errors.map(([pointer, detail]) => ({ pointer, detail })) },
  );

const read = async (table: string, key: Row) => {
  const { Item } = await engine.client.send(
    new GetItemCommand({ TableName: nameOf(table), Key: toAttributes(key) }),
  );
  return Item && fromAttributes(Item);
};

const membershipOf = ({ data }: Event) =>
  read('memberships', {
    session_open_id: data.session.session_open_id,
    robot_open_id: data.robot.open_id,
  });

const countRows = async () => {
  const counts = ['memberships', 'inbox'].map(async (table) => {
    const TableName = nameOf(table);
    return (await engine.client.send(new ScanCommand({ TableName, Select: 'COUNT' }))).Count ?? 0;
  });
  return (await Promise.all(counts)).reduce((a, b) => a + b);
};

test('the metrics count events by name and refusals by reason, and repeat nothing that was received', async () => {
  const invoke = await load({ VVCHAT_APP_IDS: 'test' });
  const broken = await load({ MEMBERSHIPS_TABLE: 'no-such-table' });
  const event = saying('counted');
  const counted = await countedDuring(async () => {
    await invoke(post(event));
    await invoke(post(event));
    await invoke(post(documented.open));
    await invoke(post({ event: 'robot-left', version: 'v1' }));
    await invoke({ ...post(event), rawQueryString: 'token=wrong' });
    await invoke({ body: 'x'.repeat(65_537) });
    await invoke(post(saying('x'.repeat(8_193))));
    await invoke({ body: '{' });
    await invoke(post(documented.join));
    await broken(post(event));
  });
  expect(counted).toEqual([
    { Events: 1, event: 'at' },
    { Events: 1, event: 'at' },
    { Duplicates: 1 },
    { Rejected: 1, reason: 'app' },
    { Events: 1, event: 'unknown' },
    { Rejected: 1, reason: 'token' },
    { Rejected: 1, reason: 'size' },
    { Rejected: 1, reason: 'size' },
    { Rejected: 1, reason: 'body' },
    { Rejected: 1, reason: 'app' },
    { Rejected: 1, reason: 'database' },
  ]);
});

describe('the webhook', () => {
  test('records an event that the robot does not answer', async () => {
    const invoke = await load();
    expect(await invoke(post(documented.open))).toEqual(
      ok({ status: 'recorded', event: 'session-open' }),
    );
    expect(await membershipOf(documented.open)).toMatchObject({
      robot_no: 'xds3345',
      last_opened_by: 'CWYlCXOccx73NnVGntzatmSLEzgoFMTO',
    });
  });

  test('records and queues an event; an equal one within the window is a duplicate', async () => {
    const invoke = await load();
    const event_id = 'c1aa66f6e13d862331c665148b0796fc-0000000001';
    expect(await invoke()).toEqual(ok({ status: 'queued', event: 'at', event_id }));
    expect(await membershipOf(documented.at)).toMatchObject({
      last_mentioned_by: 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU',
    });
    const { session_open_id } = documented.at.data.session;
    expect(await read('inbox', { session_open_id, event_id })).toMatchObject({
      status: 'pending',
      text: '您好',
    });
    expect(await invoke()).toEqual(ok({ status: 'duplicate', event: 'at', event_id }));
    expect(log.info.mock.calls).toEqual([
      [{ message: 'event queued', event: 'at', event_id }],
      [{ message: 'event duplicate', event: 'at', event_id }],
    ]);
  });

  test('notes a duplicate in the row that it duplicates', async () => {
    const invoke = await load();
    const event = post(saying('twice'));
    const { event_id } = (await invoke(event)).body;
    await invoke(event);
    const { session_open_id } = documented.at.data.session;
    expect(await read('inbox', { session_open_id, event_id })).toMatchObject({
      duplicates: 1,
      last_duplicate_at: expect.stringMatching(/Z$/),
    });
  });

  test('answers a duplicate that cannot be noted', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    proxy.intervene = ({ body }) =>
      body.includes('last_duplicate_at') ? failing(400, 'AccessDeniedException') : undefined;
    const invoke = await load({ AWS_ENDPOINT_URL: proxy.url });
    const event = post(saying('not noted'));
    const { event_id } = (await invoke(event)).body;
    expect(await invoke(event)).toEqual(ok({ status: 'duplicate', event: 'at', event_id }));
    expect(log.warn.mock.calls).toEqual([
      [
        {
          message: 'duplicate not noted',
          event_id,
          error: 'AccessDeniedException',
          at: expect.any(Array),
        },
      ],
    ]);
  });

  test('queues the event of a robot that was pulled into a group', async () => {
    const invoke = await load();
    expect(await invoke(post(documented.join))).toEqual(
      ok({
        status: 'queued',
        event: 'join-group-for-invite',
        event_id: expect.stringMatching(/^[\da-f]{32}-0000000001$/),
      }),
    );
    expect(await membershipOf(documented.join)).toHaveProperty('joined_at');
  });

  test('queues the events of ROUTED_EVENTS alone', async () => {
    const invoke = await load({ ROUTED_EVENTS: 'session-open' });
    expect(await invoke(post(documented.open))).toMatchObject({ body: { status: 'queued' } });
    expect(await invoke(post(documented.join))).toEqual(
      ok({ status: 'recorded', event: 'join-group-for-invite' }),
    );
  });

  test('ignores an undocumented event', async () => {
    const invoke = await load();
    const before = await countRows();
    const answer = await invoke(post({ event: 'robot-left', version: 'v1', data: { x: 1 } }));
    expect(answer).toEqual(ok({ status: 'ignored', event: 'robot-left' }));
    expect(log.warn.mock.calls).toEqual([
      [{ message: 'undocumented event ignored', event: 'robot-left' }],
    ]);
    expect(await countRows()).toBe(before);
  });

  test.each(['hello, anna', '您好', 'x'.repeat(65), 'a b', '<b>'])(
    'does not log the event or the app %j, which does not look like a name',
    async (name) => {
      const invoke = await load();
      await invoke(post({ event: name, version: 'v1' }));
      const event = structuredClone(documented.at);
      event.data.robot.app_id = name;
      await invoke(post(event));
      expect(log.warn.mock.calls).toEqual([
        [{ message: 'undocumented event ignored', event: undefined }],
        [{ message: 'event rejected: its app is not in VVCHAT_APP_IDS', app_id: undefined }],
      ]);
    },
  );

  test('rejects an app that is not on the list, and every app without a list', async () => {
    const refusal = problem(403, 'Forbidden', 'The app is not on the list of this service.');
    const before = await countRows();
    for (const VVCHAT_APP_IDS of ['qiyunxin', '']) {
      const invoke = await load({ VVCHAT_APP_IDS });
      expect(await invoke()).toEqual(refusal);
      expect(log.warn).toHaveBeenLastCalledWith({
        message: 'event rejected: its app is not in VVCHAT_APP_IDS',
        app_id: 'test',
      });
    }
    expect(await countRows()).toBe(before);
  });
});

describe('the token', () => {
  test.each([
    ['missing', { rawQueryString: '', queryStringParameters: undefined }],
    ['empty', { rawQueryString: 'token=' }],
    ['wrong', { rawQueryString: 'token=Local' }],
    ['the hash itself', { rawQueryString: `token=${HASHES.local}` }],
    ['repeated', { rawQueryString: 'token=local&token=local' }],
    ['repeated, once encoded', { rawQueryString: 'token=local&%74oken=wrong' }],
    ['missing, without any query', { rawQueryString: undefined, queryStringParameters: undefined }],
    [
      'wrong, without a raw query',
      { rawQueryString: undefined, queryStringParameters: { token: 'local,local' } },
    ],
  ])('is checked before anything else: %s', async (_, query) => {
    const invoke = await load();
    for (const body of ['{', 'x'.repeat(100_000), JSON.stringify(documented.at)]) {
      expect(await invoke({ ...query, body })).toEqual(UNAUTHORIZED);
    }
  });

  test('may be encoded, and is read from the parsed query where there is no raw one', async () => {
    const invoke = await load();
    for (const query of [
      { rawQueryString: 'a=b&token=%6Cocal' },
      { rawQueryString: undefined, queryStringParameters: { token: 'local' } },
    ]) {
      expect(await invoke({ ...query, ...post(documented.open) })).toMatchObject({ status: 200 });
    }
  });

  test('may be one of two during a rotation', async () => {
    const invoke = await load({ WEBHOOK_TOKEN_SHA256: `${HASHES.local},${HASHES.next}` });
    for (const token of ['local', 'next']) {
      const query = { rawQueryString: `token=${token}`, ...post(documented.open) };
      expect(await invoke(query)).toMatchObject({ status: 200 });
    }
    expect(await invoke({ rawQueryString: 'token=other' })).toEqual(UNAUTHORIZED);
  });

  test.each([
    ['first', `${HASHES.local},${HASHES.next}`],
    ['second', `${HASHES.next},${HASHES.local}`],
  ])('is counted under its own name during a rotation, also as the %s of two', async (_, both) => {
    const invoke = await load({ WEBHOOK_TOKEN_SHA256: both });
    const posted = (token: string) =>
      countedDuring(() => invoke({ rawQueryString: `token=${token}`, ...post({}) }));
    const body = { Rejected: 1, reason: 'body' };
    expect(await posted('local')).toEqual([{ Authenticated: 1, token: '25bf8e1a' }, body]);
    const next = HASHES.next.slice(0, 8);
    expect(await posted('next')).toEqual([{ Authenticated: 1, token: next }, body]);
    expect(await posted('other')).toEqual([{ Rejected: 1, reason: 'token' }]);
  });

  test('is not counted while only one is accepted', async () => {
    const invoke = await load();
    expect(await countedDuring(() => invoke(post({})))).toEqual([{ Rejected: 1, reason: 'body' }]);
  });

  test.each([
    [{ WEBHOOK_TOKEN_SHA256: undefined }, 'WEBHOOK_TOKEN_SHA256 is missing.'],
    [{ WEBHOOK_TOKEN_SHA256: '' }, 'WEBHOOK_TOKEN_SHA256 is missing.'],
    [
      { WEBHOOK_TOKEN_SHA256: 'local' },
      'WEBHOOK_TOKEN_SHA256 must be one or two SHA-256 hashes of 64 hex digits, separated by a comma.',
    ],
    [{ INBOX_TABLE: undefined }, 'INBOX_TABLE is missing.'],
  ])(
    'is rejected with the configuration %j, and one line of the log says why',
    async (env, detail) => {
      const invoke = await load(env);
      for (const token of ['local', '', 'undefined']) {
        expect(await invoke({ rawQueryString: `token=${token}` })).toEqual(UNAUTHORIZED);
      }
      expect(await countedDuring(() => invoke())).toEqual([{ Rejected: 1, reason: 'token' }]);
      expect(log.error).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({
          message: 'invalid configuration: rejecting all events',
          error: 'ConfigError',
          detail,
        }),
      );
    },
  );
});

describe('the body', () => {
  const base64 = (text: string | Buffer) => ({
    body: Buffer.from(text as string).toString('base64'),
    isBase64Encoded: true,
  });

  test('may be base64', async () => {
    const invoke = await load();
    const event = saying('base64 您好');
    expect(await invoke(base64(JSON.stringify(event)))).toMatchObject({
      body: { status: 'queued' },
    });
    expect(await invoke(post(event))).toMatchObject({ body: { status: 'duplicate' } });
  });

  test('may begin with a byte order mark', async () => {
    const invoke = await load();
    expect(await invoke(base64(`\ufeff${JSON.stringify(documented.open)}`))).toMatchObject({
      status: 200,
    });
  });

  test('may have 64 KiB in bytes and no more', async () => {
    const invoke = await load();
    const whole = (bytes: number, filling: string) => {
      const frame = Buffer.byteLength(JSON.stringify({ ...saying(''), more: '' }));
      const more = filling.repeat((bytes - frame) / Buffer.byteLength(filling));
      const rest = bytes - frame - Buffer.byteLength(more);
      return JSON.stringify({ ...saying(''), more: more + 'x'.repeat(rest) });
    };
    const tooLarge = problem(413, 'Content Too Large', 'An event has at most 65536 bytes.');
    for (const filling of ['x', '您']) {
      expect(await invoke({ body: whole(65_536, filling) })).toMatchObject({ status: 200 });
      expect(await invoke({ body: whole(65_537, filling) })).toEqual(tooLarge);
      expect(await invoke(base64(whole(65_537, filling)))).toEqual(tooLarge);
    }
    expect(log.warn).toHaveBeenLastCalledWith({
      message: 'event rejected: too large',
      bytes: 65_537,
    });
  });

  test('may have a text of 8 KiB, even one that is all escapes, and no byte more', async () => {
    const invoke = await load();
    const before = await countRows();
    for (const filling of ['x', '\u0000', '您']) {
      const text = filling.repeat(8_192 / Buffer.byteLength(filling));
      expect(await invoke(post(saying(text)))).toMatchObject({ body: { status: 'queued' } });
      const rows = await countRows();
      expect(await invoke(post(saying(`${text}xxx`)))).toEqual(
        malformed(['/data/content/text', 'must have at most 8192 bytes in UTF-8']),
      );
      expect(await countRows()).toBe(rows);
    }
    expect(await countRows()).toBeGreaterThan(before);
  });

  test.each([
    ['nothing', { body: undefined }],
    ['an empty string', { body: '' }],
    ['half of it', { body: '{"event":"at"' }],
    ['no base64', { body: 'ä{}', isBase64Encoded: true }],
    ['nothing in base64', { body: undefined, isBase64Encoded: true }],
    ['no UTF-8', base64(Buffer.from([0x22, 0xff, 0x22]))],
  ])('is rejected when it is %s', async (_, body) => {
    const invoke = await load();
    const before = await countRows();
    expect(await invoke(body)).toEqual(malformed(['', 'must be JSON in UTF-8']));
    expect(await countRows()).toBe(before);
  });

  test('is rejected with a pointer to each fault, and without repeating any of it', async () => {
    const invoke = await load();
    const event = structuredClone(documented.at);
    Object.assign(event.data, {
      robot: { app_id: 5, open_id: 'secret\u0007' },
      session: { session_open_id: 'secret', session_type: 'secret' },
    });
    const answer = await invoke(post(event));
    expect(answer).toEqual(
      malformed(
        ['/data/robot/app_id', 'must be a string'],
        ['/data/robot/open_id', 'must not have control characters'],
        ['/data/robot/robot_no', 'is missing'],
        ['/data/session/session_type', 'must be "1" (one-to-one chat) or "2" (group)'],
      ),
    );
    expect(JSON.stringify(answer)).not.toMatch(/secret/);
    expect(log.warn.mock.calls).toEqual([
      [
        {
          message: 'event rejected: not in the documented format',
          faults: [
            '/data/robot/app_id must be a string',
            '/data/robot/open_id must not have control characters',
            '/data/robot/robot_no is missing',
            '/data/session/session_type must be "1" (one-to-one chat) or "2" (group)',
          ],
        },
      ],
    ]);
  });

  test('of another version is rejected', async () => {
    const invoke = await load();
    expect(await invoke(post({ ...documented.at, version: 'v2' }))).toEqual(
      malformed(['/version', 'must be "v1"']),
    );
    expect(log.warn).toHaveBeenCalledExactlyOnceWith({
      message: 'event rejected: not in the documented format',
      faults: ['/version must be "v1"'],
    });
  });
});

test('the webhook accepts payload format 1.0 too', async () => {
  const invoke = async (token: string[] | null) => {
    const request = {
      ...sample('session-open'),
      version: '1.0',
      rawQueryString: undefined,
      multiValueQueryStringParameters: token && { token },
      queryStringParameters: token && { token: token.at(-1) },
    };
    return (await load())(request);
  };
  expect(await invoke(['local'])).toEqual(ok({ status: 'recorded', event: 'session-open' }));
  expect(await invoke(['local', 'local'])).toEqual(UNAUTHORIZED);
  expect(await invoke(['wrong', 'local'])).toEqual(UNAUTHORIZED);
  expect(await invoke(null)).toEqual(UNAUTHORIZED);
});

describe('a failure of DynamoDB', () => {
  const unavailable = problem(
    503,
    'Service Unavailable',
    'The event could not be recorded. Send it again.',
    {},
    { 'Retry-After': '1' },
  );

  const broken = failing(500, 'InternalServerError');

  test.each([['UpdateItem'], ['Query'], ['PutItem']])(
    'in %s is answered 503, and a second delivery completes the work',
    async (operation) => {
      await using proxy = await startDynamoDBProxy(engine.endpoint);
      proxy.fault(operation, broken, broken, broken);
      const invoke = await load({ AWS_ENDPOINT_URL: proxy.url });
      const event = saying(`while ${operation} fails`);
      event.data.session.session_open_id = `group-${operation}`;
      expect(await invoke(post(event))).toEqual(unavailable);
      expect(log.error).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ message: 'event not recorded', error: 'InternalServerError' }),
      );
      expect(JSON.stringify(log.error.mock.calls)).not.toMatch(/secret/);
      expect(await invoke(post(event))).toMatchObject({ status: 200, body: { status: 'queued' } });
      expect(await membershipOf(event)).toBeDefined();
    },
  );

  test('in the membership alone is answered 503 too', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    proxy.fault('UpdateItem', broken, broken, broken);
    const invoke = await load({ AWS_ENDPOINT_URL: proxy.url });
    expect(await invoke(post(documented.open))).toEqual(unavailable);
  });

  test('that is silence is answered 503 after 3 s in all, however much time the function has', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    proxy.fault('UpdateItem', hanging);
    proxy.fault('PutItem', hanging, hanging, hanging);
    const invoke = await load({ AWS_ENDPOINT_URL: proxy.url });
    const began = Date.now();
    expect(await invoke(post(saying('into silence')))).toEqual(unavailable);
    expect(Date.now() - began).toBeLessThan(3_800);
    expect(proxy.requests).toContain('PutItem');
  });

  test('that is throttling of each request once is overcome, however long the back-off', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    for (const operation of ['UpdateItem', 'Query', 'PutItem']) {
      proxy.fault(operation, throttling);
    }
    const invoke = await load({ AWS_ENDPOINT_URL: proxy.url });
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    expect(await invoke(post(saying('while throttled')))).toMatchObject({
      body: { status: 'queued' },
    });
  });

  test('that lasts too long ends before the function does', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    proxy.intervene = () => hanging;
    vi.resetModules();
    await load({ AWS_ENDPOINT_URL: proxy.url });
    const { handler } = await import('./webhook.ts');
    const began = performance.now();
    const answer = await handler(sample('at'), {
      getRemainingTimeInMillis: () => 1_100,
    } as Context);
    expect(readable(answer)).toEqual(unavailable);
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});
