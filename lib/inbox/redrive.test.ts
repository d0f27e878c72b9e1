import { describe, expect, test } from 'vitest';
import { beforeCalls, loseFirstAnswer } from '../../test/engine.ts';
import { saying } from '../../test/fixtures.ts';
import { resetting, respondingWith } from '../../test/proxy.ts';
import { answering, echo, three } from '../../test/robots.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import { iso, type Table } from '../aws/table.ts';
import { deliverNew } from '../delivery/deliver.ts';
import { deliverDue } from '../delivery/retry.ts';
import { sendText } from '../vvchat/command.ts';
import type { Event } from '../vvchat/event.ts';
import type { Item } from './item.ts';
import { redrive } from './redrive.ts';
import * as inbox from './transitions.ts';

const on = useTestHarness();

/** A minute; a deadline that far away. */
const ask = (request: unknown, table: Table = on.inbox) =>
  redrive(table, request, on.clock.now() + 60_000);

/** A row that failed, each a second after the one before. */
async function failed(event?: Event, last_error = 'VVChat answered 400') {
  const item = await on.put(event);
  on.clock.advance(1_000);
  await inbox.fail(on.inbox, inbox.unclaimed(item), last_error);
  return item;
}

const failedMany = async (length: number) => {
  const items: Item[] = [];
  for (let i = 0; i < length; i++) items.push(await failed());
  return items;
};

const run = (robot = echo) => deliverDue(on.delivery(robot));

describe('a failed row', () => {
  test('is put back as new, except for its claims, and is answered', async () => {
    const item = await failed();
    const before = await on.read(item);
    on.clock.advance(3_600_000);
    expect(await ask({})).toEqual({ redriven: 1, outcome_unknown: 0, others: 0 });
    const { expires_at: _, ...rest } = before;
    expect(await on.read(item)).toEqual({
      ...rest,
      status: 'pending',
      robot_calls: 0,
      claims: 1,
      write_id: expect.not.stringMatching(before.write_id),
      history: expect.stringMatching(/"redriven"}\]$/),
      due_shard: item.due_shard,
      next_attempt_at: iso(on.clock.now()),
      give_up_at: iso(on.clock.now() + 24 * 3_600_000),
    });
    expect(await run()).toEqual({ replied: 1 });
    expect(on.sentTexts()).toEqual([item.text]);
    expect(await on.read(item)).toMatchObject({ status: 'replied', claims: 2 });
  });

  test('resumes the stored answer where it stopped', async () => {
    const item = await on.put();
    const robot = three;
    on.vvchat.fault('send', respondingWith(200), respondingWith(400), respondingWith(400));
    expect(await deliverNew(on.delivery(robot), item)).toBe('postponed');
    on.clock.advance(59_999);
    expect(await run()).toEqual({});
    on.clock.advance(1);
    on.vvchat.fault('send', respondingWith(400));
    expect(await run()).toEqual({ failed: 1 });
    expect(await on.read(item)).toMatchObject({ status: 'failed', sent: 1 });
    await ask({});
    expect(await run()).toEqual({ replied: 1 });
    expect(on.sentTexts()).toEqual(['2', '3']);
  });

  test('is listed without its text, and not changed', async () => {
    const items = [await failed(), await failed(saying('a secret'), 'gave up: no token')];
    const before = await Promise.all(items.map(on.read));
    const answer = await ask({ list: true });
    expect(answer).toEqual({
      listed: 2,
      outcome_unknown: 0,
      others: 0,
      rows: before.map(({ session_open_id, event_id, next_attempt_at, last_error }) => ({
        session_open_id,
        event_id,
        app_id: 'test',
        failed_at: next_attempt_at,
        sent: 0,
        last_error,
      })),
    });
    expect(JSON.stringify(answer)).not.toMatch(/a secret/);
    expect(await Promise.all(items.map(on.read))).toEqual(before);
  });

  test('of unknown outcome stays failed unless requested', async () => {
    const item = await on.put();
    on.vvchat.fault('send', resetting, resetting);
    await deliverNew(on.delivery(answering(() => sendText('once'))), item);
    on.clock.advance(3_600_000);
    expect(await run()).toEqual({ failed: 1 });
    expect(await ask({})).toEqual({ redriven: 0, outcome_unknown: 1, others: 0 });
    expect(await ask({ list: true, outcome_unknown: true })).toMatchObject({
      listed: 1,
      rows: [{ last_error: 'outcome unknown', unknown: [0] }],
    });
    expect(await ask({ outcome_unknown: true })).toMatchObject({ redriven: 1 });
    expect(await run()).toEqual({ replied: 1 });
    expect(on.sentTexts()).toEqual(['once']);
  });

  test('that another redrive puts back meanwhile is not counted', async () => {
    await failed();
    const table = { ...on.inbox, client: on.engine.newClient() };
    beforeCalls(table.client, (operation) => operation === 'UpdateItem' && ask({}));
    expect(await ask({}, table)).toEqual({ redriven: 0, outcome_unknown: 0, others: 1 });
  });

  test('that has not stayed failed is not listed', async () => {
    await failed();
    const table = { ...on.inbox, client: on.engine.newClient() };
    beforeCalls(table.client, (operation) => operation === 'GetItem' && ask({}));
    expect(await ask({ list: true }, table)).toEqual({
      listed: 0,
      outcome_unknown: 0,
      others: 1,
      rows: [],
    });
  });

  test('that DynamoDB fails to put back fails the call, and the same call resumes', async () => {
    const items = [await failed(), await failed(saying('another'))];
    const table = { ...on.inbox, client: on.engine.newClient() };
    const refused = Object.assign(new Error('refused'), { name: 'AccessDeniedException' });
    let writes = 0;
    beforeCalls(table.client, async (operation) => {
      if (operation !== 'UpdateItem') return;
      if (++writes === 1) throw refused;
      await ask({ list: true });
    });
    await expect(ask({}, table)).rejects.toBe(refused);
    // The other one was put back by then, not a moment later.
    expect(await ask({})).toMatchObject({ redriven: 1 });
    for (const item of items) expect(await on.read(item)).toMatchObject({ status: 'pending' });
  });
});

