import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openWebview } from 'vvchat-robot';
import { iso, updateIf } from '../lib/aws/table.ts';
import { defineRobot } from '../lib/define-robot.ts';
import { deliverNew, RobotTimeoutError } from '../lib/delivery/deliver.ts';
import type { Delivery } from '../lib/delivery/delivery.ts';
import { deliverDue } from '../lib/delivery/retry.ts';
import type { Item } from '../lib/inbox/item.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import { mute } from '../lib/mute.ts';
import { createRobotApi, VVChatError } from '../lib/vvchat/api.ts';
import { AppKeyError } from '../lib/vvchat/app-key.ts';
import { createTokens, type Tokens } from '../lib/vvchat/token.ts';
import { beforeCalls } from '../test/engine.ts';
import { saying } from '../test/fixtures.ts';
import { type Fault, resetting, respondingWith } from '../test/proxy.ts';
import { answering, echo } from '../test/robots.ts';
import { useTestHarness } from '../test/use-harness.ts';
import { giveUp } from './pending.ts';
import { REASONS, reasonsFor } from './reasons.ts';

const on = useTestHarness();

const produced = new Set<string>();

/** The reasons that a row has now, as the table shows them; each of them is in the table. */
async function reasonsOf(item: Item): Promise<string[]> {
  const { last_error = '' } = await on.read(item);
  const reasons = reasonsFor(last_error).map(({ begins }) => begins);
  expect(reasons, last_error).not.toEqual([]);
  for (const it of reasons) produced.add(it);
  return reasons;
}

/** Delivers a new row once. */
async function deliverOnce(delivery: Delivery, event = saying('x')): Promise<Item> {
  const item = await on.put(event);
  await deliverNew(delivery, item);
  return item;
}

const throwing = (error: Error) =>
  answering(() => {
    throw error;
  });

const tokensThatThrow = (error: Error): Tokens =>
  createTokens(on.engine.table('tokens', on.clock), () => Promise.reject(error));

