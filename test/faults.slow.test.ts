import { readFileSync } from 'node:fs';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { describe, expect, test } from 'vitest';
import { fromAttributes } from '../lib/aws/table.ts';
import type { Key } from '../lib/inbox/item.ts';
import { type Deployed, inserted, type Posted, startDeployed, URL_TOKEN } from './deployed.ts';
import { documented, sample, saying } from './fixtures.ts';
import type { Lambda } from './lambda.ts';
import {
  delaying,
  endless,
  type Fault,
  failing,
  hanging,
  hangingAfter,
  passing,
  resetting,
  resettingAfter,
  respondingWith,
  throttling,
} from './proxy.ts';
import { APPS } from './vvchat.ts';

/*
 * What may go wrong between the functions and DynamoDB and VVChat, and what comes of it. The same table is in
 * docs/reliability.md.
 */

interface Outcome {
  readonly words: string;
  readonly check: (scene: Scene) => Promise<void>;
}

interface Scene {
  readonly on: Deployed;
  readonly text: string;
  /** What the webhook answered; of the others, what the function returned. */
  readonly answer: unknown;
  readonly key: Key;
  /** What the webhook answered to the same event afterwards, where the first time is what it is about. */
  readonly second?: Posted;
}

const minutes = (ms: number) => (ms === 60_000 ? 'a minute' : `${ms / 1_000} s`);

/** Once it is over, and `retry` has done what there was left to do. */
async function expectSaid({ on, key, text }: Scene, times: number, status = 'replied') {
  expect(await on.recover(key)).toMatchObject({ status });
  expect(on.sent(text)).toEqual(Array.from({ length: times }, () => text));
}

const queued: Outcome = {
  words: '200 `queued`, one row, sent once',
  check: async (scene) => {
    expect(scene.answer).toMatchObject({ status: 200, body: { status: 'queued' } });
    await expectSaid(scene, 1);
  },
};

function expectUnavailable({ answer, second }: Scene) {
  expect(answer).toMatchObject({ status: 503, headers: { 'Retry-After': expect.any(String) } });
  expect(second).toMatchObject({ status: 200, body: { status: 'queued' } });
}

const unavailable: Outcome = {
  words: '503 with `Retry-After`; the second delivery is queued, and sent once',
  check: async (scene) => {
    expectUnavailable(scene);
    await expectSaid(scene, 1);
  },
};

/** The webhook gives up before the window ends, so a second delivery at once finds the row. */
const unavailableYetQueued: Outcome = {
  words:
    '503, outcome of the put unknown: the row is there, and the second delivery is a duplicate within the window (5 s), sent once; after it, it inserts another, sent twice',
  check: async (scene) => {
    expect(scene.answer).toMatchObject({ status: 503 });
    expect(scene.second).toMatchObject({ status: 200, body: { status: 'duplicate' } });
    await expectSaid(scene, 1);
  },
};

const replied: Outcome = {
  words: 'sent once, at once',
  check: async (scene) => {
    expect(scene.answer).toEqual({ replied: 1 });
    expect(await scene.on.read(scene.key)).toMatchObject({ status: 'replied', claims: 1 });
    await expectSaid(scene, 1);
  },
};

const stalled: Outcome = {
  words: 'sent once, when the lease has ended',
  check: async (scene) => {
    expect(scene.answer).toEqual({ stalled: 1 });
    await expectSaid(scene, 1);
  },
};

const postponed = (last_error: string, delayMs = 60_000, jitter = 0.25): Outcome => ({
  words: `sent once, after ${minutes(delayMs)}`,
  check: async (scene) => {
    expect(scene.answer).toEqual({ postponed: 1 });
    const item = await scene.on.read(scene.key);
    expect(item).toMatchObject({ status: 'pending', last_error, sent: 0 });
    expect(item).not.toHaveProperty('unknown');
    const left = Date.parse(item.next_attempt_at) - scene.on.clock.now();
    expect(left).toBeGreaterThan(delayMs * (1 - jitter) - 20_000);
    expect(left).toBeLessThanOrEqual(delayMs * (1 + jitter));
    await expectSaid(scene, 1);
  },
});

/** The token is new, so it might be the reason; after a minute it is replaced, and the command sent with another. */
const failed = (last_error: string): Outcome => ({
  words: `not sent; \`failed\` when it is refused again after a minute, \`last_error\`: ${last_error}`,
  check: async (scene) => {
    expect(scene.answer).toEqual({ postponed: 1 });
    expect(await scene.on.read(scene.key)).toMatchObject({ status: 'pending', last_error });
    await expectSaid(scene, 0, 'failed');
    expect(await scene.on.read(scene.key)).toMatchObject({ last_error });
  },
});

