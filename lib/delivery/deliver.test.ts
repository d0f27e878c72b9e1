import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { beforeCalls, Clock } from '../../test/engine.ts';
import { documented } from '../../test/fixtures.ts';
import { startTestHarness, type TestHarness } from '../../test/harness.ts';
import { countedDuring } from '../../test/metrics.ts';
import { passing, resetting, respondingWith } from '../../test/proxy.ts';
import { answering, echo, silently, three } from '../../test/robots.ts';
import { iso, updateIf } from '../aws/table.ts';
import { defineRobot, type Robot } from '../define-robot.ts';
import { type Item, keyOf } from '../inbox/item.ts';
import type { InboxTable } from '../inbox/table.ts';
import * as inbox from '../inbox/transitions.ts';
import { closeWebview, openWebview, sendText } from '../vvchat/command.ts';
import { deliver, deliverNew } from './deliver.ts';
import { type Delivery, logOutcome, summaryOf } from './delivery.ts';

const clock = new Clock();
let around: TestHarness;
const log = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };

beforeAll(async () => {
  around = await startTestHarness(clock);
});
afterAll(() => around[Symbol.asyncDispose]());
beforeEach(() => {
  around.vvchat.carried.length = 0;
  around.vvchat.requests.length = 0;
  for (const level of ['info', 'warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation(log[level].mockReset());
  }
});

/** Everything that VVChat was made to say. */
const sentTexts = () => around.vvchat.carried.map(({ params }) => params.text);
const sends = () => around.vvchat.requests.filter((endpoint) => endpoint === 'send').length;
const later = (milliseconds: number) => iso(clock.now() + milliseconds);

const reply = (item: Item, robot: Robot, changes: Partial<Delivery> = {}) =>
  deliverNew({ ...around.delivery(robot), ...changes }, item);

const retry = async (item: Item, robot: Robot) =>
  deliver(around.delivery(robot), await inbox.claim(around.inbox, await around.read(item)));

describe('a new row', () => {
  test('is answered and settled', async () => {
    const item = await around.put(documented.at);
    expect(await reply(item, echo)).toBe('replied');
    expect(around.vvchat.carried).toEqual([
      {
        robot_no: 'xds2323',
        app_id: 'test',
        message: {
          type: 'cmd',
          session_open_id: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2',
          session_type: '2',
          to_type: '2',
          to: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2',
          content: { cmd: 'send-text', params: '{"text":"您好"}' },
        },
        params: { text: '您好' },
      },
    ]);
    const { due_shard, next_attempt_at, ...rest } = item;
    expect(await around.read(item)).toEqual({
      ...rest,
      status: 'replied',
      claims: 1,
      write_id: expect.any(String),
      commands: '[{"cmd":"send-text","params":{"text":"您好"}}]',
      answered_at: later(0),
      sent: 1,
      replied_at: later(0),
      expires_at: Math.ceil(clock.now() / 1_000) + 30 * 86_400,
    });
    expect(log.info).toHaveBeenCalledExactlyOnceWith({
      message: 'inbox row replied',
      event_id: item.event_id,
    });
  });

  test('gives the robot the fields of the event, and no more', async () => {
    const seen: unknown[] = [];
    const item = await around.put();
    await reply(
      item,
      silently((context) => seen.push(context)),
    );
    expect(seen).toEqual([
      {
        event: 'at',
        session: { session_open_id: item.session_open_id, session_type: '2' },
        robot: {
          app_id: 'test',
          open_id: 'lJsDBB01QzGpBKOC7uaZB6D0QGZWBMCS',
          robot_no: 'xds2323',
        },
        trigger: { target: 'user', open_id: 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU' },
        eventId: `${item.event_id}-${Date.parse(item.received_at)}`,
        attempt: 1,
        text: item.text,
        match: expect.anything(),
        group: expect.any(Function),
        receivedAt: new Date(item.received_at),
        signal: expect.any(AbortSignal),
      },
    ]);
  });

  test('of another event goes to its handler', async () => {
    const item = await around.put(documented.join);
    const welcome = defineRobot({ 'join-group-for-invite': () => sendText('大家好') });
    expect(await reply(item, welcome)).toBe('replied');
    expect(sentTexts()).toEqual(['大家好']);
  });

  test('without an answer is ignored', async () => {
    const item = await around.put();
    expect(await reply(item, defineRobot({}))).toBe('ignored');
    expect(await around.read(item)).toMatchObject({ status: 'ignored', claims: 1 });
    expect(sends()).toBe(0);
  });

  test('has its commands sent in their order', async () => {
    const item = await around.put();
    const url = 'https://example.com/';
    const robot = answering(() => [
      sendText('1'),
      openWebview({ height: '50%', url }),
      closeWebview(),
    ]);
    expect(await reply(item, robot)).toBe('replied');
    expect(around.vvchat.carried.map(({ message }) => message.content.cmd)).toEqual([
      'send-text',
      'webview-group-open',
      'webview-group-close',
    ]);
    expect(await around.read(item)).toMatchObject({ sent: 3 });
  });

  test('that does not exist is absent', async () => {
    expect(await reply({ ...(await around.put()), event_id: 'x' }, echo)).toBe('absent');
  });

  test('that another worker has claimed or settled is left alone', async () => {
    const item = await around.put();
    await reply(item, echo);
    expect(await reply(item, echo)).toBe('taken');
    const other = await around.put();
    clock.advance(120_000);
    await inbox.claim(around.inbox, other);
    expect(await reply(other, echo)).toBe('taken');
    expect(sends()).toBe(1);
  });

  test('that arrives twice at once is answered once', async () => {
    const item = await around.put();
    const outcomes = await Promise.all([reply(item, three), reply(item, three)]);
    expect(outcomes.sort()).toEqual(['lost', 'replied']);
    expect(sentTexts()).toEqual(['1', '2', '3']);
  });

  test('that arrives late has its lease renewed before the robot is called', async () => {
    const item = await around.put();
    clock.advance(45_000);
    const robot = answering(async () => {
      expect(await around.read(item)).toMatchObject({
        claims: 0,
        next_attempt_at: later(120_000),
      });
      clock.advance(57_000);
      return sendText('at last');
    });
    expect(await reply(item, robot)).toBe('replied');
    expect(sentTexts()).toEqual(['at last']);
  });

  test('has its lease renewed before a send that could outlive it', async () => {
    const item = await around.put();
    const robot = answering(() => {
      clock.advance(86_000);
      return sendText('slow');
    });
    expect(await reply(item, robot)).toBe('replied');
    expect(sentTexts()).toEqual(['slow']);
  });

  test('whose lease was taken while the robot answered is lost, and nothing is sent', async () => {
    const item = await around.put();
    const robot = answering(async () => {
      clock.advance(120_000);
      await inbox.claim(around.inbox, item);
      return sendText('too late');
    });
    expect(await reply(item, robot)).toBe('lost');
    expect(sends()).toBe(0);
  });
});

describe('a robot', () => {
  const throwing = (error: unknown) =>
    answering(() => {
      throw error;
    });

  test('that throws is called again; its message is logged and counted, and not stored', async () => {
    const item = await around.put();
    const counted = await countedDuring(async () => {
      expect(await reply(item, throwing(new RangeError('its message')))).toBe('postponed');
    });
    expect(counted).toEqual([{ RobotErrors: 1 }]);
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      claims: 1,
      robot_calls: 1,
      last_error: 'the robot threw RangeError',
      next_attempt_at: later(60_000),
    });
    expect(JSON.stringify(log.error.mock.calls)).toMatch(/deliver\.test\.ts/);
    expect(log.error.mock.calls).toEqual([
      [
        {
          message: 'the robot failed to answer',
          event_id: item.event_id,
          route: 'at[0]',
          error: 'RangeError',
          detail: 'its message',
          at: expect.any(Array),
        },
      ],
    ]);
    expect(JSON.stringify(await around.read(item))).not.toMatch(/its message/);
    clock.advance(60_000);
    expect(await retry(item, echo)).toBe('replied');
    expect(sentTexts()).toEqual([item.text]);
  });

  test('that throws three times fails the row', async () => {
    const item = await around.put();
    const outcomes = [await reply(item, throwing('x'))];
    for (const _ of [2, 3]) {
      clock.advance(300_000);
      outcomes.push(await retry(item, throwing('x')));
    }
    expect(outcomes).toEqual(['postponed', 'postponed', 'failed']);
    expect(await around.read(item)).toMatchObject({
      status: 'failed',
      robot_calls: 3,
      claims: 3,
      last_error: 'the robot threw string',
    });
  });

  test('gets the number of the attempt', async () => {
    const item = await around.put();
    const attempts: number[] = [];
    const robot = answering(({ attempt: nth }) => {
      attempts.push(nth);
      throw new Error('not yet');
    });
    await reply(item, robot);
    clock.advance(300_000);
    await retry(item, robot);
    expect(attempts).toEqual([1, 2]);
  });

  test('that misuses a builder has the reason stored', async () => {
    const item = await around.put();
    await reply(
      item,
      answering(() => sendText('')),
    );
    expect(await around.read(item)).toMatchObject({
      status: 'failed',
      last_error:
        'InvalidCommandError: sendText: the text is empty; pass at least one visible character.',
    });
  });

  test('that opens a web view in a one-to-one chat fails the row before anything is sent', async () => {
    const event = structuredClone(documented.at);
    Object.assign(event.data.session, { session_open_id: 'person', session_type: '1' });
    const item = await around.put(event);
    const robot = answering(() => [sendText('look'), closeWebview()]);
    expect(await reply(item, robot)).toBe('failed');
    expect(await around.read(item)).toMatchObject({
      status: 'failed',
      last_error:
        'InvalidCommandError: webview-group-close: only groups have a web view; answer with a text here.',
    });
    expect(sends()).toBe(0);
  });

  test('that takes too long is aborted, and its late answer dropped', async () => {
    const item = await around.put();
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const robot = answering(async ({ signal }) => {
      await new Promise((aborted) => signal.addEventListener('abort', aborted));
      resolve(signal.reason);
      throw signal.reason;
    });
    const outcome = await reply(item, robot, { deadline: clock.now() + 30_050 });
    expect(outcome).toBe('postponed');
    expect(await promise).toMatchObject({ name: 'RobotTimeoutError' });
    expect(await around.read(item)).toMatchObject({
      robot_calls: 1,
      last_error: 'RobotTimeoutError: The robot took over 0.05 s to answer at[0].',
    });
    expect(sends()).toBe(0);
  });
});