describe('the words for a last_error', () => {
  test.each<[string, readonly Fault[]]>([
    ['VVChat answered 429 …', [respondingWith(429)]],
    ['VVChat answered 4xx …', [respondingWith(404)]],
    ['VVChat answered 2xx …', [respondingWith(200, { err_code: 1 })]],
    ['VVChat answered 5xx …', [respondingWith(503)]],
    ['VVChat answered 5xx …', [respondingWith(504)]],
    ['VVChat answered 3xx …', [respondingWith(302)]],
    ['the request to VVChat broke off …', [resetting]],
  ])('are there where a send ends like this: %s', async (reason, faults) => {
    on.vvchat.fault('send', ...faults);
    expect(await reasonsOf(await deliverOnce(on.delivery(echo)))).toEqual([reason]);
  });

  test('are there when VVChat cannot be reached', async () => {
    const api = createRobotApi('http://127.0.0.1:9');
    const item = await deliverOnce({ ...on.delivery(echo), api });
    expect(await reasonsOf(item)).toEqual(['VVChat cannot be reached …']);
  });

  test.each<[string, () => Tokens]>([
    ['no token: app …', () => tokensThatThrow(new AppKeyError('app test has no key in /x/'))],
    [
      'no token: the key …',
      () => tokensThatThrow(new AppKeyError('the key of app test cannot be read from SSM')),
    ],
    [
      'no token: VVChat answered 4xx …',
      () => tokensThatThrow(new VVChatError('refused', 'VVChat answered 403')),
    ],
    ['no token: VVChat …', () => tokensThatThrow(new VVChatError('busy', 'VVChat answered 503'))],
    [
      'no token: …',
      () => {
        const client = on.engine.newClient();
        beforeCalls(client, () => {
          throw Object.assign(new Error('x'), { name: 'InternalServerError' });
        });
        return createTokens({ ...on.engine.table('tokens', on.clock), client }, () =>
          Promise.reject(new Error('never')),
        );
      },
    ],
  ])('are there when there is %s', async (reason, tokens) => {
    const item = await deliverOnce({ ...on.delivery(echo), tokens: tokens() });
    expect(await reasonsOf(item)).toEqual([reason]);
  });

  test('are there when another worker takes long for the token', async () => {
    const table = on.engine.table('tokens', on.clock);
    const lease_ends_at = iso(on.clock.now() + 60_000);
    await updateIf(table, { app_id: 'test' }, { lease_id: 'x', lease_ends_at }, [
      'attribute_not_exists(app_id)',
    ]);
    const client = on.engine.newClient();
    beforeCalls(client, () => on.clock.advance(8_000));
    const tokens = createTokens({ ...table, client }, () => Promise.reject(new Error('never')));
    const item = await deliverOnce({ ...on.delivery(echo), tokens });
    expect(await reasonsOf(item)).toEqual(['another worker is still fetching the token']);
  });

  test.each<[string, () => Parameters<typeof on.delivery>[0]]>([
    ['the robot threw …', () => throwing(new TypeError('x'))],
    ['RobotTimeoutError: …', () => throwing(new RobotTimeoutError('The robot took over 60 s.'))],
    ['InvalidAnswerError: …', () => answering(() => 'text' as never)],
    ['InvalidRobotError: …', () => defineRobot({ at: [[(() => 1) as never, () => null]] })],
  ])('are there when %s', async (reason, robot) => {
    expect(await reasonsOf(await deliverOnce(on.delivery(robot())))).toEqual([reason]);
  });

  test('are there when a command is not for this session', async () => {
    const event = saying('x');
    event.data.session.session_type = '1';
    const robot = answering(() => openWebview({ url: 'https://example.com', height: '50%' }));
    expect(await reasonsOf(await deliverOnce(on.delivery(robot), event))).toEqual([
      'InvalidCommandError: …',
    ]);
  });

  test('are there when the function has no time left', async () => {
    const delivery = { ...on.delivery(echo), deadline: on.clock.now() + 1_000 };
    expect(await reasonsOf(await deliverOnce(delivery))).toEqual(['the function had no time left']);
  });

  test('are there when a row is muted', async () => {
    await mute(on.engine.table('mutes', on.clock), { kind: 'app', id: 'test' });
    expect(await reasonsOf(await deliverOnce(on.delivery(echo)))).toEqual(['muted']);
  });

  test('are there when a row is given up, with the reason before it', async () => {
    const old = await on.put();
    on.clock.advance(25 * 3_600_000);
    await deliverDue(on.delivery(echo));
    expect(await reasonsOf(old)).toEqual(['gave up: …', 'no attempt was finished']);

    on.vvchat.fault('send', respondingWith(503));
    const item = await deliverOnce(on.delivery(echo));
    expect(await giveUp(on.inbox, await on.read(item))).toBe('done');
    expect(await reasonsOf(item)).toEqual(['given up by an operator: …', 'VVChat answered 5xx …']);
  });

  test('are there when the robot crashes the function at each of its calls', async () => {
    const item = await on.put();
    for (let row = item; row.status === 'pending'; row = await on.read(item)) {
      on.clock.advance(3_600_000);
      const isLast = row.robot_calls >= 2 && row.phase !== undefined;
      if (isLast) await deliverDue(on.delivery(echo));
      else await inbox.claim(on.inbox, row);
    }
    expect(await reasonsOf(item)).toEqual([
      'no answer after …',
      'the function crashed while the robot answered',
    ]);
  });

  test('are there when the function crashes while it sends', async () => {
    const first = await on.put();
    await inbox.storeReply(on.inbox, inbox.unclaimed(first), [{ command: 'x' } as never]);
    on.clock.advance(25 * 3_600_000);
    await deliverDue(on.delivery(echo));
    expect(await reasonsOf(first)).toEqual([
      'gave up: …',
      'the function crashed while a command was sent',
    ]);
  });

  test('are there when two sends of a command end without a response', async () => {
    on.vvchat.fault('send', resetting, resetting);
    const item = await deliverOnce(on.delivery(echo));
    while ((await on.read(item)).status === 'pending') {
      on.clock.advance(3_600_000);
      await deliverDue(on.delivery(echo));
    }
    expect(await reasonsOf(item)).toEqual(['outcome unknown']);
  });

  test('are none for a text that the service does not write', () => {
    expect(reasonsFor('who knows')).toEqual([]);
  });
});

test('every reason of the table was produced', () => {
  expect([...produced].sort()).toEqual(REASONS.map(({ begins }) => begins).sort());
});

test('the table "What failed" of docs/operations.md has the same words', () => {
  const text = readFileSync(new URL('../docs/operations.md', import.meta.url), 'utf8');
  const [, section = ''] = /^## What failed\n(.*?)^## /ms.exec(text) ?? [];
  const rows = [...section.matchAll(/^\| `(.+?)` \| (.+?) \| (.+?) \|$/gm)];
  // After those of the header.
  expect(rows.slice(1).map(([, begins, cause, remedy]) => ({ begins, cause, remedy }))).toEqual(
    REASONS.map((it) => ({ ...it })),
  );
});
