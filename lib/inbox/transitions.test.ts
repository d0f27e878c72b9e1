import {
  QueryCommand,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';
import { describe, expect, test } from 'vitest';
import { loseFirstAnswer } from '../../test/engine.ts';
import { useInbox } from '../../test/inbox.ts';
import { fromAttributes, iso } from '../aws/table.ts';
import { closeWebview, sendText } from '../vvchat/command.ts';
import { type HistoryEntry, historyOf } from './history.ts';
import { commandsOf, type Item, type Key } from './item.ts';
import type { InboxTable } from './table.ts';
import * as inbox from './transitions.ts';

const on = useInbox();

const dueKeys = async (shard: string) => {
  const { Items = [] } = await on.table.client.send(
    new QueryCommand({
      TableName: on.table.name,
      IndexName: 'due',
      KeyConditionExpression: 'due_shard = :shard',
      ExpressionAttributeValues: { ':shard': { S: shard } },
    }),
  );
  return Items.map((item) => fromAttributes(item).event_id);
};

/** The same row as another worker knows it. */
const other = (lease: inbox.Lease): inbox.Lease => ({ ...lease, write_id: crypto.randomUUID() });

const minutes = (n: number) => n * 60_000;
const later = (milliseconds: number) => iso(on.clock.now() + milliseconds);
const commands = [sendText('您好'), closeWebview()];
const expires_at = () => Math.ceil(on.clock.now() / 1_000) + on.table.retentionDays * 86_400;
const any = expect.any(String);
const history = (...entries: HistoryEntry[]) => JSON.stringify(entries);

describe('claim', () => {
  test('takes a due row, counts the claim, and presets the back-off', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const lease = await inbox.claim(on.table, item);
    const claimed = {
      ...item,
      claims: 1,
      write_id: any,
      phase: 'asking',
      next_attempt_at: later(120_000),
    };
    expect(lease).toEqual({ item: claimed, state: 'backed-off', write_id: any });
    expect(await on.read(item)).toEqual(claimed);
    expect(lease.item.write_id).not.toBe(item.write_id);
  });

  test('refuses a row that is not due', async () => {
    const item = await on.pending();
    on.clock.advance(119_999);
    await expect(inbox.claim(on.table, item)).rejects.toThrow(inbox.LeaseLostError);
    expect(await on.read(item)).toEqual(item);
  });

  test('is won by one of two that saw the same', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const claims = await Promise.allSettled([
      inbox.claim(on.table, item),
      inbox.claim(on.table, item),
    ]);
    expect(claims.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await on.read(item)).toMatchObject({ claims: 1 });
  });

  test.each<[string, (lease: inbox.Lease) => Promise<inbox.Lease>]>([
    ['claimed', (lease) => inbox.storeReply(on.table, lease, commands)],
    ['renewed', (lease) => inbox.renew(on.table, lease, minutes(3))],
    ['ignored', (lease) => inbox.completeWithoutReply(on.table, lease)],
    ['failed', (lease) => inbox.fail(on.table, lease, 'x')],
    ['postponed', (lease) => inbox.postponeSending(on.table, lease, 'x')],
  ])('loses to a worker that has %s the row since it was read', async (_, change) => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const { item: changed } = await change(inbox.unclaimed(item));
    await expect(inbox.claim(on.table, item)).rejects.toThrow(inbox.LeaseLostError);
    expect(await on.read(item)).toEqual(withoutUndefined(changed));
  });

  test('recognises its own write when only the answer was lost', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const lease = await inbox.claim(losingTheFirstAnswer(on.table), item);
    expect(lease.item).toMatchObject({ claims: 1 });
    expect(await on.read(item)).toEqual(lease.item);
  });

  test('backs off 1, 2, 4 … minutes, give or take a quarter, at least the lease and at most an hour', async () => {
    let item = await on.pending();
    const delays: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt++) {
      on.clock.advance(minutes(60));
      ({ item } = await inbox.claim(on.table, { ...item, commands: '[]', last_error: 'x' }));
      delays.push((Date.parse(item.next_attempt_at) - on.clock.now()) / minutes(1));
    }
    expect(delays).toEqual([2, 2, 4, 8, 16, 32, 60, 60, 60]);
    for (const [random, minute] of [
      [() => 0, 3],
      [() => 1, 5],
    ] as const) {
      const third = { ...(await on.pending()), claims: 2, commands: '[]', last_error: 'x' };
      await set(third, { claims: 2 });
      on.clock.advance(minutes(60));
      const lease = await inbox.claim({ ...on.table, random }, third);
      expect(lease.item.next_attempt_at).toBe(later(minutes(minute)));
    }
  });

  test('of a row whose worker crashed while sending marks the next command as unknown', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const counted = await inbox.markSent(on.table, stored);
    on.clock.advance(120_000);
    const { item } = await inbox.claim(on.table, counted.item);
    expect(item).toMatchObject({ claims: 2, robot_calls: 0, sent: 1, unknown: [1] });
    expect(item.last_error).toBe('outcome unknown');
    expect(item.phase).toBeUndefined();
    expect(await on.read(item)).toEqual(withoutUndefined(item));
  });
});