test('a robot has as much time as its setting says', async () => {
  const item = await around.put();
  const robot = answering(() => new Promise<never>(() => {}));
  expect(await reply(item, robot, { robotMs: 50 })).toBe('postponed');
  expect(await around.read(item)).toMatchObject({
    robot_calls: 1,
    last_error: 'RobotTimeoutError: The robot took over 0.05 s to answer at[0].',
  });
});

test('a row for which the function has no time left is due at once, and counts no call of the robot', async () => {
  const item = await around.put();
  expect(await reply(item, echo, { deadline: clock.now() + 30_000 })).toBe('postponed');
  expect(await around.read(item)).toMatchObject({
    claims: 1,
    robot_calls: 0,
    last_error: 'the function had no time left',
    next_attempt_at: later(0),
  });
  expect(sends()).toBe(0);
});

describe('a send', () => {
  test.each([
    ['503', respondingWith(503), 'VVChat answered 503', 60_000],
    ['429', respondingWith(429), 'VVChat answered 429', 60_000],
    [
      '429 for 90 s',
      respondingWith(429, '', { 'Retry-After': '90' }),
      'VVChat answered 429',
      90_000,
    ],
    ['a redirect', respondingWith(302), 'VVChat answered 302', 60_000],
  ])('that VVChat answers with %s is retried later', async (_, fault, last_error, delay) => {
    const item = await around.put();
    around.vvchat.fault('send', fault);
    expect(await reply(item, echo)).toBe('postponed');
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      last_error,
      sent: 0,
      next_attempt_at: later(delay),
    });
    expect(await around.read(item)).not.toHaveProperty('unknown');
    clock.advance(delay);
    expect(await retry(item, echo)).toBe('replied');
    expect(sentTexts()).toEqual([item.text]);
  });

  test('that fails in the middle resumes where it stopped, without another call of the robot', async () => {
    const item = await around.put();
    around.vvchat.fault('send', respondingWith(200));
    around.vvchat.fault('send', respondingWith(503));
    expect(await reply(item, three)).toBe('postponed');
    expect(await around.read(item)).toMatchObject({ sent: 1, status: 'pending' });
    clock.advance(60_000);
    expect(
      await retry(
        item,
        answering(() => sendText('other')),
      ),
    ).toBe('replied');
    expect(sentTexts()).toEqual(['2', '3']);
    expect(await around.read(item)).toMatchObject({ sent: 3, status: 'replied', robot_calls: 0 });
  });

  test('of unknown outcome is repeated once, and the row lists it', async () => {
    const item = await around.put();
    around.vvchat.fault('send', resetting);
    expect(await reply(item, three)).toBe('postponed');
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      unknown: [0],
      last_error: expect.stringMatching(/^the request to VVChat broke off/),
    });
    clock.advance(60_000);
    expect(await retry(item, three)).toBe('replied');
    expect(sentTexts()).toEqual(['1', '2', '3']);
    expect(await around.read(item)).toMatchObject({
      status: 'replied',
      unknown: [0],
      last_error: 'outcome unknown',
    });
  });

  test('of unknown outcome is not repeated twice', async () => {
    const item = await around.put();
    around.vvchat.fault('send', resetting);
    around.vvchat.fault('send', resetting);
    await reply(item, echo);
    clock.advance(60_000);
    expect(await retry(item, echo)).toBe('failed');
    expect(await around.read(item)).toMatchObject({
      status: 'failed',
      last_error: 'outcome unknown',
    });
    expect(sends()).toBe(2);
  });

  test('that VVChat refuses fails the row, with the message of VVChat', async () => {
    const refusal = respondingWith(400, { err_code: 400, err_msg: 'no such session' });
    clock.advance(60_000);
    const item = await around.put();
    around.vvchat.fault('send', refusal, refusal);
    expect(await reply(item, three)).toBe('failed');
    expect(await around.read(item)).toMatchObject({
      status: 'failed',
      last_error: 'VVChat answered 400 (err_code 400): no such session',
      sent: 0,
    });
    expect(around.vvchat.requests).toEqual(['send', 'token', 'send']);
    expect(JSON.stringify(log.warn.mock.calls)).not.toMatch(/no such session/);
  });

  test('that VVChat refuses with a new token is put off once, as the token may be the reason', async () => {
    const refusal = respondingWith(400, { err_code: 400, err_msg: 'token invalid' });
    await reply(await around.put(), echo);
    const [item, other] = [await around.put(), await around.put()];
    for (const it of [item, other]) {
      around.vvchat.fault('send', refusal);
      expect(await reply(it, echo)).toBe('postponed');
      expect(await around.read(it)).toMatchObject({ status: 'pending', refused: 0 });
    }
    clock.advance(59_000);
    await updateIf(around.inbox, keyOf(other), { next_attempt_at: later(0) }, [
      'attribute_exists(event_id)',
    ]);
    around.vvchat.fault('send', refusal);
    expect(await retry(other, echo)).toBe('failed');
    clock.advance(1_000);
    around.vvchat.fault('send', refusal);
    expect(await retry(item, echo)).toBe('replied');
    expect(sentTexts().at(-1)).toBe(item.text);
  });

  test('that VVChat refuses with a new token is put off until the token is old enough to be replaced', async () => {
    const refusal = respondingWith(400, { err_code: 400, err_msg: 'token invalid' });
    clock.advance(7_200_000);
    const item = await around.put();
    around.vvchat.fault('send', refusal);
    // The shortest back-off.
    const table = { ...around.inbox, random: () => 0 };
    expect(await deliverNew(around.delivery(echo, table), item)).toBe('postponed');
    clock.advance(Date.parse((await around.read(item)).next_attempt_at) - clock.now());
    around.vvchat.fault('send', refusal);
    expect(await retry(item, echo)).toBe('replied');
  });

  test('that VVChat answers with 500 is listed as of unknown outcome, and retried like any other', async () => {
    const item = await around.put();
    around.vvchat.fault('send', respondingWith(500));
    expect(await reply(item, echo)).toBe('postponed');
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      last_error: 'VVChat answered 500',
      unknown: [0],
      next_attempt_at: later(60_000),
    });
    clock.advance(60_000);
    around.vvchat.fault('send', respondingWith(500));
    expect(await retry(item, echo)).toBe('postponed');
    clock.advance(120_000);
    expect(await retry(item, echo)).toBe('replied');
    expect(await around.read(item)).toMatchObject({ unknown: [0], last_error: 'outcome unknown' });
  });

  test('with a token that VVChat no longer accepts gets another token', async () => {
    const delivery = around.delivery(echo);
    await deliverNew(delivery, await around.put());
    clock.advance(60_000);
    const item = await around.put();
    around.vvchat.fault('send', respondingWith(400, { err_code: 400, err_msg: 'token expired' }));
    expect(await deliverNew({ ...delivery, deadline: clock.now() + 90_000 }, item)).toBe('replied');
    expect(sentTexts()).toHaveLength(2);
    expect(around.vvchat.requests.slice(-3)).toEqual(['send', 'token', 'send']);
  });

  describe('that VVChat answered 200 with an err_code', () => {
    const doubtful = respondingWith(200, { err_code: 40_001, err_msg: 'token expired' });
    const withOldToken = async () => {
      await reply(await around.put(), echo);
      clock.advance(61_000);
    };

    test('gets another token, and is listed as of unknown outcome before it is sent again', async () => {
      await withOldToken();
      const item = await around.put();
      const listed: unknown[] = [];
      around.vvchat.fault('send', doubtful, async (exchange) => {
        listed.push((await around.read(item)).unknown);
        await passing(exchange);
      });
      expect(await reply(item, echo)).toBe('replied');
      expect(around.vvchat.requests.slice(-3)).toEqual(['send', 'token', 'send']);
      expect(listed).toEqual([[0]]);
      expect(await around.read(item)).toMatchObject({
        status: 'replied',
        unknown: [0],
        last_error: 'outcome unknown',
      });
    });

    test('with a young token is put off once, lists the command, and then fails', async () => {
      await reply(await around.put(), echo);
      const item = await around.put();
      around.vvchat.fault('send', doubtful);
      expect(await reply(item, echo)).toBe('postponed');
      expect(await around.read(item)).toMatchObject({
        last_error: 'VVChat answered 200 (err_code 40001): token expired',
        unknown: [0],
      });
      clock.advance(60_000);
      const before = sends();
      around.vvchat.fault('send', doubtful);
      expect(await retry(item, echo)).toBe('failed');
      expect(sends() - before).toBe(1);
    });

    test('is listed as of unknown outcome even if no other token can be had', async () => {
      await withOldToken();
      const item = await around.put();
      around.vvchat.fault('send', doubtful);
      around.vvchat.fault('token', respondingWith(500));
      expect(await reply(item, echo)).toBe('postponed');
      expect(await around.read(item)).toMatchObject({
        last_error: 'no token: VVChat answered 500',
        unknown: [0],
      });
      clock.advance(60_000);
      expect(await retry(item, echo)).toBe('replied');
    });

    test('is not sent a third time', async () => {
      await withOldToken();
      const item = await around.put();
      around.vvchat.fault('send', resetting);
      expect(await reply(item, echo)).toBe('postponed');
      clock.advance(180_000);
      const before = sends();
      around.vvchat.fault('send', doubtful);
      expect(await retry(item, echo)).toBe('failed');
      expect(sends() - before).toBe(1);
      expect(await around.read(item)).toMatchObject({ status: 'failed', unknown: [0] });
    });
  });

  test('gets a third token when the second, of another worker, is refused, and is old', async () => {
    const delivery = around.delivery(echo);
    await deliverNew(delivery, await around.put());
    clock.advance(60_000);
    // The container has just looked at the table, and does not yet know of the other token.
    await delivery.tokens.get('test');
    const tokens = around.engine.table('tokens', clock);
    await updateIf(tokens, { app_id: 'test' }, { token: 'of another worker' }, [
      'attribute_exists(app_id)',
    ]);
    const item = await around.put();
    around.vvchat.fault('send', respondingWith(400, { err_code: 400, err_msg: 'token expired' }));
    around.vvchat.requests.length = 0;
    const outcome = await deliverNew({ ...delivery, deadline: clock.now() + 90_000 }, item);
    expect(outcome).toBe('replied');
    expect(around.vvchat.requests).toEqual(['send', 'send', 'token', 'send']);
  });

  test('stops waiting for a token while the function still has time', async () => {
    const item = await around.put();
    const never = { get: () => new Promise<never>(() => {}), replace: async () => undefined };
    const robot = answering(() => {
      clock.advance(61_000);
      return sendText('x');
    });
    const delivery = { ...around.delivery(robot), tokens: never };
    expect(await deliverNew({ ...delivery, deadline: clock.now() + 80_050 }, item)).toBe(
      'postponed',
    );
    expect(await around.read(item)).toMatchObject({ last_error: 'the function had no time left' });
  });

  test('without a token is retried later', async () => {
    const event = structuredClone(documented.at);
    event.data.robot.app_id = 'no-such-app';
    const item = await around.put(event);
    expect(await reply(item, echo)).toBe('postponed');
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      last_error: 'no token: VVChat answered 400 (err_code 400)',
    });
    expect(sends()).toBe(0);
  });

  test('for which the function has no time left leaves the row due at once', async () => {
    const item = await around.put();
    const robot = answering(() => {
      clock.advance(25_000);
      return sendText('x');
    });
    expect(await reply(item, robot, { deadline: clock.now() + 34_999 })).toBe('postponed');
    expect(await around.read(item)).toMatchObject({
      status: 'pending',
      last_error: 'the function had no time left',
      next_attempt_at: later(0),
    });
    expect(sends()).toBe(0);
  });

  test('does not begin when the function could end before counting it', async () => {
    const item = await around.put();
    const delivery = around.delivery(three);
    const tokens = {
      ...delivery.tokens,
      get: async (app_id: string) => {
        const token = await delivery.tokens.get(app_id);
        clock.advance(20_000);
        return token;
      },
    };
    const deadline = clock.now() + 60_000;
    expect(await deliverNew({ ...delivery, tokens, deadline }, item)).toBe('postponed');
    expect(sentTexts()).toEqual(['1', '2']);
    expect(await around.read(item)).toMatchObject({
      sent: 2,
      last_error: 'the function had no time left',
      next_attempt_at: later(0),
    });
  });

  test('does not begin when renewing the lease took the time that was left', async () => {
    const item = await around.put();
    const stored = await inbox.storeReply(around.inbox, inbox.unclaimed(item), [sendText('late')]);
    await inbox.postponeSending(around.inbox, stored, 'x', { none: true });
    const lease = await inbox.claim(around.inbox, await around.read(item));
    clock.advance(inbox.leaseLeft(around.inbox, lease) - 4_000);
    const client = around.engine.newClient();
    let writes = 0;
    // The first write marks the row, the second renews its lease.
    beforeCalls(client, (operation) => {
      if (operation === 'UpdateItem' && ++writes === 2) clock.advance(12_000);
    });
    const delivery = around.delivery(echo, { ...around.inbox, client });
    expect(await deliver({ ...delivery, deadline: clock.now() + 30_000 }, lease)).toBe('postponed');
    expect(sends()).toBe(0);
    const row = await around.read(item);
    expect(row).toMatchObject({
      status: 'pending',
      sent: 0,
      last_error: 'the function had no time left',
      next_attempt_at: later(0),
    });
    expect(row).not.toHaveProperty('phase');
    expect(row).not.toHaveProperty('unknown');
  });

  test('without time left writes nothing but the postponement', async () => {
    const item = await around.put();
    const stored = await inbox.storeReply(around.inbox, inbox.unclaimed(item), [sendText('late')]);
    await inbox.postponeSending(around.inbox, stored, 'x', { none: true });
    const lease = await inbox.claim(around.inbox, await around.read(item));
    const client = around.engine.newClient();
    const writes: string[] = [];
    beforeCalls(client, (operation) => operation === 'UpdateItem' && writes.push(operation));
    const delivery = around.delivery(echo, { ...around.inbox, client });
    // A token that is at hand takes no time.
    await delivery.tokens.get(item.app_id);
    expect(await deliver({ ...delivery, deadline: clock.now() + 10_000 }, lease)).toBe('postponed');
    expect(writes).toHaveLength(1);
    expect(sends()).toBe(0);
  });
});

