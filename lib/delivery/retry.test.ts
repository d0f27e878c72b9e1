import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { beforeCalls, failToReadShard } from '../../test/engine.ts';
import { saying } from '../../test/fixtures.ts';
import { countedDuring } from '../../test/metrics.ts';
import { type Fault, resetting, respondingWith } from '../../test/proxy.ts';
import { answering, echo, silently } from '../../test/robots.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import { DUE_SHARDS, type Item } from '../inbox/item.ts';
import * as queries from '../inbox/queries.ts';
import { redrive } from '../inbox/redrive.ts';
import type { InboxTable } from '../inbox/table.ts';
import * as inbox from '../inbox/transitions.ts';
import { sendText } from '../vvchat/command.ts';
import { MAX_CONSECUTIVE_FAILURES } from './breaker.ts';
import { deliverNew } from './deliver.ts';
import { CONCURRENCY, deliverDue } from './retry.ts';

const on = useTestHarness();

/** Of the alarm `oldest-due`, in seconds. */
const OLDEST_DUE_THRESHOLD = Number(
  /OldestDueSeconds\s+Statistic: Maximum[\s\S]*?Threshold: (\d+)/.exec(
    readFileSync(new URL('../../resources/alarms.yml', import.meta.url), 'utf8'),
  )?.[1],
);

const sends = () => on.vvchat.requests.filter((endpoint) => endpoint === 'send').length;
const run = (robot = echo, table?: InboxTable) => deliverDue(on.delivery(robot, table));
const putMany = (length: number) => Promise.all(Array.from({ length }, () => on.put()));

test('a run over an empty inbox, or over rows that are not due yet, does nothing', async () => {
  expect(await run()).toEqual({});
  await on.put();
  on.clock.advance(119_999);
  expect(await run()).toEqual({});
});

test('a run answers what the stream left behind once it is due', async () => {
  const items = await putMany(30);
  on.clock.advance(120_000);
  expect(await run()).toEqual({ replied: 30 });
  expect(on.sentTexts().sort()).toEqual(items.map(({ text }) => text).sort());
  expect(await run()).toEqual({});
});

test('two runs at once send everything once', async () => {
  await putMany(30);
  on.clock.advance(120_000);
  const summaries = await Promise.all([run(), run()]);
  expect(summaries.map(({ replied = 0 }) => replied).reduce((a, b) => a + b)).toBe(30);
  expect(new Set(on.sentTexts()).size).toBe(30);
  expect(on.sentTexts()).toHaveLength(30);
});

test('a run has at most 100 rows in flight', async () => {
  await putMany(CONCURRENCY + 20);
  on.clock.advance(120_000);
  let asked = 0;
  let answered = 0;
  let most = 0;
  const full = Promise.withResolvers<void>();
  const robot = silently(async () => {
    most = Math.max(most, ++asked - answered);
    if (asked === CONCURRENCY) full.resolve();
    await full.promise;
    answered++;
  });
  expect(await run(robot)).toEqual({ ignored: CONCURRENCY + 20 });
  expect(most).toBe(CONCURRENCY);
});

/** Enqueues so many messages of a group of its own. */
const putIn = (session_open_id: string, length: number, text: string) =>
  Promise.all(
    Array.from({ length }, (_, i) => {
      const event = saying(`${text} ${i}`);
      event.data.session.session_open_id = session_open_id;
      return on.put(event);
    }),
  );

/** Has VVChat answer sends of one group with an error. */
const failGroup = (session_open_id: string, fault: Fault) => {
  on.vvchat.intervene = ({ operation, body }) =>
    operation === 'send' && `${body}`.includes(session_open_id) ? fault : undefined;
};

describe('another group', () => {
  test('is answered in the same run, however many rows of a group make the robot throw', async () => {
    await putIn('throwing', 130, 'bad');
    on.clock.advance(1);
    await putIn('innocent', 10, 'good');
    on.clock.advance(120_000);
    const robot = answering(({ text }) => {
      if (text.startsWith('bad')) throw new Error('x');
      return sendText(text);
    });
    expect(await run(robot)).toEqual({ replied: 10, postponed: 130 });
  });

  test('is answered in the same run while VVChat answers a group with 429, which is skipped', async () => {
    await putIn('throttled', 150, 'bad');
    await putIn('innocent', 10, 'good');
    on.clock.advance(120_000);
    failGroup('throttled', respondingWith(429));
    const summary = await run();
    expect(summary.replied).toBe(10);
    expect(summary.postponed).toBeLessThanOrEqual(CONCURRENCY + MAX_CONSECUTIVE_FAILURES);
    expect(summary.skipped).toBe(150 - (summary.postponed as number));
  });

  test('has its row delivered in the first round', async () => {
    await putIn('flood', 130, 'bad');
    await putIn('quiet', 1, 'good');
    on.clock.advance(120_000);
    const asked: string[] = [];
    await run(silently(({ session }) => asked.push(session.session_open_id)));
    expect(asked.indexOf('quiet')).toBeLessThanOrEqual(CONCURRENCY);
    expect(asked).toHaveLength(131);
  });
});