describe('exhaustedReason', () => {
  test('is undefined for a row that has just come due', async () => {
    expect(inbox.exhaustedReason(await on.pending(), on.clock.now() + minutes(2))).toBeUndefined();
  });

  test('gives up after 24 hours, with the last error', async () => {
    const item = await on.pending();
    const day = on.clock.now() + minutes(24 * 60);
    expect(inbox.exhaustedReason(item, day - 1)).toBeUndefined();
    expect(inbox.exhaustedReason(item, day)).toBe('gave up: no attempt was finished');
    expect(inbox.exhaustedReason({ ...item, last_error: 'VVChat answered 503' }, day)).toBe(
      'gave up: VVChat answered 503',
    );
  });

  test('counts three calls of the robot without an answer', async () => {
    const item = { ...(await on.pending()), claims: 2, phase: 'asking' as const };
    expect(inbox.exhaustedReason({ ...item, robot_calls: 1 }, on.clock.now())).toBeUndefined();
    expect(inbox.exhaustedReason({ ...item, robot_calls: 2 }, on.clock.now())).toBe(
      'no answer after 3 attempts: the function crashed while the robot answered',
    );
    expect(
      inbox.exhaustedReason({ ...item, robot_calls: 2, commands: '[]' }, on.clock.now()),
    ).toBeUndefined();
  });

  test('is an unknown outcome after two crashes at the same command', async () => {
    const item = { ...(await on.pending()), commands: '[]', phase: 'sending' as const, sent: 1 };
    expect(inbox.exhaustedReason({ ...item, unknown: [1] }, on.clock.now())).toBeUndefined();
    const unknown_at = later(0);
    expect(inbox.exhaustedReason({ ...item, unknown: [1], unknown_at }, on.clock.now())).toBe(
      'outcome unknown',
    );
  });
});

describe('renew', () => {
  test('writes nothing while the lease outlives the step, whatever the clocks', async () => {
    const lease = inbox.unclaimed(await on.pending());
    expect(inbox.leaseLeft(on.table, lease)).toBe(90_000);
    expect(await inbox.renew(on.table, lease, 90_000)).toBe(lease);
  });

  test('moves the end of the lease and does not claim', async () => {
    const item = await on.pending();
    on.clock.advance(1);
    const lease = await inbox.renew(on.table, inbox.unclaimed(item), 90_000);
    const renewed = { ...item, next_attempt_at: later(120_000), write_id: any };
    expect(lease).toEqual({ item: renewed, state: 'unclaimed', write_id: any });
    expect(await on.read(item)).toEqual(renewed);
  });

  test('of a claimed row leaves `claims` unchanged', async () => {
    const item = await on.pending();
    on.clock.advance(minutes(3));
    const claimed = await inbox.claim(on.table, item);
    on.clock.advance(minutes(2));
    const lease = await inbox.renew(on.table, claimed, 5_000);
    expect(lease).toMatchObject({ state: 'claimed' });
    expect(await on.read(item)).toMatchObject({ claims: 1, next_attempt_at: later(120_000) });
  });

  test('that reaches the table late does not move the lease again', async () => {
    const lease = inbox.unclaimed(await on.pending());
    on.clock.advance(1_000);
    const renewed = await inbox.renew(on.table, lease, 100_000);
    on.clock.advance(1_000);
    await expect(inbox.renew(on.table, other(lease), 100_000)).rejects.toThrow(
      inbox.LeaseLostError,
    );
    expect((await inbox.renew(on.table, lease, 100_000)).item).toEqual(renewed.item);
    expect(await on.read(lease.item)).toEqual(renewed.item);
  });

  test('is lost to a claim', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    await inbox.claim(on.table, item);
    await expect(inbox.renew(on.table, inbox.unclaimed(item), 1)).rejects.toThrow(
      inbox.LeaseLostError,
    );
  });
});

