import {
  QueryCommand,
  ResourceNotFoundException,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  beforeCalls,
  Clock,
  type Engine,
  failToReadShard,
  loseFirstAnswer,
  startEngine,
} from '../../test/engine.ts';
import { documented, saying } from '../../test/fixtures.ts';
import { fromAttributes, iso, type Table } from '../aws/table.ts';
import { closeWebview, sendText } from '../vvchat/command.ts';
import type { Event } from '../vvchat/event.ts';
import * as inbox from './transitions.ts';

let engine: Engine;
let clock: Clock;
let table: Table;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

beforeEach(() => {
  clock = new Clock();
  table = engine.table('inbox', clock);
});

let texts = 0;
/** A message that no other test has sent. */
const message = () => saying(`message ${++texts}`);

const deliverTo = async (event: Event, windowSeconds = 5) =>
  inbox.enqueue(table, event, await inbox.findLatest(table, event), windowSeconds);

const pending = async (event = message()): Promise<inbox.Item> => {
  const { event_id } = await deliverTo(event);
  return whole({ ...sessionOf(event), event_id });
};

const sessionOf = ({ data }: Event) => ({ session_open_id: data.session.session_open_id });

const whole = async (key: inbox.Key): Promise<inbox.Item> => {
  const item = await inbox.read(table, key);
  if (!item) throw new Error('no such row');
  return item;
};

const dueKeys = async (shard: string) => {
  const { Items = [] } = await table.client.send(
    new QueryCommand({
      TableName: table.name,
      IndexName: 'due',
      KeyConditionExpression: 'due_shard = :shard',
      ExpressionAttributeValues: { ':shard': { S: shard } },
    }),
  );
  return Items.map((item) => fromAttributes(item).event_id);
};

/** The same row as another worker knows it. */
const other = (hold: inbox.Lease): inbox.Lease => ({ ...hold, write_id: crypto.randomUUID() });

const minutes = (n: number) => n * 60_000;
const later = (milliseconds: number) => iso(clock.now() + milliseconds);
const middle = () => 0.5;
const commands = [sendText('您好'), closeWebview()];
const DAYS = 30;
const expires_at = () => Math.ceil(clock.now() / 1_000) + DAYS * 86_400;
const any = expect.any(String);

/** What a write is decided on must be what the last one wrote; the engines at hand are always so, DynamoDB is not. */
test('rows are read consistently, but from the index', async () => {
  const watched = { ...table, client: engine.newClient() };
  const reads = new Map<string, unknown>();
  beforeCalls(watched.client, (operation, { IndexName, ConsistentRead }) =>
    reads.set(IndexName ?? operation, ConsistentRead),
  );
  await inbox.findLatest(watched, message());
  await inbox.read(watched, await pending());
  for await (const _ of inbox.due(watched));
  expect(Object.fromEntries(reads)).toEqual({ Query: true, GetItem: true, due: undefined });
});

