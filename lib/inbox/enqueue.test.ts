import { ResourceNotFoundException } from '@aws-sdk/client-dynamodb';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loseFirstAnswer } from '../../test/engine.ts';
import { documented, newArrival } from '../../test/fixtures.ts';
import { useInbox } from '../../test/inbox.ts';
import { iso } from '../aws/table.ts';
import { closeWebview, sendText } from '../vvchat/command.ts';
import type { Event } from '../vvchat/event.ts';
import { enqueue, findLatest } from './enqueue.ts';
import { fingerprintOf, type Key } from './item.ts';
import * as inbox from './transitions.ts';

const on = useInbox();

const sessionOf = ({ data }: Event) => ({ session_open_id: data.session.session_open_id });
const later = (milliseconds: number) => iso(on.clock.now() + milliseconds);
const commands = [sendText('您好'), closeWebview()];
const any = expect.any(String);

describe('enqueue', () => {
  test('inserts a pending row with all fields of the event', async () => {
    const { event_id, status } = await on.deliver(documented.at);
    expect({ event_id, status }).toEqual({
      event_id: 'c1aa66f6e13d862331c665148b0796fc-0000000001',
      status: 'queued',
    });
    expect(
      await on.read({ session_open_id: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2', event_id }),
    ).toEqual({
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

  test('leaves out the fields that an event lacks', async () => {
    const event = structuredClone(documented.join);
    event.data.trigger = { target: 'robot', open_id: undefined };
    const item = await on.pending(event);
    expect(item).not.toHaveProperty('text');
    expect(item).not.toHaveProperty('trigger_open_id');
  });

  test('takes an equal event within the window for a duplicate, and after it for a new message', async () => {
    const event = on.message();
    const first = await on.deliver(event);
    on.clock.advance(4_999);
    expect(await on.deliver(event)).toEqual({ ...first, status: 'duplicate' });
    on.clock.advance(1);
    const second = await on.deliver(event);
    expect(second).toEqual({
      event_id: first.event_id.replace(/1$/, '2'),
      status: 'queued',
    });
    on.clock.advance(4_999);
    expect(await on.deliver(event)).toEqual({ ...second, status: 'duplicate' });
  });

  test('does so at any distance, counted from the latest row', async () => {
    const distance = fc.oneof(
      fc.integer({ min: 0, max: 15_000 }),
      fc.constantFrom(0, 1, 4_999, 5_000, 5_001),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(distance, { minLength: 1, maxLength: 8 }), async (distances) => {
        const event = on.message();
        let newest = await on.deliver(event);
        let age = 0;
        for (const it of distances) {
          on.clock.advance(it);
          age += it;
          const isDuplicate = age < 5_000;
          const put = await on.deliver(event);
          expect(put.status).toBe(isDuplicate ? 'duplicate' : 'queued');
          expect(put.event_id === newest.event_id).toBe(isDuplicate);
          if (!isDuplicate) [newest, age] = [put, 0];
        }
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  test('takes a row that is less than 30 s in the future for a young one', async () => {
    const event = on.message();
    await on.deliver(event);
    on.clock.advance(-29_999);
    expect(await on.deliver(event)).toMatchObject({ status: 'duplicate' });
    on.clock.advance(-1);
    expect(await on.deliver(event)).toMatchObject({ status: 'queued' });
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
  ])('distinguishes events by their %s', async (_, change) => {
    const event = structuredClone(documented.at);
    change(event);
    expect(fingerprintOf(event)).not.toBe(fingerprintOf(documented.at));
  });

  test('takes an event with another robot number for an equal one', () => {
    const event = structuredClone(documented.at);
    event.data.robot.robot_no = 'renamed';
    expect(fingerprintOf(event)).toBe(fingerprintOf(documented.at));
  });

  test('queues one of 50 equal deliveries at the same moment', async () => {
    const event = on.message();
    const results = await Promise.all(Array.from({ length: 50 }, () => on.deliver(event)));
    expect(results.filter(({ status }) => status === 'queued')).toHaveLength(1);
    expect(new Set(results.map(({ event_id }) => event_id)).size).toBe(1);
  });

  test('queues one of two at the same moment, though their clocks are 20 s apart', async () => {
    const event = on.message();
    const slow = { ...on.table, now: () => on.clock.now() - 20_000 };
    const first = await enqueue(slow, newArrival(event), 5);
    expect(await enqueue(on.table, newArrival(event), 5)).toEqual({
      ...first,
      status: 'duplicate',
    });
  });

  test('queues each equal delivery when the window is 0', async () => {
    const event = on.message();
    const results = await Promise.all(Array.from({ length: 5 }, () => on.deliver(event, 0)));
    expect(results.every(({ status }) => status === 'queued')).toBe(true);
    expect(new Set(results.map(({ event_id }) => event_id)).size).toBe(5);
  });

  test.each([5, 0])(
    'recognises its own row when only the answer was lost (window %i s)',
    async (window) => {
      const event = on.message();
      const lossy = { ...on.table, client: on.engine.newClient() };
      loseFirstAnswer(lossy.client, 'PutItemCommand');
      expect(await enqueue(lossy, newArrival(event), window)).toMatchObject({
        status: 'queued',
      });
      expect((await findLatest(on.table, event)).latest).toMatchObject({
        event_id: expect.stringMatching(/-0000000001$/),
      });
    },
  );

  test.each([5, 0])(
    'recognises its own row even if it is answered by then (window %i s)',
    async (window) => {
      const event = on.message();
      const lossy = { ...on.table, client: on.engine.newClient() };
      loseFirstAnswer(lossy.client, 'PutItemCommand', async () => {
        const key = { ...(await findLatest(on.table, event)).latest, ...sessionOf(event) } as Key;
        await inbox.storeReply(on.table, inbox.unclaimed(await on.read(key)), commands);
      });
      expect(await enqueue(lossy, newArrival(event), window)).toEqual({
        event_id: expect.stringMatching(/-0000000001$/),
        status: 'queued',
      });
    },
  );

  test('rejects with any other error of DynamoDB', async () => {
    const nowhere = { ...on.table, name: 'no-such-table' };
    await expect(enqueue(nowhere, newArrival(on.message()), 5)).rejects.toThrow(
      ResourceNotFoundException,
    );
  });
});