describe('markSending', () => {
  const postponed = async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const off = await inbox.postponeSending(on.table, stored, 'x');
    on.clock.advance(minutes(2));
    return inbox.claim(on.table, off.item);
  };

  test('marks once that a command is about to be sent', async () => {
    const claimed = await postponed();
    expect(claimed.item.last_error).toBe('x');
    const begun = await inbox.markSending(on.table, claimed, 5_000);
    expect(await on.read(claimed.item)).toEqual({
      ...claimed.item,
      write_id: any,
      phase: 'sending',
    });
    expect(begun.state).toBe('backed-off');
    expect(await inbox.markSending(on.table, begun, 5_000)).toBe(begun);
  });

  test('renews a lease that the send could outlive', async () => {
    const claimed = await postponed();
    on.clock.advance(90_000);
    const begun = await inbox.markSending(on.table, claimed, 5_000);
    expect(begun.state).toBe('claimed');
    expect(await on.read(claimed.item)).toMatchObject({ next_attempt_at: later(120_000) });
    on.clock.advance(90_000);
    await inbox.markSending(on.table, begun, 5_000);
    expect(await on.read(claimed.item)).toMatchObject({ next_attempt_at: later(120_000) });
  });

  test('leaves nothing unknown of a row whose worker crashed before it', async () => {
    const claimed = await postponed();
    on.clock.advance(minutes(5));
    const { item } = await inbox.claim(on.table, claimed.item);
    expect(item).not.toHaveProperty('unknown');
    expect(item.last_error).toBe('x');
  });
});

describe('storeReply', () => {
  test('claims the row for the worker on the stream, and stores the commands', async () => {
    const item = await on.pending();
    const lease = await inbox.storeReply(on.table, inbox.unclaimed(item), commands);
    const stored = {
      ...item,
      claims: 1,
      write_id: any,
      commands: JSON.stringify(commands),
      answered_at: later(0),
      phase: 'sending' as const,
    };
    expect(lease).toEqual({ item: stored, state: 'claimed', write_id: any });
    expect(await on.read(item)).toEqual(stored);
    expect(commandsOf(stored)).toEqual(commands);
    expect(commandsOf(item)).toBeUndefined();
  });

  test('is refused to the slower of two workers on the stream', async () => {
    const item = await on.pending();
    await inbox.storeReply(on.table, inbox.unclaimed(item), commands);
    await expect(
      inbox.storeReply(on.table, inbox.unclaimed(item), [sendText('other')]),
    ).rejects.toThrow(inbox.LeaseLostError);
    expect(commandsOf(await on.read(item))).toEqual(commands);
  });

  test('is refused to a worker whose lease has ended and was taken', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const first = await inbox.claim(on.table, item);
    on.clock.advance(minutes(3));
    await inbox.claim(on.table, first.item);
    await expect(inbox.storeReply(on.table, first, commands)).rejects.toThrow(inbox.LeaseLostError);
    expect(await on.read(item)).not.toHaveProperty('commands');
  });
});