test('an app of which five groups fail in a row is skipped for the rest of the run, and no other app', async () => {
  const event = saying('of another app');
  event.data.robot.app_id = 'qiyunxin';
  const other = await on.put(event);
  for (let group = 0; group < CONCURRENCY + 30; group++) await putIn(`group ${group}`, 1, 'x');
  on.clock.advance(120_000);
  for (let i = 0; i < CONCURRENCY + 30; i++) on.vvchat.fault('send', respondingWith(503));
  const robot = answering(({ text }) => (text === other.text ? null : sendText(text)));
  const summary = await run(robot);
  expect(summary.ignored).toBe(1);
  expect(summary.postponed).toBeGreaterThanOrEqual(MAX_CONSECUTIVE_FAILURES);
  expect(summary.postponed).toBeLessThanOrEqual(CONCURRENCY + MAX_CONSECUTIVE_FAILURES);
  expect(summary.skipped).toBe(CONCURRENCY + 30 - (summary.postponed as number));
  expect(sends()).toBe(summary.postponed);
});

describe('a row whose command has one send left', () => {
  /** Of which the first send had an unknown outcome. */
  const unknown = async (session_open_id: string, text = 'once') => {
    const [item] = await putIn(session_open_id, 1, text);
    on.clock.advance(1);
    on.vvchat.fault('send', resetting);
    expect(await deliverNew(on.delivery(echo), item as Item)).toBe('postponed');
    return item as Item;
  };

  test('waits until VVChat has answered another row of its app', async () => {
    const item = await unknown('a');
    on.clock.advance(60_000);
    expect(await run()).toEqual({ skipped: 1 });
    expect(await on.read(item)).toMatchObject({ status: 'pending', claims: 1 });
    await putIn('b', 1, 'other');
    on.clock.advance(120_000);
    expect(await run()).toEqual({ replied: 2 });
    expect(await on.read(item)).toMatchObject({ status: 'replied', unknown: [0] });
  });

  test('waits until a worker of reply has had an answer of VVChat since', async () => {
    const delivery = on.delivery(echo);
    const [item, early, later] = [await on.put(), await on.put(), await on.put()];
    on.vvchat.fault('send', resetting);
    expect(await deliverNew(delivery, item)).toBe('postponed');
    on.clock.advance(30_000);
    // As early as this, an answer may be older by the clock of another worker.
    expect(await deliverNew(delivery, early)).toBe('replied');
    on.clock.advance(30_000);
    expect(await run()).toEqual({ skipped: 1 });
    on.vvchat.fault('send', resetting);
    expect(await deliverNew(delivery, later)).toBe('postponed');
    expect(await deliverNew(delivery, await on.put())).toBe('replied');
    expect(await run()).toEqual({ replied: 1 });
    expect(await on.read(item)).toMatchObject({ status: 'replied', unknown: [0] });
    expect(await on.read(later)).toMatchObject({ status: 'pending' });
  });

  test('is sent after 15 minutes, the oldest of two groups first, and the others once one is answered', async () => {
    const items = [await unknown('a'), await unknown('b'), await unknown('c')];
    on.clock.advance(15 * 60_000 - 3);
    expect(await run()).toEqual({ skipped: 3 });
    on.clock.advance(3);
    on.vvchat.fault('send', resetting, resetting);
    expect(await run()).toEqual({ failed: 2, skipped: 1 });
    expect(await on.read(items[0] as Item)).toMatchObject({ last_error: 'outcome unknown' });
    expect(await on.read(items[1] as Item)).toMatchObject({ last_error: 'outcome unknown' });
    expect(await run()).toEqual({ replied: 1 });
  });

  test('alarms nobody while it waits', async () => {
    await unknown('a');
    const metrics: unknown[] = [];
    for (let minute = 0; minute <= 16; minute++, on.clock.advance(60_000)) {
      metrics.push(...(await countedDuring(run)));
    }
    const waits = metrics.map((it) => (it as { OldestDueSeconds?: number }).OldestDueSeconds ?? 0);
    expect(Math.max(...waits)).toBeGreaterThanOrEqual(900);
    expect(Math.max(...waits)).toBeLessThan(OLDEST_DUE_THRESHOLD - 60);
  });

  test('waits for the oldest of its group if no other group has one', async () => {
    const items = [await unknown('a', '1'), await unknown('a', '2'), await unknown('a', '3')];
    on.clock.advance(15 * 60_000);
    on.vvchat.fault('send', resetting);
    expect(await run()).toEqual({ failed: 1, skipped: 2 });
    expect(await on.read(items[0] as Item)).toMatchObject({ last_error: 'outcome unknown' });
    expect(await run()).toEqual({ replied: 2 });
  });

  test('is sent after 15 minutes, however many rows another group has whose sends fail', async () => {
    for (let i = 0; i < 10; i++) await unknown('failing', `${i}`);
    const item = await unknown('quiet');
    on.clock.advance(15 * 60_000);
    failGroup('failing', resetting);
    await run();
    expect(await on.read(item)).toMatchObject({ status: 'replied', unknown: [0] });
  });

  test('is sent in the first round, however many rows of its app another group has', async () => {
    const hold = async (item: Item) => {
      const lease = await inbox.storeReply(on.inbox, inbox.unclaimed(item), [sendText('x')]);
      await inbox.postponeUnknown(on.inbox, lease, 'x');
    };
    await Promise.all((await putIn('many', CONCURRENCY * 2, 'x')).map(hold));
    for (const group of ['second', 'third']) {
      on.clock.advance(1);
      for (const it of await putIn(group, 1, 'x')) await hold(it);
    }
    on.clock.advance(15 * 60_000);
    expect(await run()).toEqual({ replied: CONCURRENCY * 2 + 2 });
    const groups = on.vvchat.carried.map(({ message }) => message.session_open_id);
    expect(groups.slice(0, 2)).toEqual(['many', 'second']);
    expect(groups.indexOf('third')).toBeLessThanOrEqual(CONCURRENCY + 2);
  });

  test.each([
    ['last', 0.25, 105_000],
    ['first', 0, 157_000],
  ])(
    'is sent in a run with the quarantine %s, even if the last row begun before takes a minute',
    async (_, random, begin) => {
      const item = await unknown('quiet');
      on.clock.advance(15 * 60_000 - 120_000);
      await putIn('slow', 1, 'slow');
      on.clock.advance(120_000);
      const robot = silently(() => on.clock.advance(begin + 60_000));
      await run(robot, { ...on.inbox, random: () => random });
      expect(await on.read(item)).toMatchObject({ status: 'replied' });
    },
  );

  test.each([
    ['last', 0.25],
    ['first', 0],
  ])('is not begun in a run with the quarantine %s that has no time for it', async (_, random) => {
    const item = await unknown('quiet');
    on.clock.advance(15 * 60_000 - 120_000);
    await putIn('slow', 1, 'slow');
    on.clock.advance(120_000);
    const robot = silently(() => on.clock.advance(271_000));
    expect(await run(robot, { ...on.inbox, random: () => random })).toEqual({ ignored: 1 });
    expect(await on.read(item)).toMatchObject({ status: 'pending', claims: 1 });
  });

  test('fails after 24 hours without that send', async () => {
    const item = await unknown('a');
    on.clock.advance(24 * 3_600_000);
    expect(await run()).toEqual({ failed: 1 });
    expect(await on.read(item)).toMatchObject({ last_error: expect.stringMatching(/^gave up: /) });
    expect(sends()).toBe(1);
  });

  test('does not keep a run from what it can do after the time for it', async () => {
    await unknown('a');
    on.clock.advance(15 * 60_000);
    const delivery = { ...on.delivery(echo), deadline: on.clock.now() + 89_999 };
    expect(await deliverDue(delivery)).toEqual({});
  });
});