/** It may have been carried out. */
const doubtfullyRefused = (last_error: string): Outcome => {
  const refused = failed(last_error);
  return {
    words: `${refused.words}; the row lists it under \`unknown\``,
    check: async (scene) => {
      await refused.check(scene);
      expect(await scene.on.read(scene.key)).toMatchObject({ unknown: [0] });
    },
  };
};

const unknown = (times: 1 | 2): Outcome => ({
  words: `outcome unknown: sent again when VVChat has answered another message, or after 15 minutes, so carried out ${times === 1 ? 'once' : 'twice'}; the row lists it under \`unknown\``,
  check: async (scene) => {
    expect(scene.answer).toEqual({ postponed: 1 });
    expect(await scene.on.read(scene.key)).toMatchObject({ status: 'pending', unknown: [0] });
    await expectSaid(scene, times);
    const item = await scene.on.read(scene.key);
    expect(item).toMatchObject({ unknown: [0], last_error: 'outcome unknown' });
  },
});

const unknownTwice: Outcome = {
  words: 'not sent a third time; `failed`, `last_error`: outcome unknown',
  check: async (scene) => {
    await expectSaid(scene, 0, 'failed');
    const item = await scene.on.read(scene.key);
    expect(item).toMatchObject({ unknown: [0], last_error: 'outcome unknown' });
    expect(scene.on.vvchat.requests.filter((it) => it === 'send')).toHaveLength(2);
  },
};

const doubtful = (times: 1 | 2): Outcome => ({
  words: `sent again after a minute, so carried out ${times === 1 ? 'once' : 'twice'}; the row lists it under \`unknown\``,
  check: async (scene) => {
    expect(scene.answer).toEqual({ postponed: 1 });
    const item = await scene.on.read(scene.key);
    expect(item).toMatchObject({ last_error: 'VVChat answered 500', unknown: [0] });
    expect(item).not.toHaveProperty('unknown_at');
    await expectSaid(scene, times);
    expect(await scene.on.read(scene.key)).toMatchObject({ unknown: [0] });
  },
});

type Row = readonly [
  caller: 'webhook' | 'reply' | 'retry',
  call: string,
  fault: string,
  faults: readonly Fault[],
  outcome: Outcome,
];

const times = (count: number, fault: Fault) => Array.from({ length: count }, () => fault);
const internal = failing(500, 'InternalServerError');
const inAMinute = (): string => new Date(Date.now() + 120_000).toUTCString();