describe('markSent and complete', () => {
  const stored = async () =>
    inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);

  test('count each command that was sent; the last settles the row', async () => {
    const lease = await stored();
    const counted = await inbox.markSent(on.table, lease);
    expect(await on.read(lease.item)).toEqual({ ...lease.item, sent: 1, write_id: any });
    on.clock.advance(10);
    await inbox.complete(on.table, counted);
    const { due_shard, next_attempt_at, phase, ...rest } = counted.item;
    expect(await on.read(lease.item)).toEqual({
      ...rest,
      status: 'replied',
      sent: 2,
      write_id: any,
      replied_at: later(0),
      expires_at: expires_at(),
    });
    expect(await dueKeys(due_shard as string)).not.toContain(lease.item.event_id);
  });

  test('keep the list of unknown outcomes', async () => {
    const lease = await stored();
    const off = await inbox.postponeUnknown(on.table, lease, 'the request broke off');
    await inbox.complete(on.table, await inbox.markSent(on.table, off));
    expect(await on.read(lease.item)).toMatchObject({
      status: 'replied',
      unknown: [0],
      last_error: 'outcome unknown',
    });
  });

  test.each<[string, (lease: inbox.Lease) => Promise<inbox.Lease>]>([
    ['markSent', (lease) => inbox.markSent(on.table, lease)],
    ['complete', (lease) => inbox.complete(on.table, lease)],
  ])('%s is not written twice, nor after a claim by another worker', async (_, write) => {
    const lease = await stored();
    on.clock.advance(120_000);
    await inbox.claim(on.table, lease.item);
    const before = await on.read(lease.item);
    await expect(write(lease)).rejects.toThrow(inbox.LeaseLostError);
    expect(await on.read(lease.item)).toEqual(before);

    const own = await stored();
    await write(own);
    await expect(write(other(own))).rejects.toThrow(inbox.LeaseLostError);
    await write(own);
    expect(await on.read(own.item)).toMatchObject({ sent: 1 });
  });

  test('recognise their own write when only the answer was lost', async () => {
    const lease = await stored();
    const counted = await inbox.markSent(losingTheFirstAnswer(on.table), lease);
    expect(counted.item.sent).toBe(1);
    await inbox.complete(losingTheFirstAnswer(on.table), counted);
    expect(await on.read(lease.item)).toMatchObject({ status: 'replied', sent: 2 });
  });
});

describe('completeWithoutReply', () => {
  test('settles a row in one write', async () => {
    const item = await on.pending();
    await inbox.completeWithoutReply(on.table, inbox.unclaimed(item));
    const { due_shard, next_attempt_at, ...rest } = item;
    expect(await on.read(item)).toEqual({
      ...rest,
      status: 'ignored',
      claims: 1,
      write_id: any,
      answered_at: later(0),
      expires_at: expires_at(),
    });
  });

  test('is lost to another worker', async () => {
    const item = await on.pending();
    await inbox.completeWithoutReply(on.table, inbox.unclaimed(item));
    await expect(inbox.completeWithoutReply(on.table, inbox.unclaimed(item))).rejects.toThrow(
      inbox.LeaseLostError,
    );
  });
});

describe('fail', () => {
  test('settles a row and keeps it in the index, apart from what is due', async () => {
    const item = await on.pending();
    on.clock.advance(1_000);
    await inbox.fail(on.table, inbox.unclaimed(item), 'VVChat answered 404');
    expect(await on.read(item)).toEqual({
      ...item,
      status: 'failed',
      claims: 1,
      write_id: any,
      due_shard: `failed-${item.due_shard}`,
      next_attempt_at: later(0),
      last_error: 'VVChat answered 404',
      history: history({ at: later(0), what: 'failed', why: 'VVChat answered 404' }),
      expires_at: expires_at(),
    });
    expect(await dueKeys(`failed-${item.due_shard}`)).toContain(item.event_id);
  });

  test('after a crash while sending lists the command that may have been carried out', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    await inbox.failExhausted(on.table, stored.item, 'gave up');
    expect(await on.read(stored.item)).toMatchObject({ status: 'failed', unknown: [0] });
  });

  test('is final: a failed row cannot be claimed', async () => {
    const { item } = await inbox.fail(on.table, inbox.unclaimed(await on.pending()), 'x');
    on.clock.advance(minutes(5));
    await expect(inbox.claim(on.table, item)).rejects.toThrow(inbox.LeaseLostError);
  });
});