describe('a failure of DynamoDB', () => {
  /** A table of which the given writes fail, counted from 1. */
  const failingAt = (...nth: number[]): InboxTable => {
    const client = around.engine.newClient();
    let writes = 0;
    beforeCalls(client, (operation) => {
      if (operation === 'UpdateItem' && nth.includes(++writes)) {
        throw Object.assign(new Error('a secret'), { name: 'InternalServerError' });
      }
    });
    return { ...around.inbox, client };
  };

  const every = Array.from({ length: 100 }, (_, i) => i + 1);

  test('for a moment costs no second call of the robot', async () => {
    const item = await around.put();
    const asked: string[] = [];
    const robot = answering(({ text }) => {
      asked.push(text);
      return sendText(text);
    });
    expect(await deliverNew(around.delivery(robot, failingAt(1)), item)).toBe('replied');
    expect(asked).toHaveLength(1);
  });

  test('before the answer is stored sends nothing', async () => {
    const item = await around.put();
    const ticking = setInterval(() => clock.advance(5_000), 50);
    const outcome = await deliverNew(around.delivery(echo, failingAt(...every)), item).finally(() =>
      clearInterval(ticking),
    );
    expect(outcome).toBe('stalled');
    expect(await around.read(item)).toEqual(item);
    expect(sends()).toBe(0);
    expect(JSON.stringify(log.warn.mock.calls)).toMatch(/InternalServerError/);
    expect(JSON.stringify(log.warn.mock.calls)).not.toMatch(/a secret/);
  });

  test('before a send leaves a row that becomes due', async () => {
    const item = await around.put();
    const robot = answering(() => {
      clock.advance(86_000);
      return sendText('x');
    });
    expect(await deliverNew(around.delivery(robot, failingAt(2)), item)).toBe('stalled');
    expect(await around.read(item)).toMatchObject({ claims: 1, phase: 'sending' });
    expect(sends()).toBe(0);
  });

  test('after a send is overcome by repeating the write', async () => {
    const item = await around.put();
    expect(await deliverNew(around.delivery(three, failingAt(2, 3)), item)).toBe('replied');
    expect(sentTexts()).toEqual(['1', '2', '3']);
    expect(await around.read(item)).toMatchObject({ status: 'replied', sent: 3 });
  });

  test('after a send, for longer than the lease, leaves the next worker an unknown outcome', async () => {
    const item = await around.put();
    const ticking = setInterval(() => clock.advance(5_000), 50);
    const outcome = await deliverNew(
      around.delivery(three, failingAt(...every.slice(1))),
      item,
    ).finally(() => clearInterval(ticking));
    expect(outcome).toBe('stalled');
    expect(await around.read(item)).toMatchObject({ sent: 0, phase: 'sending' });
    clock.advance(120_000);
    expect(await retry(item, three)).toBe('replied');
    expect(sentTexts()).toEqual(['1', '1', '2', '3']);
    expect(await around.read(item)).toMatchObject({ unknown: [0], last_error: 'outcome unknown' });
  });
});

test('logOutcome logs an error of one row, and rejects no other', async () => {
  const key = { session_open_id: 's', event_id: 'e' };
  expect(await logOutcome(key, () => Promise.reject(new inbox.LeaseLostError()))).toBe('lost');
  expect(await logOutcome(key, () => Promise.reject(new TypeError('x')))).toBe('stalled');
  expect(await logOutcome(key, async () => undefined)).toBeUndefined();
  expect(await logOutcome(key, async () => 'skipped')).toBe('skipped');
  expect(log.info).not.toHaveBeenCalled();
});

test('summaryOf counts rows by outcome', () => {
  expect(summaryOf(['replied', 'lost', 'replied'])).toEqual({ replied: 2, lost: 1 });
});