const TABLE: readonly Row[] = [
  ['webhook', 'UpdateItem', 'throttled twice', times(2, throttling), queued],
  ['webhook', 'Query', 'throttled twice', times(2, throttling), queued],
  ['webhook', 'PutItem', 'throttled twice', times(2, throttling), queued],
  ['webhook', 'UpdateItem', 'throttled for longer', times(3, throttling), unavailable],
  ['webhook', 'PutItem', 'throttled for longer', times(3, throttling), unavailable],
  ['webhook', 'PutItem', '500', [internal], queued],
  ['webhook', 'PutItem', '500 for longer', times(3, internal), unavailable],
  ['webhook', 'PutItem', 'reset before it took effect', [resetting], queued],
  ['webhook', 'PutItem', 'reset after it took effect', [resettingAfter], queued],
  ['webhook', 'PutItem', 'no answer, without effect', [hanging], queued],
  ['webhook', 'PutItem', 'no answer, though it took effect', [hangingAfter], queued],
  [
    'webhook',
    'PutItem',
    'no answer for longer, though it took effect',
    [hangingAfter, hanging, hanging],
    unavailableYetQueued,
  ],
  ['webhook', 'PutItem', 'an answer after 1.5 s', [delaying(1_500)], queued],

  ['reply', 'GetItem', '500', [internal], replied],
  ['reply', 'GetItem', '500 for longer', times(3, internal), stalled],
  ['reply', 'UpdateItem (storeReply)', 'throttled for longer', times(4, throttling), replied],
  ['reply', 'UpdateItem (storeReply)', 'reset before it took effect', [resetting], replied],
  ['reply', 'UpdateItem (storeReply)', 'reset after it took effect', [resettingAfter], replied],
  ['reply', 'UpdateItem (storeReply)', 'no answer, though it took effect', [hangingAfter], replied],
  ['reply', 'UpdateItem (storeReply)', 'an answer after 1.5 s', [delaying(1_500)], replied],
  ['reply', 'UpdateItem (complete)', '500 for longer', [passing, ...times(4, internal)], replied],
  [
    'reply',
    'UpdateItem (complete)',
    'reset after it took effect',
    [passing, resettingAfter],
    replied,
  ],
  [
    'reply',
    'UpdateItem (complete)',
    'no answer, though it took effect',
    [passing, hangingAfter],
    replied,
  ],
  ['retry', 'Query', '500', [internal], replied],
  ['retry', 'UpdateItem (claim)', 'reset after it took effect', [resettingAfter], replied],
  ['retry', 'UpdateItem (claim)', 'no answer, though it took effect', [hangingAfter], replied],

  ['reply', 'send', '500', [respondingWith(500)], doubtful(1)],
  ['reply', 'send', '500, though carried out', [carriedOut(respondingWith(500))], doubtful(2)],
  ['reply', 'send', '503', [respondingWith(503)], postponed('VVChat answered 503')],
  ['reply', 'send', '429', [respondingWith(429)], postponed('VVChat answered 429')],
  [
    'reply',
    'send',
    '429 with `Retry-After` in seconds (1)',
    [respondingWith(429, '', { 'Retry-After': '1' })],
    postponed('VVChat answered 429'),
  ],
  [
    'reply',
    'send',
    '429 with `Retry-After` in seconds (300)',
    [respondingWith(429, '', { 'Retry-After': '300' })],
    postponed('VVChat answered 429', 300_000, 0),
  ],
  [
    'reply',
    'send',
    '429 with `Retry-After` as an HTTP date (in 120 s)',
    [({ answer }) => void answer.writeHead(429, { 'Retry-After': inAMinute() }).end()],
    postponed('VVChat answered 429', 120_000, 0),
  ],
  ['reply', 'send', '400, once', [respondingWith(400)], postponed('VVChat answered 400')],
  [
    'reply',
    'send',
    '400 with `err_code`',
    times(3, respondingWith(400, { err_code: 40_004, err_msg: 'no such session' })),
    failed('VVChat answered 400 (err_code 40004): no such session'),
  ],
  [
    'reply',
    'send',
    '400 with invalid JSON',
    times(3, respondingWith(400, '{"err')),
    failed('VVChat answered 400'),
  ],
  [
    'reply',
    'send',
    '400 with an endless body',
    times(3, endless(400)),
    failed('VVChat answered 400'),
  ],
  [
    'reply',
    'send',
    '200 with `err_code`',
    times(2, respondingWith(200, { err_code: 40_004, err_msg: 'no such session' })),
    doubtfullyRefused('VVChat answered 200 (err_code 40004): no such session'),
  ],
  ['reply', 'send', '200 with an endless body', [carriedOut(endless(200))], replied],
  [
    'reply',
    'send',
    'a redirect (not followed)',
    [respondingWith(307, '', { Location: 'http://127.0.0.1:9/' })],
    postponed('VVChat answered 307'),
  ],
  ['reply', 'send', '504', [respondingWith(504)], unknown(1)],
  ['reply', 'send', 'reset before it was carried out', [resetting], unknown(1)],
  ['reply', 'send', 'reset after it was carried out', [resettingAfter], unknown(2)],
  ['reply', 'send', 'no answer within 5 s', [hanging], unknown(1)],
  ['reply', 'send', 'no answer within 5 s, though carried out', [hangingAfter], unknown(2)],
  ['reply', 'send', 'no answer within 5 s, twice', [hanging, hanging], unknownTwice],

  ['reply', 'token', '500', [respondingWith(500)], postponed('no token: VVChat answered 500')],
  [
    'reply',
    'token',
    'a wrong key',
    [respondingWith(400, { err_code: 400, err_msg: 'wrong app_key' })],
    postponed('no token: VVChat answered 400 (err_code 400)'),
  ],
  [
    'reply',
    'token',
    'invalid JSON',
    [respondingWith(200, '{"token":"x"')],
    postponed('no token: VVChat answered 200 without a token and its time to live.'),
  ],
  [
    'reply',
    'token',
    'an endless body',
    [endless(200)],
    postponed('no token: VVChat answered 200 without a token and its time to live.'),
  ],
  [
    'reply',
    'token',
    'a redirect (not followed)',
    [respondingWith(302, '', { Location: 'http://127.0.0.1:9/' })],
    postponed('no token: VVChat answered 302'),
  ],
  [
    'reply',
    'token',
    'no answer within 5 s',
    [hanging],
    postponed('no token: the request to VVChat broke off (no answer within 5 s)'),
  ],
];

/** VVChat does it, and then answers otherwise. */
function carriedOut(fault: Fault): Fault {
  return async (exchange) => {
    await exchange.forward();
    await fault(exchange);
  };
}

test('docs/reliability.md has the table', () => {
  const docs = readFileSync(new URL('../docs/reliability.md', import.meta.url), 'utf8');
  const rows = TABLE.map(
    ([caller, call, fault, , { words }]) => `| ${caller} | ${call} | ${fault} | ${words} |`,
  );
  const [, section = ''] = /^## Faults\n(.*?)^## /ms.exec(docs) ?? [];
  const written = section.split('\n').filter((line) => /^\| (?:webhook|reply|retry) /.test(line));
  expect(written.map((line) => line.replace(/ +/g, ' '))).toEqual(rows);
});