test('a row fails after 24 hours even if its app is skipped', async () => {
  const [old] = await putIn('old', 1, 'old');
  on.clock.advance(24 * 3_600_000 - 120_000);
  const groups = Array.from({ length: CONCURRENCY + 50 }, (_, group) => `group ${group}`);
  await Promise.all(groups.map((group) => putIn(group, 1, 'x')));
  on.clock.advance(120_000);
  on.vvchat.intervene = () => respondingWith(503);
  // Its shard is read last.
  const random = (Number(old?.due_shard) + 1.5) / DUE_SHARDS;
  const summary = await run(echo, { ...on.inbox, random: () => random % 1 });
  expect(summary.skipped).toBeGreaterThan(0);
  expect(summary.failed).toBe(1);
});

test('a row fails after 24 hours, and nothing is sent', async () => {
  const item = await on.put();
  on.clock.advance(24 * 3_600_000);
  expect(await run()).toEqual({ failed: 1 });
  expect(await on.read(item)).toMatchObject({
    status: 'failed',
    last_error: 'gave up: no attempt was finished',
  });
  expect(sends()).toBe(0);
});

describe('a row whose worker crashed', () => {
  const crash = async (times = 1) => {
    const item = await on.put();
    for (let i = 0; i < times; i++) {
      on.clock.advance(360_000);
      await inbox.claim(on.inbox, await on.read(item));
    }
    return item;
  };

  test('is processed alone, after all others', async () => {
    const crashed = [await crash(), await crash(), await crash()].map(({ text }) => text);
    const others = (await putMany(5)).map(({ text }) => text);
    on.clock.advance(180_000);
    const order: string[] = [];
    let inFlight = 0;
    const robot = silently(async ({ text }) => {
      order.push(text);
      if (crashed.includes(text)) expect(++inFlight).toBe(1);
      await on.read(await on.put());
      if (crashed.includes(text)) inFlight--;
    });
    expect(await run(robot)).toEqual({ ignored: 8 });
    expect(new Set(order.slice(0, 5))).toEqual(new Set(others));
    expect(new Set(order.slice(5))).toEqual(new Set(crashed));
  });

  /** The texts in the order in which the robot was asked, or what it had answered was sent. */
  const orderOf = async (random: number) => {
    const order: string[] = [];
    const robot = silently(({ text }) => order.push(text));
    on.vvchat.intervene = () => {
      order.push('sent');
      return undefined;
    };
    await deliverDue(on.delivery(robot, { ...on.inbox, random: () => random }));
    return order.filter((it, i) => it !== order[i - 1]);
  };

  test('is processed before those with more calls of the robot', async () => {
    const poison = await crash();
    const crashedSending = await on.put();
    await inbox.storeReply(on.inbox, inbox.unclaimed(crashedSending), [sendText('x')]);
    on.clock.advance(360_000);
    expect(await orderOf(0.5)).toEqual(['sent', poison.text]);
  });

  test('is processed first in one run of four, so that it cannot starve', async () => {
    const crashed = await crash();
    const [other] = await putMany(1);
    on.clock.advance(180_000);
    expect(await orderOf(0.24)).toEqual([crashed.text, other?.text]);
  });

  test('is processed last in the other runs', async () => {
    const crashed = await crash();
    const [other] = await putMany(1);
    on.clock.advance(180_000);
    expect(await orderOf(0.25)).toEqual([other?.text, crashed.text]);
  });

  test('is still quarantined when it is put back after it failed for its crashes', async () => {
    const crashed = await crash(3);
    on.clock.advance(360_000);
    expect(await run()).toEqual({ failed: 1 });
    await redrive(on.inbox, {}, on.clock.now() + 60_000);
    const [other] = await putMany(1);
    on.clock.advance(120_000);
    expect(await orderOf(0.25)).toEqual([other?.text, crashed.text]);
  });

  test('fails after three calls of the robot', async () => {
    const item = await crash(3);
    on.clock.advance(360_000);
    expect(await run()).toEqual({ failed: 1 });
    expect(await on.read(item)).toMatchObject({
      robot_calls: 3,
      last_error: 'no answer after 3 attempts: the function crashed while the robot answered',
    });
  });

  test('while sending has that command sent once more, and never a third time', async () => {
    const item = await on.put();
    await inbox.storeReply(on.inbox, inbox.unclaimed(item), [sendText('1'), sendText('2')]);
    on.clock.advance(120_000);
    expect(await run()).toEqual({ replied: 1 });
    expect(on.sentTexts()).toEqual(['1', '2']);
    expect(await on.read(item)).toMatchObject({ unknown: [0], last_error: 'outcome unknown' });

    const other = await on.put();
    await inbox.storeReply(on.inbox, inbox.unclaimed(other), [sendText('3')]);
    on.clock.advance(120_000);
    const claimed = await inbox.claim(on.inbox, await on.read(other));
    await inbox.markSending(on.inbox, claimed, 5_000);
    on.clock.advance(300_000);
    expect(await run()).toEqual({ failed: 1 });
    expect(on.sentTexts()).toEqual(['1', '2']);
    expect(await on.read(other)).toMatchObject({ last_error: 'outcome unknown' });
  });
});

