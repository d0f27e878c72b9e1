import { type AttributeValue, paginateScan } from '@aws-sdk/client-dynamodb';
import type { Context } from 'aws-lambda';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Request, Response } from '../lib/http.ts';
import { nameOf } from '../local/names.ts';
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, sample } from '../test/fixtures.ts';
import { type HttpProxy, startDynamoDBProxy } from '../test/proxy.ts';

/*
 * For any request the webhook answers as its contract requires; the contract is written here a second time
 * should, writes nothing unless it accepts, and names the place of a fault without a word of what came.
 */

const RUNS = Number(process.env.PROPERTY_RUNS ?? 2_000);
const seed = Number(process.env.PROPERTY_SEED ?? 1);

const APPS = ['test', 'qiyunxin'];
const LIMIT = 65_536;
const TEXT_LIMIT = 8_192;

let engine: Engine;
let dynamodb: HttpProxy;

beforeAll(async () => {
  engine = await startEngine();
  dynamodb = await startDynamoDBProxy(engine.endpoint);
});
afterAll(async () => {
  await dynamodb[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
});

/** The function, as Lambda loads it; what it logs and counts is not printed. */
async function load(): Promise<(request: Request, context: Context) => Promise<Response>> {
  for (const level of ['info', 'warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation(() => {});
  }
  vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  const env = {
    ...engine.environment,
    AWS_ENDPOINT_URL: dynamodb.url,
    MEMBERSHIPS_TABLE: nameOf('memberships'),
    INBOX_TABLE: nameOf('inbox'),
    // SHA-256 of the token "local"
    WEBHOOK_TOKEN_SHA256: '25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6',
    VVCHAT_APP_IDS: APPS.join(','),
    ROUTED_EVENTS: 'at,join-group-for-invite',
    DEDUPE_WINDOW_SECONDS: '5',
  };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  return (await import('./webhook.ts')).handler;
}

// ---- what comes

/** Of every string that is made up; no answer may have it in it. */
const MARK = 'Zq7';

const nasty = fc.constantFrom(
  '',
  ' ',
  '\0',
  'a\u0000b',
  '\u001b[31m',
  '\u009f',
  '\ud800',
  'x\udfff',
  '\u{1f600}',
  'x'.repeat(256),
  'x'.repeat(257),
  '__proto__',
  'constructor',
  'toString',
  'v1',
  'v2',
  'at',
  'AT',
  'user',
  '1',
  '2',
  '3',
  'test',
  '/data/~0~1',
  '<script>',
  'jndi:ldap://x',
  "'; DROP TABLE inbox; --",
);

/** Texts about as long as a text may be. */
const long = fc
  .tuple(fc.constantFrom('x', '您', '\ud800', '\u{1f600}'), fc.integer({ min: -4, max: 4 }))
  .map(([filling, more]) => filling.repeat(TEXT_LIMIT / Buffer.byteLength(filling) + more));

const marked = fc.string({ unit: 'binary', maxLength: 20 }).map((it) => `${MARK}${it}`);

const scalar = fc.oneof(
  nasty,
  marked,
  fc.constantFrom(null, true, false, 0, -0, 1, 2, -1, 1e21, 1e308, 5e-324, 2 ** 53),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

const junk: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 3, withCrossShrink: true }, scalar, tie('list'), tie('record')),
  list: fc.array(tie('value'), { maxLength: 4 }),
  record: fc.dictionary(fc.oneof(nasty, marked), tie('value'), { maxKeys: 4 }),
})).value;

const event = fc.constantFrom(documented.at, documented.join, documented.open);

/** Every place of the documented events, and some beyond. */
const place = fc.constantFrom<readonly string[]>(
  [],
  ['event'],
  ['version'],
  ['data'],
  ['extra'],
  ['__proto__'],
  ['data', 'robot'],
  ['data', 'robot', 'app_id'],
  ['data', 'robot', 'open_id'],
  ['data', 'robot', 'robot_no'],
  ['data', 'robot', 'extra'],
  ['data', 'session'],
  ['data', 'session', 'session_open_id'],
  ['data', 'session', 'session_type'],
  ['data', 'trigger'],
  ['data', 'trigger', 'target'],
  ['data', 'trigger', 'open_id'],
  ['data', 'content'],
  ['data', 'content', 'text'],
  ['data', 'constructor'],
);

type Change = (value: unknown) => unknown;