describe('postpone', () => {
  test('by the worker on the stream claims, and makes the row due after about a minute', async () => {
    const item = await on.pending();
    on.clock.advance(5_000);
    await inbox.postponeAsking(on.table, inbox.unclaimed(item), 'x');
    expect(await on.read(item)).toEqual({
      ...item,
      claims: 1,
      robot_calls: 1,
      write_id: any,
      last_error: 'x',
      history: history({ at: later(0), what: 'postponed', why: 'x' }),
      next_attempt_at: later(minutes(1)),
    });
  });

  test('after a claim leaves the back-off that the claim preset', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const lease = await inbox.claim(on.table, item);
    on.clock.advance(3_000);
    await inbox.postponeSending(on.table, lease, 'x');
    const { phase, ...rest } = lease.item;
    expect(await on.read(item)).toEqual({
      ...rest,
      last_error: 'x',
      write_id: any,
      history: history({ at: later(0), what: 'postponed', why: 'x' }),
    });
  });

  test('after a renewal backs off anew', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const claimed = await inbox.claim(on.table, item);
    on.clock.advance(90_000);
    const renewed = await inbox.renew(on.table, claimed, 5_000);
    await inbox.postponeSending(on.table, renewed, 'x');
    expect(await on.read(item)).toMatchObject({ next_attempt_at: later(minutes(1)) });
  });

  test.each([
    [7_000, minutes(1), minutes(2)],
    [minutes(3), minutes(3), minutes(3)],
    [minutes(300), minutes(60), minutes(60)],
  ])(
    'for %i ms that VVChat asks for lengthens the back-off, and never shortens it',
    async (atLeastMs, first, second) => {
      const item = await on.pending();
      const off = await inbox.postponeSending(on.table, inbox.unclaimed(item), 'x', { atLeastMs });
      expect(await on.read(item)).toMatchObject({ next_attempt_at: later(first) });
      on.clock.advance(first);
      const lease = await inbox.claim(on.table, off.item);
      await inbox.postponeSending(on.table, lease, 'x', { atLeastMs });
      expect(await on.read(item)).toMatchObject({ next_attempt_at: later(second) });
    },
  );

  test('of a worker that ran out of time is due at once', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const lease = await inbox.claim(on.table, item);
    await inbox.postponeSending(on.table, lease, 'x', { none: true });
    expect(await on.read(item)).toMatchObject({ next_attempt_at: later(0) });
  });

  test('lists a command that was doubtful, and sends it as often as it takes', async () => {
    let lease = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    for (const _ of [1, 2, 3]) {
      lease = await inbox.postponeDoubtful(on.table, lease, 'VVChat answered 500');
      on.clock.advance(minutes(60));
      lease = await inbox.claim(on.table, lease.item);
    }
    expect(await on.read(lease.item)).toMatchObject({ status: 'pending', unknown: [0] });
    expect(await on.read(lease.item)).not.toHaveProperty('unknown_at');
    await inbox.postponeUnknown(on.table, lease, 'the request broke off');
    expect(await on.read(lease.item)).toMatchObject({ status: 'pending', unknown_at: later(0) });
  });

  test('fails a command that was refused in two attempts', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const first = await inbox.postponeRefused(on.table, stored, 'VVChat answered 400');
    expect(await on.read(stored.item)).toMatchObject({ status: 'pending', refused: 0 });
    const counted = await inbox.markSent(on.table, first);
    expect(await on.read(stored.item)).not.toHaveProperty('refused');
    const other = await inbox.postponeRefused(on.table, counted, 'VVChat answered 400');
    expect(other.item).toMatchObject({ status: 'pending', refused: 1 });
    await inbox.postponeRefused(on.table, other, 'VVChat answered 400');
    expect(await on.read(stored.item)).toMatchObject({
      status: 'failed',
      last_error: 'VVChat answered 400',
    });
  });

  test('is not undone by an earlier write that arrives late', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const off = await inbox.postponeSending(on.table, stored, 'x');
    on.clock.advance(minutes(2));
    const claimed = await inbox.claim(on.table, off.item);
    const { repeat, table } = await firstWriteTwice(on.table);
    const marked = await inbox.markSending(table, claimed, 5_000);
    await inbox.postponeSending(on.table, marked, 'VVChat answered 503');
    await repeat();
    const row = await on.read(stored.item);
    expect(row).toMatchObject({ status: 'pending', last_error: 'VVChat answered 503' });
    expect(row).not.toHaveProperty('phase');
  });

  test('fails a row whose next attempt would come after 24 hours', async () => {
    const item = await on.pending();
    on.clock.advance(minutes(24 * 60 - 1));
    await inbox.postponeSending(on.table, inbox.unclaimed(item), 'x');
    expect(await on.read(item)).toMatchObject({ status: 'failed', last_error: 'gave up: x' });
  });

  test('keeps the unknown outcome of a row that it fails', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    on.clock.advance(minutes(24 * 60));
    await inbox.postponeUnknown(on.table, stored, 'the request broke off');
    expect(await on.read(stored.item)).toMatchObject({ status: 'failed', unknown: [0] });
  });

  test('fails after the third call of the robot', async () => {
    const item = await on.pending();
    const statuses: string[] = [];
    let lease = await inbox.postponeAsking(on.table, inbox.unclaimed(item), 'x');
    while (lease.item.status === 'pending') {
      on.clock.advance(minutes(5));
      lease = await inbox.claim(on.table, lease.item);
      lease = await inbox.postponeAsking(on.table, lease, 'x');
      statuses.push(`${lease.item.robot_calls} ${lease.item.status}`);
    }
    expect(statuses).toEqual(['2 pending', '3 failed']);
    expect(await on.read(item)).toMatchObject({ status: 'failed', robot_calls: 3, claims: 3 });
  });

  test('retries a command of unknown outcome once', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const once = await inbox.postponeUnknown(on.table, stored, 'the request broke off');
    expect(await on.read(stored.item)).toMatchObject({
      status: 'pending',
      unknown: [0],
      last_error: 'the request broke off',
    });
    on.clock.advance(minutes(2));
    const claimed = await inbox.claim(on.table, once.item);
    await inbox.postponeUnknown(on.table, claimed, 'the request broke off');
    expect(await on.read(stored.item)).toMatchObject({
      status: 'failed',
      unknown: [0],
      last_error: 'outcome unknown',
    });
  });

  test('retries each command of unknown outcome once', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    const once = await inbox.postponeUnknown(on.table, stored, 'the request broke off');
    const counted = await inbox.markSent(on.table, once);
    await inbox.postponeUnknown(on.table, counted, 'the request broke off');
    expect(await on.read(stored.item)).toMatchObject({
      status: 'pending',
      unknown: [0, 1],
      sent: 1,
    });
  });
});