test('a stale entry of the index changes nothing', async () => {
  const [settled, renewed, gone] = await putMany(3);
  on.clock.advance(120_000);
  const keys = await Array.fromAsync(queries.dueRows(on.inbox));
  await deliverNew(on.delivery(echo), settled as Item);
  await inbox.renew(on.inbox, inbox.unclaimed(renewed as Item), 100_000);
  const client = on.engine.newClient();
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        if (commandName === 'QueryCommand') {
          const { due_shard } = settled as Item;
          const values = (
            args.input as { ExpressionAttributeValues: Record<string, { S: string }> }
          ).ExpressionAttributeValues;
          const stale = values[':shard']?.S === due_shard ? keys : [];
          const attributes = [...stale, { ...(gone as Item), event_id: 'gone' }].map((key) => ({
            session_open_id: { S: key.session_open_id },
            event_id: { S: key.event_id },
          }));
          Object.assign(result.output as object, { Items: attributes.slice(0, stale.length + 1) });
        }
        return result;
      },
    { step: 'initialize' },
  );
  const summary = await run(echo, { ...on.inbox, client });
  expect(summary).toMatchObject({ taken: 2, replied: 1 });
  expect(summary.absent).toBeGreaterThan(0);
  expect(on.sentTexts()).toHaveLength(2);
});