describe('a failed row with a stored answer', () => {
  const counted = (sent: number) => sendText(`answer ${sent}`);

  test('is answered anew if the robot is to be asked again and nothing was sent', async () => {
    const item = await on.put();
    const stored = await inbox.storeReply(on.inbox, inbox.unclaimed(item), [counted(1)]);
    await inbox.fail(on.inbox, stored, 'VVChat answered 400');
    expect(await ask({ ask_again: true })).toEqual({
      redriven: 1,
      outcome_unknown: 0,
      partly_sent: 0,
      others: 0,
    });
    expect(await on.read(item)).not.toHaveProperty('commands');
    expect(await deliverDue(on.delivery(answering(() => counted(2))))).toEqual({ replied: 1 });
    expect(on.sentTexts()).toEqual(['answer 2']);
  });

  test('stays failed if a part of it was sent, or may have been', async () => {
    const partly = await on.put();
    const stored = await inbox.storeReply(on.inbox, inbox.unclaimed(partly), [1, 2].map(counted));
    await inbox.fail(on.inbox, await inbox.markSent(on.inbox, stored), 'VVChat answered 400');
    const unknown = await on.put();
    await inbox.storeReply(on.inbox, inbox.unclaimed(unknown), [counted(1)]);
    on.clock.advance(25 * 3_600_000);
    expect(await run()).toEqual({ failed: 1 });
    expect(await ask({ ask_again: true, outcome_unknown: true })).toEqual({
      redriven: 0,
      outcome_unknown: 0,
      partly_sent: 2,
      others: 0,
    });
    expect(await on.read(partly)).toMatchObject({ status: 'failed', sent: 1 });
    expect(await on.read(unknown)).toMatchObject({ status: 'failed', unknown: [0] });
  });
});