describe('failExhausted', () => {
  test('keeps the crash of a robot call, so that the row is quarantined once it is put back', async () => {
    const item = await on.pending();
    on.clock.advance(120_000);
    const claimed = await inbox.claim(on.table, item);
    const { item: failed } = await inbox.failExhausted(on.table, claimed.item, 'gave up');
    expect(failed).toMatchObject({ robot_calls: 1 });
    const { item: redriven } = await inbox.redrive(on.table, failed);
    expect(await on.read(item)).toMatchObject({
      status: 'pending',
      phase: 'crashed',
      robot_calls: 0,
      last_error: 'gave up',
    });
    expect(inbox.exhaustedReason(redriven, on.clock.now())).toBeUndefined();
  });

  test('forgets the crash of a send, whose outcome is listed', async () => {
    const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
    await inbox.failExhausted(on.table, stored.item, 'gave up');
    const failed = await on.read(stored.item);
    expect(failed).toMatchObject({ status: 'failed', unknown: [0] });
    expect(failed).not.toHaveProperty('phase');
  });
});

test('a command that a crash left of unknown outcome is sent once more, and then fails', async () => {
  const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
  on.clock.advance(minutes(3));
  const claimed = await inbox.claim(on.table, stored.item);
  const sending = await inbox.markSending(on.table, claimed, 5_000);
  const { item } = await inbox.postponeUnknown(on.table, sending, 'x');
  expect(item).toMatchObject({ status: 'failed', last_error: 'outcome unknown' });
});

test('a refused command is put off once more after the row is put back', async () => {
  let lease = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
  for (const status of ['pending', 'failed']) {
    lease = await inbox.postponeRefused(on.table, lease, 'x');
    expect(lease.item).toMatchObject({ status, refused: 0 });
  }
  const { item } = await inbox.redrive(on.table, lease.item);
  expect(await on.read(item)).not.toHaveProperty('refused');
});

test('a command that a crash left of unknown outcome is sent once more after the row failed and is put back', async () => {
  const stored = await inbox.storeReply(on.table, inbox.unclaimed(await on.pending()), commands);
  on.clock.advance(24 * 60 * minutes(1));
  await inbox.failExhausted(on.table, stored.item, 'gave up');
  await inbox.redrive(on.table, await on.read(stored.item));
  const claimed = await inbox.claim(on.table, await on.read(stored.item));
  const sending = await inbox.markSending(on.table, claimed, 5_000);
  const { item } = await inbox.postponeUnknown(on.table, sending, 'x');
  expect(item).toMatchObject({ status: 'failed', last_error: 'outcome unknown' });
});