/** Puts a value at a place, if there is such a place. */
function change(value: unknown, [key, ...rest]: readonly string[], how: Change): unknown {
  if (key === undefined) return how(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).filter(([name]) => name !== key);
  const old = Object.entries(value).find(([name]) => name === key)?.[1];
  const changed = change(old, rest, how);
  return Object.fromEntries(changed === GONE ? entries : [...entries, [key, changed]]);
}

const GONE = Symbol('gone');

const how: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: junk.map((value) => () => value) },
  { weight: 1, arbitrary: long.map((value) => () => value) },
  { weight: 1, arbitrary: fc.constant(() => GONE) },
  { weight: 1, arbitrary: fc.constant((value: unknown) => [value]) },
  { weight: 1, arbitrary: fc.constant((value: unknown) => ({ value })) },
);

const changedEvent = fc
  .tuple(event, fc.array(fc.tuple(place, how), { maxLength: 3 }))
  .map(([value, changes]) =>
    changes.reduce<unknown>((it, [where, what]) => {
      const changed = change(it, where, what);
      return changed === GONE ? null : changed;
    }, value),
  );

/** As JSON.parse yields it: what JSON cannot express is absent. */
const jsonText = changedEvent.map((value) => JSON.stringify(value) ?? 'null');

const brokenText = fc.oneof(
  fc.tuple(jsonText, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1))),
  fc
    .tuple(jsonText, fc.nat(), fc.constantFrom('"', '{', '}', ',', '\\', '\0', '\ud800', 'NaN'))
    .map(([text, at, it]) => {
      const middle = at % (text.length + 1);
      return `${text.slice(0, middle)}${it}${text.slice(middle)}`;
    }),
  fc.tuple(jsonText, marked).map(([text, it]) => `${text}${it}`),
  fc.constantFrom('', ' ', 'null', '[]', '{}', '"at"', '0', '1e999', '-', 'undefined', '\ufeff{}'),
  fc.integer({ min: 1, max: 40_000 }).map((depth) => '['.repeat(depth)),
  fc.integer({ min: 1, max: 20_000 }).map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`),
  fc
    .integer({ min: 1, max: 8_000 })
    .map((depth) => `${'{"data":'.repeat(depth)}1${'}'.repeat(depth)}`),
);

/** JSON that `JSON.stringify` never writes. */
const oddText = fc.oneof(
  fc
    .tuple(jsonText, place, scalar)
    .map(([text, where, value]) =>
      text.replace('{', `{${JSON.stringify(where.at(-1) ?? 'event')}:${JSON.stringify(value)},`),
    ),
  jsonText.map((text) => text.replace('"v1"', '"\\u00761"')),
  jsonText.map((text) => text.replaceAll(':', ' :\r\n\t')),
  jsonText.map((text) => text.replace(/"[12]"/, '1e400')),
  jsonText.map((text) => text.replace(/"[12]"/, '9'.repeat(400))),
  jsonText.map((text) => text.replace('{', '{"__proto__":{"event":"at","version":"v1"},')),
);

const sized = fc
  .tuple(event, fc.integer({ min: LIMIT - 600, max: LIMIT + 300 }))
  .map(([value, length]) => `${' '.repeat(length)}${JSON.stringify(value)}`.slice(-length));

const body = fc.oneof(
  { weight: 5, arbitrary: jsonText },
  { weight: 2, arbitrary: brokenText },
  { weight: 2, arbitrary: oddText },
  { weight: 1, arbitrary: sized },
);

const carriedBody = fc.oneof(
  { weight: 6, arbitrary: body.map((text) => ({ body: text, isBase64Encoded: false })) },
  { weight: 2, arbitrary: body.map((text) => base64(Buffer.from(text))) },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => base64(Buffer.from(bytes))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(jsonText, fc.nat(), fc.integer({ min: 128, max: 255 }))
      .map(([text, at, byte]) => {
        const bytes = Buffer.from(text);
        bytes[at % bytes.length] = byte;
        return base64(bytes);
      }),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(jsonText, fc.constantFrom('!', '=', ' ', '\n', '-', '='.repeat(3)))
      .map(([text, it]) => {
        const { body: whole } = base64(Buffer.from(text));
        return { body: `${whole.slice(0, 10)}${it}${whole.slice(10)}`, isBase64Encoded: true };
      }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Record<string, unknown>>(
      {},
      { body: null },
      { body: null, isBase64Encoded: true },
      { body: '', isBase64Encoded: false },
      { isBase64Encoded: true },
    ),
  },
);

const base64 = (bytes: Buffer) => ({ body: bytes.toString('base64'), isBase64Encoded: true });

const wrong = fc.oneof(fc.constantFrom('', 'Local', 'local ', 'locallocal', '\0'), marked);

/** The tokens of a query: most often the right one, once. */
const tokens = fc.oneof(
  { weight: 12, arbitrary: fc.constant<readonly string[]>(['local']) },
  { weight: 1, arbitrary: fc.array(wrong, { maxLength: 2 }) },
  { weight: 1, arbitrary: wrong.map((it) => ['local', it]) },
  { weight: 1, arbitrary: fc.constant(['local', 'local']) },
);

const headers = fc.option(fc.dictionary(fc.oneof(nasty, marked), fc.oneof(nasty, marked)), {
  nil: null,
});

const query = fc
  .tuple(tokens, fc.dictionary(marked, marked, { maxKeys: 2 }), fc.boolean())
  .map(([values, others, isVersion1]) => {
    const params = new URLSearchParams(others);
    for (const it of values) params.append('token', it);
    return isVersion1
      ? {
          version: '1.0',
          queryStringParameters: values.length > 0 ? { token: values.at(-1) } : null,
          multiValueQueryStringParameters: values.length > 0 ? { token: [...values] } : null,
        }
      : { version: '2.0', rawQueryString: params.toString() };
  });

const request = fc
  .tuple(query, headers, carriedBody)
  .map(([ofQuery, ofHeaders, ofBody]) => ({ ...ofQuery, headers: ofHeaders, ...ofBody }));

// ---- what is to come of it, read from the contract a second time

const DETAILS = [
  'is missing',
  'must be JSON in UTF-8',
  'must be an object',
  'must be a string',
  'must not be empty',
  'must have at most 256 characters',
  'must be well-formed Unicode',
  'must not have control characters',
  'must have at most 8192 bytes in UTF-8',
  'must be "v1"',
  'must be "1" (one-to-one chat) or "2" (group)',
];

interface Expected {
  readonly status: number;
  /** Of a 400: the places that are at fault. */
  readonly faults?: readonly string[];
  /** Of what is accepted. */
  readonly row?: string;
}

function expectedOf(it: Record<string, unknown>): Expected {
  if (!hasTheToken(it)) return { status: 401 };
  const bytes = bytesOf(it);
  if (bytes && bytes.length > LIMIT) return { status: 413 };
  const value = jsonIn(bytes);
  if (value === undefined) return { status: 400, faults: [''] };
  const faults = faultsIn(value.json);
  if (faults.length > 0) return { status: 400, faults };
  // biome-ignore lint/suspicious/noExplicitAny: it was looked at in every place
  const { event: name, data } = value.json as any;
  if (!NAMES.includes(name)) return { status: 200 };
  if (!APPS.includes(data.robot.app_id)) return { status: 403 };
  return { status: 200, row: `${data.session.session_open_id}\n${data.robot.open_id}` };
}

function hasTheToken(it: Record<string, unknown>): boolean {
  const raw = it.rawQueryString;
  const several = it.multiValueQueryStringParameters as { token?: string[] } | null | undefined;
  const all =
    typeof raw === 'string' ? new URLSearchParams(raw).getAll('token') : (several?.token ?? []);
  return all.length === 1 && all[0] === 'local';
}

function bytesOf({ body: text, isBase64Encoded }: Record<string, unknown>): Buffer | undefined {
  const it = typeof text === 'string' ? text : undefined;
  if (isBase64Encoded !== true) return Buffer.from(it ?? '');
  const isBase64 = it !== undefined && /^(?:[\w+/]{4})*(?:[\w+/]{2}==|[\w+/]{3}=)?$/.test(it);
  const isTight =
    isBase64 && !it.includes('_') && Buffer.from(it, 'base64').toString('base64') === it;
  return isTight ? Buffer.from(it, 'base64') : undefined;
}

function jsonIn(bytes: Buffer | undefined): { json: unknown } | undefined {
  if (!bytes?.equals(Buffer.from(bytes.toString('utf8')))) return undefined;
  try {
    return { json: JSON.parse(bytes.toString('utf8').replace(/^\ufeff/, '')) };
  } catch {
    return undefined;
  }
}

const NAMES = ['at', 'join-group-for-invite', 'session-open'];

type Check = (value: unknown) => boolean;

const isId: Check = (it) =>
  typeof it === 'string' &&
  it.length >= 1 &&
  it.length <= 256 &&
  Buffer.from(it).toString() === it &&
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  !/[\u0000-\u001f\u007f-\u009f]/.test(it);

const isText: Check = (it) => typeof it === 'string' && Buffer.from(it).length <= TEXT_LIMIT;

function faultsIn(value: unknown): string[] {
  const faults: string[] = [];
  const look = (from: unknown, path: string, key: string, isRight: Check): unknown => {
    const it = isObject(from) && Object.hasOwn(from, key) ? from[key] : undefined;
    if (!isRight(it)) faults.push(`${path}/${key}`);
    return it;
  };
  if (!isObject(value)) return [''];
  const name = look(value, '', 'event', isId);
  look(value, '', 'version', (it) => it === 'v1');
  if (faults.length > 0 || !NAMES.includes(name as string)) return faults;
  const data = look(value, '', 'data', isObject);
  if (!isObject(data)) return faults;
  const robot = look(data, '/data', 'robot', isObject);
  if (isObject(robot)) {
    for (const key of ['app_id', 'open_id', 'robot_no']) look(robot, '/data/robot', key, isId);
  }
  const session = look(data, '/data', 'session', isObject);
  if (isObject(session)) {
    look(session, '/data/session', 'session_open_id', isId);
    look(session, '/data/session', 'session_type', (it) => it === '1' || it === '2');
  }
  const trigger = look(data, '/data', 'trigger', isObject);
  if (isObject(trigger)) {
    const target = look(trigger, '/data/trigger', 'target', isId);
    if (target === 'user') look(trigger, '/data/trigger', 'open_id', isId);
  }
  if (name === 'at') {
    const content = look(data, '/data', 'content', isObject);
    if (isObject(content)) look(content, '/data/content', 'text', isText);
  }
  return faults;
}

const isObject = (it: unknown): it is Record<string, unknown> =>
  typeof it === 'object' && it !== null;

// ---- the property

describe('the webhook', () => {
  test(
    `answers ${RUNS} requests as its contract requires`,
    async () => {
      const handler = await load();
      const context = { getRemainingTimeInMillis: () => 10_000 } as Context;
      const accepted = new Set<string>();
      const met = new Map<number, number>();
      await fc.assert(
        fc.asyncProperty(request, async (it) => {
          const expected = expectedOf(it);
          const calls = dynamodb.requests.length;
          const answer = await handler({ ...sample('at'), ...NONE, ...it } as Request, context);
          met.set(expected.status, (met.get(expected.status) ?? 0) + 1);
          expect(answer.statusCode).toBe(expected.status);
          if (expected.row === undefined) expect(dynamodb.requests.length).toBe(calls);
          else accepted.add(expected.row);
          const text = answer.body ?? '';
          const { status, errors = [] } = JSON.parse(text);
          if (expected.status === 200) return;
          expect(status).toBe(expected.status);
          expect(text).not.toContain(MARK);
          if (expected.status !== 400) return;
          const pointers = errors.map(({ pointer }: { pointer: string }) => pointer);
          expect([...new Set(pointers)].sort()).toEqual([...(expected.faults ?? [])].sort());
          for (const { detail } of errors) expect(DETAILS).toContain(detail);
        }),
        { numRuns: RUNS, seed },
      );
      for (const status of [200, 400, 401, 403, 413]) expect(met.get(status)).toBeGreaterThan(0);
      expect(new Set(await membershipKeys())).toEqual(accepted);
    },
    RUNS * 20 + 60_000,
  );
});

/** The sample's own body and query are not to stand in for what is left out. */
const NONE = { body: undefined, isBase64Encoded: undefined, rawQueryString: undefined };

async function membershipKeys(): Promise<string[]> {
  const keys: string[] = [];
  const name = engine.table('memberships').name;
  for await (const { Items = [] } of paginateScan({ client: engine.client }, { TableName: name })) {
    keys.push(...Items.map(keyOf));
  }
  return keys;
}

const keyOf = ({ session_open_id, robot_open_id }: Record<string, AttributeValue>) =>
  `${session_open_id?.S}\n${robot_open_id?.S}`;