test('a row that was put back and has failed again is not acknowledged as the one that was read', async () => {
  const item = await failed();
  const seen = await on.read(item);
  await ask({});
  await inbox.fail(on.inbox, inbox.unclaimed(await on.read(item)), 'another reason');
  expect(await inbox.acknowledge(on.inbox, seen)).toBe(false);
  expect(await on.read(item)).not.toHaveProperty('acknowledged_at');
});

describe('an acknowledged row', () => {
  test('stays failed, and leaves the list of failed rows for one of its own', async () => {
    const [seen, fresh] = [await failed(), await failed()];
    const to = iso(on.clock.now() - 1_000);
    expect(await ask({ acknowledge: true, to })).toEqual({
      acknowledged: 1,
      outcome_unknown: 0,
      others: 0,
    });
    const ids = async (request: object) =>
      (await ask({ list: true, ...request })).rows?.map(({ event_id }) => event_id);
    expect(await ids({})).toEqual([fresh.event_id]);
    expect(await ids({ acknowledged: true })).toEqual([seen.event_id]);
    expect(await on.read(seen)).toMatchObject({
      status: 'failed',
      acknowledged_at: iso(on.clock.now()),
      expires_at: expect.any(Number),
    });
  });

  test('can be put back, and is listed as failed if it fails again', async () => {
    const item = await failed();
    await ask({ acknowledge: true });
    expect(await ask({})).toMatchObject({ redriven: 0 });
    expect(await ask({ acknowledged: true })).toMatchObject({ redriven: 1 });
    expect(await run(answering(() => sendText('')))).toEqual({ failed: 1 });
    expect(await ask({ list: true })).toMatchObject({ listed: 1 });
    expect(await on.read(item)).toMatchObject({ due_shard: `failed-${item.due_shard}` });
  });

  test('may be one whose outcome is unknown', async () => {
    await inbox.fail(
      on.inbox,
      inbox.unclaimed({ ...(await on.put()), unknown: [0] } as Item),
      'outcome unknown',
    );
    expect(await ask({ acknowledge: true })).toMatchObject({ acknowledged: 1 });
  });

  test('is not one that was put back meanwhile', async () => {
    const item = await failed();
    const table = { ...on.inbox, client: on.engine.newClient() };
    beforeCalls(table.client, (operation) => operation === 'UpdateItem' && ask({}));
    expect(await ask({ acknowledge: true }, table)).toMatchObject({ acknowledged: 0, others: 1 });
    expect(await on.read(item)).toMatchObject({ status: 'pending' });
  });

  test('is counted though the answer to its write was lost', async () => {
    await failed();
    const table = { ...on.inbox, client: on.engine.newClient() };
    const wasLost = loseFirstAnswer(table.client, 'UpdateItemCommand');
    expect(await ask({ acknowledge: true }, table)).toMatchObject({ acknowledged: 1 });
    expect(wasLost()).toBe(true);
  });
});