describe('put', () => {
  test('leaves a pending row with all of the event', async () => {
    const { event_id, duplicate } = await deliverTo(documented.at);
    expect({ event_id, duplicate }).toEqual({
      event_id: 'c1aa66f6e13d862331c665148b0796fc-0000000001',
      duplicate: false,
    });
    expect(await whole({ session_open_id: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2', event_id })).toEqual({
      session_open_id: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2',
      event_id,
      event: 'at',
      app_id: 'test',
      robot_open_id: 'lJsDBB01QzGpBKOC7uaZB6D0QGZWBMCS',
      robot_no: 'xds2323',
      session_type: '2',
      trigger_target: 'user',
      trigger_open_id: 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU',
      text: '您好',
      received_at: later(0),
      status: 'pending',
      claims: 0,
      robot_calls: 0,
      enqueue_id: any,
      write_id: any,
      next_attempt_at: later(120_000),
      give_up_at: later(24 * 3_600_000),
      due_shard: expect.stringMatching(/^(0\d|1[0-5])$/),
      sent: 0,
    });
  });

  test('leaves out what an event does not have', async () => {
    const event = structuredClone(documented.join);
    event.data.trigger = { target: 'robot', open_id: undefined };
    const item = await pending(event);
    expect(item).not.toHaveProperty('text');
    expect(item).not.toHaveProperty('trigger_open_id');
  });

  test('finds the same event within the window a duplicate, and afterwards a new message', async () => {
    const event = message();
    const first = await deliverTo(event);
    clock.advance(4_999);
    expect(await deliverTo(event)).toEqual({ ...first, duplicate: true });
    clock.advance(1);
    const second = await deliverTo(event);
    expect(second).toEqual({
      event_id: first.event_id.replace(/1$/, '2'),
      duplicate: false,
    });
    clock.advance(4_999);
    expect(await deliverTo(event)).toEqual({ ...second, duplicate: true });
  });

  test('does so at any distance, counted from the row that is the newest', async () => {
    const distance = fc.oneof(
      fc.integer({ min: 0, max: 15_000 }),
      fc.constantFrom(0, 1, 4_999, 5_000, 5_001),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(distance, { minLength: 1, maxLength: 8 }), async (distances) => {
        const event = message();
        let newest = await deliverTo(event);
        let age = 0;
        for (const it of distances) {
          clock.advance(it);
          age += it;
          const isDuplicate = age < 5_000;
          const put = await deliverTo(event);
          expect(put.duplicate).toBe(isDuplicate);
          expect(put.event_id === newest.event_id).toBe(isDuplicate);
          if (!isDuplicate) [newest, age] = [put, 0];
        }
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  test('takes a row of a clock that is 29 s ahead for a young one, and no further', async () => {
    const event = message();
    await deliverTo(event);
    clock.advance(-29_999);
    expect(await deliverTo(event)).toMatchObject({ duplicate: true });
    clock.advance(-1);
    expect(await deliverTo(event)).toMatchObject({ duplicate: false });
  });

  test.each<[string, (event: Event) => void]>([
    ['robot', ({ data }) => Object.assign(data.robot, { open_id: 'other' })],
    ['app', ({ data }) => Object.assign(data.robot, { app_id: 'other' })],
    ['session', ({ data }) => Object.assign(data.session, { session_open_id: 'other' })],
    ['kind of session', ({ data }) => Object.assign(data.session, { session_type: '1' })],
    ['trigger', ({ data }) => Object.assign(data.trigger, { open_id: 'other' })],
    ['kind of trigger', ({ data }) => Object.assign(data.trigger, { target: 'robot' })],
    ['text', ({ data }) => Object.assign(data, { content: { text: 'other' } })],
    ['event', (event) => Object.assign(event, { event: 'session-open' })],
  ])('tells events apart by their %s', async (_, change) => {
    const event = structuredClone(documented.at);
    change(event);
    expect(inbox.fingerprint(event)).not.toBe(inbox.fingerprint(documented.at));
  });

  test('takes the same event with another robot number for the same', () => {
    const event = structuredClone(documented.at);
    event.data.robot.robot_no = 'renamed';
    expect(inbox.fingerprint(event)).toBe(inbox.fingerprint(documented.at));
  });

  test('queues one of 50 equal deliveries at the same moment', async () => {
    const event = message();
    const results = await Promise.all(Array.from({ length: 50 }, () => deliverTo(event)));
    expect(results.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(results.map(({ event_id }) => event_id)).size).toBe(1);
  });

  test('queues one of two at the same moment, though their clocks are 20 s apart', async () => {
    const event = message();
    const slow = { ...table, now: () => clock.now() - 20_000 };
    const first = await inbox.enqueue(slow, event, undefined, 5);
    expect(await inbox.enqueue(table, event, undefined, 5)).toEqual({ ...first, duplicate: true });
  });

  test('queues each of them when the window is 0', async () => {
    const event = message();
    const results = await Promise.all(Array.from({ length: 5 }, () => deliverTo(event, 0)));
    expect(results.every(({ duplicate }) => !duplicate)).toBe(true);
    expect(new Set(results.map(({ event_id }) => event_id)).size).toBe(5);
  });

  test.each([5, 0])(
    'knows its own row when only the answer was lost (window %i s)',
    async (window) => {
      const event = message();
      const lossy = losingTheFirstAnswer(table, 'PutItemCommand');
      expect(await inbox.enqueue(lossy, event, undefined, window)).toMatchObject({
        duplicate: false,
      });
      expect(await inbox.findLatest(table, event)).toMatchObject({
        event_id: expect.stringMatching(/-0000000001$/),
      });
    },
  );

  test.each([5, 0])('knows it even if it is answered by then (window %i s)', async (window) => {
    const event = message();
    const lossy = { ...table, client: engine.newClient() };
    loseFirstAnswer(lossy.client, 'PutItemCommand', async () => {
      const key = { ...(await inbox.findLatest(table, event)), ...sessionOf(event) } as inbox.Key;
      await inbox.storeReply(table, inbox.unclaimed(await whole(key)), commands);
    });
    expect(await inbox.enqueue(lossy, event, undefined, window)).toEqual({
      event_id: expect.stringMatching(/-0000000001$/),
      duplicate: false,
    });
  });

  test('passes on what else goes wrong', async () => {
    const nowhere = { ...table, name: 'no-such-table' };
    await expect(inbox.enqueue(nowhere, message(), undefined, 5)).rejects.toThrow(
      ResourceNotFoundException,
    );
  });
});

describe('claim', () => {
  test('takes a row that is due, counts the attempt and the try, and presets the back-off', async () => {
    const item = await pending();
    clock.advance(120_000);
    const hold = await inbox.claim(table, item, middle);
    const claimed = {
      ...item,
      claims: 1,
      robot_calls: 2,
      write_id: any,
      last_error: 'unfinished',
      next_attempt_at: later(120_000),
    };
    expect(hold).toEqual({ item: claimed, claimed: true, backedOff: true, write_id: any });
    expect(await whole(item)).toEqual(claimed);
    expect(hold.item.write_id).not.toBe(item.write_id);
  });

  test('refuses a row that is not due', async () => {
    const item = await pending();
    clock.advance(119_999);
    await expect(inbox.claim(table, item)).rejects.toThrow(inbox.LeaseLostError);
    expect(await whole(item)).toEqual(item);
  });

  test('is won by one of two that saw the same', async () => {
    const item = await pending();
    clock.advance(120_000);
    const claims = await Promise.allSettled([inbox.claim(table, item), inbox.claim(table, item)]);
    expect(claims.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await whole(item)).toMatchObject({ claims: 1 });
  });

  test.each<[string, (hold: inbox.Lease) => Promise<inbox.Lease>]>([
    ['claimed', (hold) => inbox.storeReply(table, hold, commands)],
    ['renewed', (hold) => inbox.renew(table, hold, minutes(3))],
    ['ignored', (hold) => inbox.completeWithoutReply(table, hold, DAYS)],
    ['failed', (hold) => inbox.fail(table, hold, 'x', DAYS)],
    ['put off', (hold) => inbox.postpone(table, hold, { last_error: 'x' }, DAYS, middle)],
  ])('loses to whoever has %s the row since it was read', async (_, change) => {
    const item = await pending();
    clock.advance(120_000);
    const { item: changed } = await change(inbox.unclaimed(item));
    await expect(inbox.claim(table, item)).rejects.toThrow(inbox.LeaseLostError);
    expect(await whole(item)).toEqual(withoutUndefined(changed));
  });

  test('knows its own claim when only the answer was lost', async () => {
    const item = await pending();
    clock.advance(120_000);
    const hold = await inbox.claim(losingTheFirstAnswer(table), item, middle);
    expect(hold.item).toMatchObject({ claims: 1 });
    expect(await whole(item)).toEqual(hold.item);
  });

  test('backs off 1, 2, 4 … minutes, give or take a quarter, at least the lease and at most an hour', async () => {
    let item = await pending();
    const delays: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt++) {
      clock.advance(minutes(60));
      ({ item } = await inbox.claim(table, { ...item, commands: '[]', last_error: 'x' }, middle));
      delays.push((Date.parse(item.next_attempt_at) - clock.now()) / minutes(1));
    }
    expect(delays).toEqual([2, 2, 4, 8, 16, 32, 60, 60, 60]);
    for (const [random, minute] of [
      [() => 0, 3],
      [() => 1, 5],
    ] as const) {
      const third = { ...(await pending()), claims: 2, commands: '[]', last_error: 'x' };
      await set(third, { claims: 2 });
      clock.advance(minutes(60));
      const hold = await inbox.claim(table, third, random);
      expect(hold.item.next_attempt_at).toBe(later(minutes(minute)));
    }
  });

  test('of a row whose worker was cut off while sending marks the command at hand as unknown', async () => {
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    const counted = await inbox.markSent(table, stored);
    clock.advance(120_000);
    const { item } = await inbox.claim(table, counted.item, middle);
    expect(item).toMatchObject({ claims: 2, robot_calls: 0, sent: 1, unknown: [1] });
    expect(item.last_error).toBe('outcome unknown');
    expect(await whole(item)).toEqual(item);
  });
});

describe('hopeless', () => {
  test('is no row that has just come due', async () => {
    expect(inbox.exhaustedReason(await pending(), clock.now() + minutes(2))).toBeUndefined();
  });

  test('is a row after 24 hours, and says what went wrong before', async () => {
    const item = await pending();
    const day = clock.now() + minutes(24 * 60);
    expect(inbox.exhaustedReason(item, day - 1)).toBeUndefined();
    expect(inbox.exhaustedReason(item, day)).toBe('gave up: unfinished');
    expect(inbox.exhaustedReason({ ...item, last_error: 'VVChat answered 503' }, day)).toBe(
      'gave up: VVChat answered 503',
    );
  });

  test('is a row whose robot was asked three times without an answer', async () => {
    const item = { ...(await pending()), claims: 2, last_error: 'unfinished' };
    expect(inbox.exhaustedReason({ ...item, robot_calls: 2 }, clock.now())).toBeUndefined();
    expect(inbox.exhaustedReason({ ...item, robot_calls: 3 }, clock.now())).toBe(
      'the robot was asked 3 times: unfinished',
    );
    expect(
      inbox.exhaustedReason({ ...item, robot_calls: 3, commands: '[]' }, clock.now()),
    ).toBeUndefined();
  });

  test('is a row that was cut off twice at the same command', async () => {
    const item = { ...(await pending()), commands: '[]', last_error: inbox.SENDING, sent: 1 };
    expect(inbox.exhaustedReason({ ...item, unknown: [0] }, clock.now())).toBeUndefined();
    expect(inbox.exhaustedReason({ ...item, unknown: [1] }, clock.now())).toBe('outcome unknown');
  });
});

describe('renew', () => {
  test('writes nothing while the lease outlives the step, whatever the clocks', async () => {
    const hold = inbox.unclaimed(await pending());
    expect(inbox.leaseLeft(table, hold)).toBe(90_000);
    expect(await inbox.renew(table, hold, 90_000)).toBe(hold);
  });

  test('moves the end of the lease and does not claim', async () => {
    const item = await pending();
    clock.advance(1);
    const hold = await inbox.renew(table, inbox.unclaimed(item), 90_000);
    const renewed = { ...item, next_attempt_at: later(120_000), write_id: any };
    expect(hold).toEqual({ item: renewed, claimed: false, backedOff: false, write_id: any });
    expect(await whole(item)).toEqual(renewed);
  });

  test('of a claimed row leaves the count of attempts', async () => {
    const item = await pending();
    clock.advance(minutes(3));
    const claimed = await inbox.claim(table, item, middle);
    clock.advance(minutes(2));
    const hold = await inbox.renew(table, claimed, 5_000);
    expect(hold).toMatchObject({ claimed: true, backedOff: false });
    expect(await whole(item)).toMatchObject({ claims: 1, next_attempt_at: later(120_000) });
  });

  test('that reaches the table late does not move the lease again', async () => {
    const hold = inbox.unclaimed(await pending());
    clock.advance(1_000);
    const renewed = await inbox.renew(table, hold, 100_000);
    clock.advance(1_000);
    await expect(inbox.renew(table, other(hold), 100_000)).rejects.toThrow(inbox.LeaseLostError);
    expect((await inbox.renew(table, hold, 100_000)).item).toEqual(renewed.item);
    expect(await whole(hold.item)).toEqual(renewed.item);
  });

  test('is lost to a claim', async () => {
    const item = await pending();
    clock.advance(120_000);
    await inbox.claim(table, item);
    await expect(inbox.renew(table, inbox.unclaimed(item), 1)).rejects.toThrow(
      inbox.LeaseLostError,
    );
  });
});

describe('begin', () => {
  const putOff = async () => {
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    const off = await inbox.postpone(table, stored, { last_error: 'x' }, DAYS, middle);
    clock.advance(minutes(2));
    return inbox.claim(table, off.item, middle);
  };

  test('notes that a command is about to go out, once', async () => {
    const claimed = await putOff();
    expect(claimed.item.last_error).toBe('x');
    const begun = await inbox.markSending(table, claimed, 5_000);
    expect(await whole(claimed.item)).toEqual({
      ...claimed.item,
      write_id: any,
      last_error: 'unfinished while sending',
    });
    expect(begun.backedOff).toBe(true);
    expect(await inbox.markSending(table, begun, 5_000)).toBe(begun);
  });

  test('renews a lease that the send could outlive', async () => {
    const claimed = await putOff();
    clock.advance(90_000);
    const begun = await inbox.markSending(table, claimed, 5_000);
    expect(begun.backedOff).toBe(false);
    expect(await whole(claimed.item)).toMatchObject({ next_attempt_at: later(120_000) });
    clock.advance(90_000);
    await inbox.markSending(table, begun, 5_000);
    expect(await whole(claimed.item)).toMatchObject({ next_attempt_at: later(120_000) });
  });

  test('has not happened to a row whose worker died before: nothing is unknown', async () => {
    const claimed = await putOff();
    clock.advance(minutes(5));
    const { item } = await inbox.claim(table, claimed.item, middle);
    expect(item).not.toHaveProperty('unknown');
    expect(item.last_error).toBe('x');
  });
});

describe('answer', () => {
  test('by a stream worker is its claim, and stores the commands before anything is sent', async () => {
    const item = await pending();
    const hold = await inbox.storeReply(table, inbox.unclaimed(item), commands);
    const stored = {
      ...item,
      claims: 1,
      write_id: any,
      commands: JSON.stringify(commands),
      last_error: 'unfinished while sending',
    };
    expect(hold).toEqual({ item: stored, claimed: true, backedOff: false, write_id: any });
    expect(await whole(item)).toEqual(stored);
    expect(inbox.commandsOf(stored)).toEqual(commands);
    expect(inbox.commandsOf(item)).toBeUndefined();
  });

  test('of the slower of two stream workers is dropped', async () => {
    const item = await pending();
    await inbox.storeReply(table, inbox.unclaimed(item), commands);
    await expect(
      inbox.storeReply(table, inbox.unclaimed(item), [sendText('other')]),
    ).rejects.toThrow(inbox.LeaseLostError);
    expect(inbox.commandsOf(await whole(item))).toEqual(commands);
  });

  test('of a worker whose lease has ended and been taken is dropped', async () => {
    const item = await pending();
    clock.advance(120_000);
    const first = await inbox.claim(table, item);
    clock.advance(minutes(3));
    await inbox.claim(table, first.item);
    await expect(inbox.storeReply(table, first, commands)).rejects.toThrow(inbox.LeaseLostError);
    expect(await whole(item)).not.toHaveProperty('commands');
  });
});

describe('count and settle', () => {
  const stored = async () => inbox.storeReply(table, inbox.unclaimed(await pending()), commands);

  test('count what went out one by one; the last settles the row', async () => {
    const hold = await stored();
    const counted = await inbox.markSent(table, hold);
    expect(await whole(hold.item)).toEqual({ ...hold.item, sent: 1, write_id: any });
    clock.advance(10);
    await inbox.complete(table, counted, DAYS);
    const { due_shard, next_attempt_at, last_error, ...rest } = counted.item;
    expect(await whole(hold.item)).toEqual({
      ...rest,
      status: 'replied',
      sent: 2,
      write_id: any,
      replied_at: later(0),
      expires_at: expires_at(),
    });
    expect(await dueKeys(due_shard as string)).not.toContain(hold.item.event_id);
  });

  test('keep what is known of an unknown outcome', async () => {
    const hold = await stored();
    const off = await inbox.postpone(
      table,
      hold,
      { last_error: 'the request broke off', outcomeUnknown: true },
      DAYS,
      middle,
    );
    await inbox.complete(table, await inbox.markSent(table, off), DAYS);
    expect(await whole(hold.item)).toMatchObject({
      status: 'replied',
      unknown: [0],
      last_error: 'outcome unknown',
    });
  });

  test.each<[string, (hold: inbox.Lease) => Promise<inbox.Lease>]>([
    ['count', (hold) => inbox.markSent(table, hold)],
    ['settle', (hold) => inbox.complete(table, hold, DAYS)],
  ])('%s is not written twice, nor after a claim by somebody else', async (_, write) => {
    const hold = await stored();
    clock.advance(120_000);
    await inbox.claim(table, hold.item);
    const before = await whole(hold.item);
    await expect(write(hold)).rejects.toThrow(inbox.LeaseLostError);
    expect(await whole(hold.item)).toEqual(before);

    const own = await stored();
    await write(own);
    await expect(write(other(own))).rejects.toThrow(inbox.LeaseLostError);
    await write(own);
    expect(await whole(own.item)).toMatchObject({ sent: 1 });
  });

  test('know their own write when only the answer was lost', async () => {
    const hold = await stored();
    const counted = await inbox.markSent(losingTheFirstAnswer(table), hold);
    expect(counted.item.sent).toBe(1);
    await inbox.complete(losingTheFirstAnswer(table), counted, DAYS);
    expect(await whole(hold.item)).toMatchObject({ status: 'replied', sent: 2 });
  });
});

describe('ignore', () => {
  test('settles a row that nobody answers, in one write', async () => {
    const item = await pending();
    await inbox.completeWithoutReply(table, inbox.unclaimed(item), DAYS);
    const { due_shard, next_attempt_at, ...rest } = item;
    expect(await whole(item)).toEqual({
      ...rest,
      status: 'ignored',
      claims: 1,
      write_id: any,
      expires_at: expires_at(),
    });
  });

  test('is lost to another worker', async () => {
    const item = await pending();
    await inbox.completeWithoutReply(table, inbox.unclaimed(item), DAYS);
    await expect(inbox.completeWithoutReply(table, inbox.unclaimed(item), DAYS)).rejects.toThrow(
      inbox.LeaseLostError,
    );
  });
});

describe('fail', () => {
  test('settles a row and keeps it in the index under the word failed', async () => {
    const item = await pending();
    clock.advance(1_000);
    await inbox.fail(table, inbox.unclaimed(item), 'VVChat answered 404', DAYS);
    expect(await whole(item)).toEqual({
      ...item,
      status: 'failed',
      claims: 1,
      write_id: any,
      due_shard: 'failed',
      next_attempt_at: later(0),
      last_error: 'VVChat answered 404',
      expires_at: expires_at(),
    });
    expect(await dueKeys('failed')).toContain(item.event_id);
  });

  test('of a row that was cut off while sending says which command may be out', async () => {
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    await inbox.failExhausted(table, stored.item, 'gave up', DAYS);
    expect(await whole(stored.item)).toMatchObject({ status: 'failed', unknown: [0] });
  });

  test('is final: nobody claims a failed row', async () => {
    const { item } = await inbox.fail(table, inbox.unclaimed(await pending()), 'x', DAYS);
    clock.advance(minutes(5));
    await expect(inbox.claim(table, item)).rejects.toThrow(inbox.LeaseLostError);
  });
});

describe('postpone', () => {
  test('by a stream worker claims, and is due again after about a minute', async () => {
    const item = await pending();
    clock.advance(5_000);
    await inbox.postpone(
      table,
      inbox.unclaimed(item),
      { last_error: 'x', tried: true },
      DAYS,
      middle,
    );
    expect(await whole(item)).toEqual({
      ...item,
      claims: 1,
      robot_calls: 1,
      write_id: any,
      last_error: 'x',
      next_attempt_at: later(minutes(1)),
    });
  });

  test('after a claim leaves the back-off that the claim preset', async () => {
    const item = await pending();
    clock.advance(120_000);
    const hold = await inbox.claim(table, item, middle);
    clock.advance(3_000);
    await inbox.postpone(table, hold, { last_error: 'x' }, DAYS, middle);
    expect(await whole(item)).toEqual({ ...hold.item, last_error: 'x', write_id: any });
  });

  test('after a renewal backs off anew', async () => {
    const item = await pending();
    clock.advance(120_000);
    const claimed = await inbox.claim(table, item, middle);
    clock.advance(90_000);
    const renewed = await inbox.renew(table, claimed, 5_000);
    await inbox.postpone(table, renewed, { last_error: 'x' }, DAYS, middle);
    expect(await whole(item)).toMatchObject({ next_attempt_at: later(minutes(1)) });
  });

  test.each([
    [0, 0],
    [7_000, 7_000],
    [minutes(300), minutes(60)],
  ])('for %i ms that VVChat asks for is due after %i ms', async (delayMs, expected) => {
    const item = await pending();
    clock.advance(120_000);
    const hold = await inbox.claim(table, item, middle);
    await inbox.postpone(table, hold, { last_error: 'x', delayMs }, DAYS);
    expect(await whole(item)).toMatchObject({ next_attempt_at: later(expected) });
  });

  test('gives up when the next attempt would come after 24 hours', async () => {
    const item = await pending();
    clock.advance(minutes(24 * 60 - 1));
    await inbox.postpone(table, inbox.unclaimed(item), { last_error: 'x' }, DAYS, middle);
    expect(await whole(item)).toMatchObject({ status: 'failed', last_error: 'x' });
  });

  test('gives up with what is unknown', async () => {
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    clock.advance(minutes(24 * 60));
    const fault = { last_error: 'x', outcomeUnknown: true };
    await inbox.postpone(table, stored, fault, DAYS);
    expect(await whole(stored.item)).toMatchObject({ status: 'failed', unknown: [0] });
  });

  test('fails after the third try of the robot', async () => {
    const item = await pending();
    const statuses: string[] = [];
    let hold = await inbox.postpone(
      table,
      inbox.unclaimed(item),
      { last_error: 'x', tried: true },
      DAYS,
    );
    while (hold.item.status === 'pending') {
      clock.advance(minutes(5));
      hold = await inbox.claim(table, hold.item);
      hold = await inbox.postpone(table, hold, { last_error: 'x', tried: true }, DAYS);
      statuses.push(`${hold.item.robot_calls} ${hold.item.status}`);
    }
    expect(statuses).toEqual(['2 pending', '3 failed']);
    expect(await whole(item)).toMatchObject({ status: 'failed', robot_calls: 3, claims: 3 });
  });

  test('gives a command of unknown outcome one more chance', async () => {
    const fault = { last_error: 'the request broke off', outcomeUnknown: true };
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    const once = await inbox.postpone(table, stored, fault, DAYS, middle);
    expect(await whole(stored.item)).toMatchObject({
      status: 'pending',
      unknown: [0],
      last_error: 'the request broke off',
    });
    clock.advance(minutes(2));
    const claimed = await inbox.claim(table, once.item);
    await inbox.postpone(table, claimed, fault, DAYS, middle);
    expect(await whole(stored.item)).toMatchObject({
      status: 'failed',
      unknown: [0],
      last_error: 'outcome unknown',
    });
  });

  test('gives each command a chance of its own', async () => {
    const fault = { last_error: 'x', outcomeUnknown: true };
    const stored = await inbox.storeReply(table, inbox.unclaimed(await pending()), commands);
    const once = await inbox.postpone(table, stored, fault, DAYS, middle);
    const counted = await inbox.markSent(table, once);
    await inbox.postpone(table, counted, fault, DAYS, middle);
    expect(await whole(stored.item)).toMatchObject({ status: 'pending', unknown: [0, 1], sent: 1 });
  });
});

describe('due', () => {
  test('finds what is due in every shard, and nothing else', async () => {
    await using other = await startEngine();
    table = other.table('inbox', clock);
    const early = await Promise.all(Array.from({ length: 60 }, () => pending()));
    clock.advance(1);
    const late = await pending();
    const failed = await pending();
    await inbox.fail(table, inbox.unclaimed(failed), 'x', DAYS);
    clock.advance(119_999);
    const keys = await Array.fromAsync(inbox.due(table));
    expect(keys.map(({ event_id }) => event_id).sort()).toEqual(
      early.map(({ event_id }) => event_id).sort(),
    );
    expect(new Set(early.map(({ due_shard }) => due_shard)).size).toBeGreaterThan(8);
    expect(keys.map(({ event_id }) => event_id)).not.toContain(late.event_id);
  });
});

test('due reads the other shards when one cannot be read, and tells of it at the end', async () => {
  await using fresh = await startEngine();
  table = fresh.table('inbox', clock);
  const items = await Promise.all(Array.from({ length: 40 }, () => pending()));
  clock.advance(120_000);
  const client = fresh.newClient();
  failToReadShard(client, items[0]?.due_shard);
  const seen: string[] = [];
  const readAll = async () => {
    for await (const { event_id } of inbox.due({ ...table, client })) seen.push(event_id);
  };
  await expect(readAll()).rejects.toThrow('no');
  const others = items.filter(({ due_shard }) => due_shard !== items[0]?.due_shard);
  expect(seen.sort()).toEqual(others.map(({ event_id }) => event_id).sort());
});

/** A table whose first write, a put or an update, takes effect while its answer is lost. */
function losingTheFirstAnswer({ name, now }: Table, operation = 'UpdateItemCommand'): Table {
  const client = engine.newClient();
  loseFirstAnswer(client, operation);
  return { client, name, now };
}

const set = ({ session_open_id, event_id }: inbox.Key, values: { claims: number }) =>
  table.client.send(
    new UpdateItemCommand({
      TableName: table.name,
      Key: { session_open_id: { S: session_open_id }, event_id: { S: event_id } },
      UpdateExpression: 'SET claims = :claims',
      ExpressionAttributeValues: { ':claims': { N: `${values.claims}` } },
    }),
  );

const withoutUndefined = (item: inbox.Item) => JSON.parse(JSON.stringify(item));