test('a history has what went wrong, by which worker, and that the row was put back', async () => {
  const table = { ...on.table, worker: 'retry 1' };
  const at = later(0);
  const stalled = await inbox.postponeAsking(table, inbox.unclaimed(await on.pending()), 'x');
  on.clock.advance(minutes(2));
  const claimed = await inbox.claim(table, stalled.item);
  on.clock.advance(minutes(4));
  const again = await inbox.claim(table, claimed.item);
  expect(await on.read(again.item)).toMatchObject({ worker: 'retry 1', robot_calls: 2 });
  const failed = await inbox.postponeAsking(table, again, 'y');
  await inbox.redrive(table, failed.item);
  const by = 'retry 1';
  const why = 'the function crashed while the robot answered';
  expect(historyOf(await on.read(failed.item))).toEqual([
    { at, what: 'postponed', why: 'x', by },
    { at: later(0), what: 'crashed', why, by },
    { at: later(0), what: 'failed', why: 'y', by },
    { at: later(0), what: 'redriven', by },
  ]);
});

describe('makeDue', () => {
  const postponed = async () =>
    (await inbox.postponeAsking(on.table, inbox.unclaimed(await on.pending()), 'x')).item;

  test('makes a postponed row due at once', async () => {
    const item = await postponed();
    expect(await inbox.makeDue(on.table, item)).toBe(true);
    expect(await on.read(item)).toEqual({
      ...withoutUndefined(item),
      next_attempt_at: later(0),
      write_id: any,
    });
  });

  test('leaves a row alone that a worker has written meanwhile', async () => {
    const item = await postponed();
    on.clock.advance(minutes(2));
    const { item: claimed } = await inbox.claim(on.table, item);
    expect(await inbox.makeDue(on.table, item)).toBe(false);
    expect(await on.read(item)).toEqual(withoutUndefined(claimed));
  });

  test.each<[string, () => Promise<Item>]>([
    ['new', () => on.pending()],
    [
      'at work',
      async () => {
        const item = await postponed();
        on.clock.advance(minutes(2));
        return (await inbox.claim(on.table, item)).item;
      },
    ],
    [
      'failed',
      async () => (await inbox.fail(on.table, inbox.unclaimed(await on.pending()), 'x')).item,
    ],
  ])('leaves a row alone that is %s', async (_, make) => {
    const item = await make();
    expect(await inbox.makeDue(on.table, item)).toBe(false);
    expect(await on.read(item)).toEqual(withoutUndefined(item));
  });

  test('rejects with the error of a table that does not exist', async () => {
    const item = await postponed();
    const table = { ...on.table, name: 'missing' };
    await expect(inbox.makeDue(table, item)).rejects.toThrow(
      expect.objectContaining({ name: 'ResourceNotFoundException' }),
    );
  });
});

/** A table whose first update can be repeated afterwards, as by a request that arrives late. */
async function firstWriteTwice(table: InboxTable) {
  const client = on.engine.newClient();
  const inputs: UpdateItemCommandInput[] = [];
  client.middlewareStack.add(
    (next, { commandName }) =>
      (args) => {
        if (commandName === 'UpdateItemCommand') inputs.push(args.input as UpdateItemCommandInput);
        return next(args);
      },
    { step: 'initialize' },
  );
  const repeat = async () => {
    const [input] = inputs;
    if (!input) throw new Error('nothing was written');
    await expect(table.client.send(new UpdateItemCommand(input))).rejects.toThrow('conditional');
  };
  return { repeat, table: { ...table, client } };
}

/** A table whose first update takes effect while its answer is lost. */
function losingTheFirstAnswer(table: InboxTable): InboxTable {
  const client = on.engine.newClient();
  loseFirstAnswer(client, 'UpdateItemCommand');
  return { ...table, client };
}

const set = ({ session_open_id, event_id }: Key, values: { claims: number }) =>
  on.table.client.send(
    new UpdateItemCommand({
      TableName: on.table.name,
      Key: { session_open_id: { S: session_open_id }, event_id: { S: event_id } },
      UpdateExpression: 'SET claims = :claims',
      ExpressionAttributeValues: { ':claims': { N: `${values.claims}` } },
    }),
  );

const withoutUndefined = (item: Item) => JSON.parse(JSON.stringify(item));