test('a run begins no row that it could not finish', async () => {
  await putMany(3);
  on.clock.advance(120_000);
  const delivery = on.delivery(echo);
  expect(await deliverDue({ ...delivery, deadline: on.clock.now() + 89_999 })).toEqual({});
});

test('a run begins no quarantined row that it could not finish', async () => {
  for (const item of await putMany(2)) {
    on.clock.advance(120_000);
    await inbox.claim(on.inbox, item);
  }
  on.clock.advance(180_000);
  const slow = silently(() => on.clock.advance(1));
  const delivery = { ...on.delivery(slow), deadline: on.clock.now() + 90_000 };
  expect(await deliverDue(delivery)).toEqual({ ignored: 1 });
});

test('a run counts its outcomes, and how long the oldest due row has waited', async () => {
  const [replied, unknown] = await putMany(2);
  on.clock.advance(90_000);
  await on.put(saying('given up'));
  on.clock.advance(60_000);
  await inbox.storeReply(on.inbox, inbox.unclaimed(unknown as Item), [sendText('x')]);
  expect(await countedDuring(run)).toEqual(
    expect.arrayContaining([
      { Replies: 1, ReplyMilliseconds: 150_000 },
      { UnknownOutcomes: 1 },
      { OldestDueSeconds: 150 },
    ]),
  );
  expect(await on.read(replied as Item)).toMatchObject({ status: 'replied' });
  on.clock.advance(25 * 3_600_000);
  expect(await countedDuring(run)).toEqual([
    { Failures: 1 },
    { OldestDueSeconds: 25 * 3_600 + 60 },
  ]);
  expect(await countedDuring(run)).toEqual([{ OldestDueSeconds: 0 }]);
});

test('an outage of VVChat shows in the metric long before a row fails', async () => {
  await on.put();
  on.vvchat.intervene = ({ operation }) => (operation === 'send' ? respondingWith(503) : undefined);
  const seen: number[] = [];
  for (let minute = 0; minute < 60; minute++) {
    on.clock.advance(60_000);
    for (const it of await countedDuring(run)) {
      const { OldestDueSeconds = 0 } = it as { OldestDueSeconds?: number };
      seen.push(OldestDueSeconds);
    }
  }
  // The alarm looks at the most of an hour.
  expect(Math.max(...seen)).toBeGreaterThan(OLDEST_DUE_THRESHOLD);
});

test('a failure of DynamoDB at one row leaves the others alone', async () => {
  const [item] = await putMany(5);
  on.clock.advance(120_000);
  const client = on.engine.newClient();
  beforeCalls(client, (operation, { Key }) => {
    if (operation === 'UpdateItem' && Key?.event_id?.S === item?.event_id) {
      throw Object.assign(new Error('x'), { name: 'InternalServerError' });
    }
  });
  const ticking = setInterval(() => on.clock.advance(1_000), 50);
  const summary = await run(echo, { ...on.inbox, client }).finally(() => clearInterval(ticking));
  expect(summary).toEqual({ replied: 4, stalled: 1 });
});

test('a run that cannot read the whole index rejects, after it delivered what it could read', async () => {
  const items = await putMany(30);
  on.clock.advance(120_000);
  const client = on.engine.newClient();
  failToReadShard(client, items[0]?.due_shard);
  await expect(run(echo, { ...on.inbox, client })).rejects.toThrow('no');
  const others = items.filter(({ due_shard }) => due_shard !== items[0]?.due_shard);
  expect(on.sentTexts().sort()).toEqual(others.map(({ text }) => text).sort());
  for (const item of others) {
    expect(await on.read(item)).toMatchObject({ status: 'replied' });
  }
});
