import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Clock, type Engine, startEngine } from '../test/engine.ts';
import { documented } from '../test/fixtures.ts';
import { fromAttributes, iso, type Table, toAttributes } from './aws/table.ts';
import { recordMembership } from './membership.ts';
import type { Event } from './vvchat/event.ts';

let engine: Engine;
let clock: Clock;
let table: Table;
let session = 0;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(() => {
  clock = new Clock();
  table = engine.table('memberships', clock);
  session++;
});

/** A documented event, in a session that no other test has. */
const inNewSession = (event: Event): Event => {
  const copy = structuredClone(event);
  copy.data.session.session_open_id = `session-${session}`;
  copy.data.robot = documented.at.data.robot;
  return copy;
};

const rowOf = async ({ data }: Event) => {
  const { Item } = await engine.client.send(
    new GetItemCommand({
      TableName: table.name,
      Key: toAttributes({
        session_open_id: data.session.session_open_id,
        robot_open_id: data.robot.open_id,
      }),
    }),
  );
  return Item && fromAttributes(Item);
};

test('every event sets its attributes in the one row of robot and session', async () => {
  const times: string[] = [];
  for (const event of [documented.join, documented.open, documented.at]) {
    times.push(iso(clock.now()));
    await recordMembership(table, inNewSession(event));
    clock.advance(60_000);
  }
  const [joined_at, last_opened_at, last_mentioned_at] = times;
  expect(await rowOf(inNewSession(documented.at))).toEqual({
    session_open_id: `session-${session}`,
    robot_open_id: 'lJsDBB01QzGpBKOC7uaZB6D0QGZWBMCS',
    app_id: 'test',
    robot_no: 'xds2323',
    session_type: '2',
    first_seen_at: joined_at,
    last_seen_at: last_mentioned_at,
    joined_at,
    invited_by: 'CWYlCXOccx73NnVGntzatmSLEzgoFMTO',
    last_opened_at,
    last_opened_by: 'CWYlCXOccx73NnVGntzatmSLEzgoFMTO',
    last_mentioned_at,
    last_mentioned_by: 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU',
  });
});

test('a robot that joined before the first deployment appears with its first event', async () => {
  await recordMembership(table, inNewSession(documented.open));
  expect(await rowOf(inNewSession(documented.open))).toMatchObject({
    first_seen_at: iso(clock.now()),
  });
});

test('an equal event changes the times alone', async () => {
  const event = inNewSession(documented.join);
  await recordMembership(table, event);
  const before = await rowOf(event);
  clock.advance(1_000);
  await recordMembership(table, event);
  const now = iso(clock.now());
  expect(await rowOf(event)).toEqual({ ...before, last_seen_at: now, joined_at: now });
});

test('an event without a person removes the last one', async () => {
  const event = inNewSession(documented.join);
  await recordMembership(table, event);
  event.data.trigger = { target: 'robot', open_id: undefined };
  await recordMembership(table, event);
  const row = await rowOf(event);
  expect(row).toMatchObject({ joined_at: iso(clock.now()) });
  expect(row).not.toHaveProperty('invited_by');
});

test.each([documented.join, documented.open])(
  'one write unit for $event on a known row',
  async (documentedEvent) => {
    const event = inNewSession(documentedEvent);
    await recordMembership(table, event);
    const client = engine.newClient();
    const units: unknown[] = [];
    client.middlewareStack.add(
      (next) => async (args) => {
        const input = { ...args.input, ReturnConsumedCapacity: 'INDEXES' };
        const result = await next({ ...args, input });
        units.push((result.output as { ConsumedCapacity?: unknown }).ConsumedCapacity);
        return result;
      },
      { step: 'initialize' },
    );
    await recordMembership({ ...table, client }, event);
    expect(units).toEqual([
      { TableName: table.name, CapacityUnits: 1, Table: { CapacityUnits: 1 } },
    ]);
  },
);