describe('a redrive of many rows', () => {
  test.each([
    [{ app_id: 'qiyunxin' }, 1],
    [{ app_id: 'nobody' }, 0],
    [{ session_open_id: 'another group' }, 1],
    [{ last_error: 'gave up' }, 1],
    [{ from: '2026-03-14T09:00:02Z' }, 2],
    [{ to: '2026-03-14T09:00:02.000Z' }, 2],
    [{ from: '2026-03-14T10:00:02+01:00', to: '2026-03-14T09:00:02Z' }, 1],
  ])('puts back those that %j selects: %i', async (request, redriven) => {
    const one = saying('1');
    one.data.robot.app_id = 'qiyunxin';
    const two = saying('2');
    two.data.session.session_open_id = 'another group';
    await failed(one);
    await failed(two);
    await failed(saying('3'), 'gave up: VVChat answered 503');
    expect(await ask(request)).toMatchObject({ redriven });
  });

  test('reads no more rows than its limit, and the next call goes on', async () => {
    const items = await failedMany(7);
    const seen: string[] = [];
    let after: string | undefined;
    for (const expected of [3, 3, 1]) {
      const answer = await ask({ list: true, limit: 3, ...(after && { after }) });
      expect(answer.listed).toBe(expected);
      seen.push(...(answer.rows ?? []).map(({ event_id }) => event_id));
      after = answer.after;
    }
    expect(after).toBeUndefined();
    expect(seen).toEqual(items.map(({ event_id }) => event_id));

    expect(await ask({ limit: 3 })).toMatchObject({ redriven: 3, after: expect.any(String) });
    expect(await ask({ limit: 4 })).toMatchObject({ redriven: 4, after: expect.any(String) });
    expect(await ask({ limit: 4 })).toEqual({ redriven: 0, outcome_unknown: 0, others: 0 });
    expect(await run()).toEqual({ replied: 7 });
  });

  test('does not put back a row again that fails again meanwhile', async () => {
    await failedMany(3);
    let after: unknown;
    for (const more of [true, true, true, false]) {
      const answer = await ask({
        limit: 1,
        to: '2027-01-01T00:00:00Z',
        ...(after !== undefined && { after }),
      });
      expect(answer).toMatchObject({ redriven: more ? 1 : 0 });
      on.clock.advance(1_000);
      if (more) expect(await run(answering(() => sendText('')))).toEqual({ failed: 1 });
      ({ after } = answer);
    }
    expect(after).toBeUndefined();
  });

  test('without time still puts some back, and returns where to go on', async () => {
    await failedMany(26);
    const { after, ...answer } = await redrive(on.inbox, {}, on.clock.now());
    expect(answer).toEqual({ redriven: 25, outcome_unknown: 0, others: 0 });
    expect(await ask({ after })).toMatchObject({ redriven: 1 });
  });

  test('returns where to go on when its time is up', async () => {
    await failedMany(30);
    const soon = on.clock.now() + 20_500;
    const slow = { ...on.inbox, client: on.engine.newClient() };
    let reads = 0;
    beforeCalls(slow.client, (operation) => {
      if (operation === 'GetItem' && ++reads === 25) on.clock.advance(1_000);
    });
    const { after, ...answer } = await redrive(slow, {}, soon);
    expect(answer).toEqual({ redriven: 25, outcome_unknown: 0, others: 0 });
    expect(await ask({ after })).toEqual({ redriven: 5, outcome_unknown: 0, others: 0 });
  });
});

test.each([
  [[], 'redrive must be an object, such as {} or {"list": true}.'],
  ['all', 'redrive must be an object, such as {} or {"list": true}.'],
  [null, 'redrive must be an object, such as {} or {"list": true}.'],
  [
    { lsit: true },
    'redrive.lsit is not known; there are list, limit, app_id, session_open_id, last_error, from, to, outcome_unknown, ask_again, acknowledge, acknowledged and after.',
  ],
  [{ limit: 0 }, 'redrive.limit must be a whole number from 1 to 1000.'],
  [{ limit: '5' }, 'redrive.limit must be a whole number from 1 to 1000.'],
  [{ limit: 1.5, list: 1 }, /list must be true or false.*limit must be a whole number/],
  [{ from: 'yesterday' }, 'redrive.from must be a time such as "2026-03-14T09:00:00Z".'],
  [{ from: '2026-02-31T00:00:00Z' }, 'redrive.from must be a time such as "2026-03-14T09:00:00Z".'],
  [{ from: '2026-03-14' }, 'redrive.from must be a time such as "2026-03-14T09:00:00Z".'],
  [{ from: '2026-03-14T09:00' }, 'redrive.from must be a time such as "2026-03-14T09:00:00Z".'],
  [{ from: 5 }, 'redrive.from must be a time such as "2026-03-14T09:00:00Z".'],
  [
    { from: '2026-03-14T09:00:00Z', to: '2026-03-14T08:00:00Z' },
    'redrive.from must not be later than redrive.to.',
  ],
  [{ app_id: '' }, 'redrive.app_id must not be empty.'],
  [{ after: 'x' }, 'redrive.after must be what an earlier answer had as "after".'],
  [{ after: 5 }, 'redrive.after must be what an earlier answer had as "after".'],
])('a redrive rejects %j', async (request, message) => {
  await expect(ask(request)).rejects.toThrow(message);
});
