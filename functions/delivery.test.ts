import type { Context, DynamoDBStreamEvent } from 'aws-lambda';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { defineRobot, sendText } from 'vvchat-robot';
import type { Key } from '../lib/inbox/item.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import { nameOf } from '../local/names.ts';
import { Clock } from '../test/engine.ts';
import { documented, sample, saying } from '../test/fixtures.ts';
import { startTestHarness, type TestHarness } from '../test/harness.ts';
import { countedDuring } from '../test/metrics.ts';
import { respondingWith } from '../test/proxy.ts';
import { APPS } from '../test/vvchat.ts';

/** The functions have the time of day. */
class Today extends Clock {
  override readonly now = Date.now;
}

/** In place of the author's robot. */
const robot = defineRobot({
  at: [[/^/, ({ text }) => sendText(text)]],
  'join-group-for-invite': () => sendText('joined'),
});

let around: TestHarness;

beforeAll(async () => {
  around = await startTestHarness(new Today());
});
afterAll(() => around[Symbol.asyncDispose]());
beforeEach(() => {
  vi.resetModules();
  vi.doMock('../robot/robot.ts', () => ({ robot }));
  for (const level of ['info', 'warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation(() => {});
  }
  const env = {
    ...around.engine.environment,
    INBOX_TABLE: nameOf('inbox'),
    TOKENS_TABLE: nameOf('tokens'),
    MUTES_TABLE: nameOf('mutes'),
    VVCHAT_API_URL: around.vvchat.url,
    INBOX_RETENTION_DAYS: '30',
    ROBOT_TIMEOUT_SECONDS: '60',
    APP_KEYS: [...APPS].map((pair) => pair.join('=')).join(','),
  };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
});

const within = (milliseconds: number) =>
  ({ awsRequestId: 'request', getRemainingTimeInMillis: () => milliseconds }) as Context;

/** Stream records of rows. */
const inserted = (...keys: Key[]): DynamoDBStreamEvent => ({
  Records: keys.map(({ session_open_id, event_id }) => ({
    ...sample('reply').Records[0],
    dynamodb: { Keys: { session_open_id: { S: session_open_id }, event_id: { S: event_id } } },
  })),
});

const sentTexts = () =>
  around.vvchat.carried.map(({ robot_no, params }) => [robot_no, params.text]);

test('reply answers each documented event on its own', async () => {
  const { handler } = await import('./reply.ts');
  const at = await around.put(documented.at);
  const join = await around.put(documented.join);
  around.vvchat.fault('send', respondingWith(503));
  const late = await around.put(saying('help'));
  const summary = await handler(inserted(at, join, late), within(90_000));
  expect(summary).toEqual({ replied: 2, postponed: 1 });
  const statuses = [at, join, late].map(async (item) => (await around.read(item)).status);
  expect((await Promise.all(statuses)).sort()).toEqual(['pending', 'replied', 'replied']);
});

test('reply reports an absent row for the sample event', async () => {
  const { handler } = await import('./reply.ts');
  expect(await handler(sample('reply'), within(90_000))).toEqual({ absent: 1 });
});

test('reply rejects records of another table', async () => {
  const { handler } = await import('./reply.ts');
  for (const record of [{}, { dynamodb: { Keys: { session_open_id: { S: 'x' } } } }]) {
    await expect(handler({ Records: [record] }, within(90_000))).rejects.toThrow(
      'The stream record lacks the keys of the inbox table; check the event source mapping.',
    );
  }
});

test('retry delivers what is due', async () => {
  const { handler } = await import('./retry.ts');
  const first = await around.put(saying('first'));
  await inbox.postponeSending(around.inbox, inbox.unclaimed(first), 'x', { none: true });
  around.vvchat.carried.length = 0;
  expect(await handler(sample('retry'), within(300_000))).toEqual({ replied: 1 });
  expect(sentTexts()).toEqual([['xds2323', expect.stringContaining('first')]]);
  expect(console.info).toHaveBeenLastCalledWith({ message: 'due rows delivered', replied: 1 });
});

test('retry counts no events, so that silence is a number', async () => {
  const { handler } = await import('./retry.ts');
  const counted = await countedDuring(() => handler(sample('retry'), within(300_000)));
  expect(counted).toContainEqual({ Events: 0 });
});

test('retry logs that nothing is due', async () => {
  const { handler } = await import('./retry.ts');
  expect(await handler(sample('retry'), within(300_000))).toEqual({});
  expect(console.info).toHaveBeenLastCalledWith({ message: 'nothing is due' });
});

test('retry puts failed rows back on request', async () => {
  const { handler } = await import('./retry.ts');
  const item = await around.put(saying('redriven'));
  await inbox.fail(around.inbox, inbox.unclaimed(item), 'VVChat answered 400');
  expect(await handler(sample('redrive'), within(300_000))).toMatchObject({
    listed: 1,
    rows: [{ event_id: item.event_id, last_error: 'VVChat answered 400' }],
  });
  expect(await handler({ redrive: {} }, within(300_000))).toMatchObject({ redriven: 1 });
  expect(console.info).toHaveBeenLastCalledWith({
    message: 'failed rows read',
    redriven: 1,
    outcome_unknown: 0,
    others: 0,
  });
  around.vvchat.carried.length = 0;
  expect(await handler({}, within(300_000))).toEqual({ replied: 1 });
  expect(sentTexts()).toEqual([['xds2323', expect.stringContaining('redriven')]]);
});

test('retry rejects an unknown event instead of taking it for the schedule', async () => {
  const { handler } = await import('./retry.ts');
  await expect(
    handler({ redriev: {} } as unknown as Record<string, never>, within(300_000)),
  ).rejects.toThrow(
    'The event must be that of the schedule, or {"redrive": {…}} to put failed rows back.',
  );
});

test('retry reports an error of DynamoDB by its name alone', async () => {
  vi.stubEnv('INBOX_TABLE', 'no-such-table');
  const { handler } = await import('./retry.ts');
  for (const event of [{}, { redrive: {} }] as Record<string, never>[]) {
    await expect(handler(event, within(300_000))).rejects.toThrow(
      'DynamoDB failed (ResourceNotFoundException); see the log, and call again.',
    );
  }
});

test("VVChat's test host, which has no https, causes a warning", async () => {
  vi.stubEnv('VVCHAT_API_URL', 'http://dev.vvchat.im');
  await import('./reply.ts');
  expect(console.warn).toHaveBeenCalledExactlyOnceWith({
    message: "VVChat's test host has no https: keys and tokens can be read on their way",
  });
});

test('neither function loads without its configuration', async () => {
  vi.stubEnv('TOKENS_TABLE', '');
  await expect(import('./reply.ts')).rejects.toThrow('TOKENS_TABLE is missing.');
  await expect(import('./retry.ts')).rejects.toThrow('TOKENS_TABLE is missing.');
});