describe.concurrent('a fault', () => {
  test.each(TABLE)('%s: %s: %s', async (caller, call, fault, faults, { check }) => {
    await using on = await startDeployed();
    const text = `${PLANTED_TEXT} ${call}: ${fault}`;
    const event = saying(text);
    const operation = call.replace(/ .*/, '');
    const proxy = /^[a-z]/.test(operation) ? on.vvchat : on.dynamodb;
    if (caller === 'webhook') {
      proxy.fault(operation, ...faults);
      const webhook = await on.start('webhook');
      const answer = await on.post(webhook, event);
      expect(proxy.faultsLeft(operation)).toBe(0);
      const second = await on.post(webhook, event);
      const { session_open_id } = event.data.session;
      const key = { session_open_id, event_id: `${second.body.event_id}` };
      await check({ on, text, answer, key, second });
      await expectNoSecrets(on, answer, second);
      return;
    }
    // The token is there, but where it is the token that a fault is about.
    if (operation !== 'token') await warmUp(on);
    const key = await on.put(event);
    if (caller === 'retry') on.clock.advance(121_000);
    on.vvchat.requests.length = 0;
    proxy.fault(operation, ...faults);
    const worker = await on.start(caller);
    const answer = await worker.invoke(caller === 'reply' ? inserted(key) : sample('retry'));
    await check({ on, text, answer, key });
    expect(proxy.faultsLeft(operation)).toBe(0);
    await expectNoSecrets(on, answer);
  });
});

const PLANTED_TEXT = 'planted text of a message';

/** Whatever the fault, logs, metrics, answers and `last_error` never contain a secret or a message. */
async function expectNoSecrets({ engine, printed }: Deployed, ...answers: unknown[]) {
  const scan = async (table: 'inbox' | 'tokens') => {
    const { Items = [] } = await engine.client.send(
      new ScanCommand({ TableName: engine.table(table).name }),
    );
    return Items.map(fromAttributes);
  };
  const tokens = (await scan('tokens')).flatMap(({ token }) => (token ? [`${token}`] : []));
  const faults = (await scan('inbox')).map(({ last_error }) => last_error);
  const shown = [printed(), JSON.stringify(answers), JSON.stringify(faults)].join('\n');
  expect(printed()).toMatch(/vvchat-robot-test/);
  // Of a one-to-one chat the session is the person.
  const { session, trigger } = documented.at.data;
  const ids = [session.session_open_id, `${trigger.open_id}`];
  for (const secret of [URL_TOKEN, PLANTED_TEXT, ...ids, ...APPS.values(), ...tokens]) {
    for (const spelling of [
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
    ]) {
      expect(shown).not.toContain(spelling);
    }
  }
}

async function warmUp(on: Deployed) {
  const key = await on.put(saying('warm up'));
  await (await on.start('reply')).invoke(inserted(key));
  expect(await on.read(key)).toMatchObject({ status: 'replied' });
}

test('a token that VVChat rejects, of many workers in the middle of their batches, is replaced once', async () => {
  await using on = await startDeployed();
  const workers = await Promise.all(Array.from({ length: 5 }, () => on.start('reply')));
  const run = async (round: number) => {
    const batches = await Promise.all(
      workers.map((_, worker) =>
        Promise.all([0, 1, 2].map((i) => on.put(saying(`say 2 times (${round}.${worker}.${i})`)))),
      ),
    );
    await Promise.all(
      workers.map((worker: Lambda, i) => worker.invoke(inserted(...(batches[i] ?? [])))),
    );
    return batches.flat();
  };
  await run(0);
  expect(on.vvchat.requests.filter((it) => it === 'token')).toHaveLength(1);
  on.clock.advance(61_000);
  let rejected: string | undefined;
  let sends = 0;
  on.vvchat.intervene = ({ operation, url }) => {
    if (operation !== 'send') return undefined;
    const token = new URL(url, on.vvchat.url).searchParams.get('token') ?? '';
    // Each batch has sent something by then.
    if (++sends === 10) rejected = token;
    return token === rejected
      ? respondingWith(400, { err_code: 400, err_msg: 'token wrong or expired' })
      : undefined;
  };
  for (const key of await run(1)) {
    expect(await on.read(key)).toMatchObject({ status: 'replied', claims: 1 });
  }
  expect(on.vvchat.requests.filter((it) => it === 'token')).toHaveLength(2);
  const sent = on.sent('say 2 times (1.');
  expect(sent).toHaveLength(30);
  expect(new Set(sent).size).toBe(30);
});
