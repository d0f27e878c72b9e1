import { describe, expect, test, vi } from 'vitest';
import { createLocalClient } from '../../local/tables.ts';
import { beforeCalls } from '../../test/engine.ts';
import { saying } from '../../test/fixtures.ts';
import { hanging, respondingWith, startDynamoDBProxy } from '../../test/proxy.ts';
import { answering, echo, three } from '../../test/robots.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import { endMute, mute } from '../mute.ts';
import { sendText } from '../vvchat/command.ts';
import { deliverNew } from './deliver.ts';
import { createMutes, FAILED_READ_MS, REFRESH_MS } from './mutes.ts';
import { deliverDue } from './retry.ts';

const on = useTestHarness();

const table = () => on.engine.table('mutes', on.clock);
const group = () => ({ kind: 'session' as const, id: saying('').data.session.session_open_id });
const app = { kind: 'app' as const, id: 'test' };

describe('a row of a muted session', () => {
  test.each([
    ['session', group],
    ['app', () => app],
  ])('is recorded, its robot is not asked, and nothing is sent (by %s)', async (_, target) => {
    await mute(table(), target());
    const asked = vi.fn(() => sendText('x'));
    const item = await on.put();
    expect(await deliverNew(on.delivery(answering(asked)), item)).toBe('ignored');
    expect(asked).not.toHaveBeenCalled();
    expect(on.sentTexts()).toEqual([]);
    const row = await on.read(item);
    expect(row).toMatchObject({ status: 'ignored', last_error: 'muted', sent: 0 });
    expect(row).not.toHaveProperty('due_shard');
    expect(row.expires_at).toBeGreaterThan(0);
  });

  test('is answered where another session or app is muted', async () => {
    await mute(table(), { kind: 'session', id: 'another' });
    await mute(table(), { kind: 'app', id: group().id });
    const item = await on.put();
    expect(await deliverNew(on.delivery(echo), item)).toBe('replied');
  });

  test('is not sent an answer that was stored before', async () => {
    const item = await on.put();
    on.vvchat.fault('send', respondingWith(503));
    expect(await deliverNew(on.delivery(echo), item)).toBe('postponed');
    await mute(table(), group());
    on.clock.advance(3_600_000);
    expect(await deliverDue(on.delivery(echo))).toEqual({ ignored: 1 });
    expect(on.sentTexts()).toEqual([]);
  });

  test('is not sent an answer for which the robot took long', async () => {
    const item = await on.put();
    const slow = answering(async () => {
      await mute(table(), group());
      on.clock.advance(REFRESH_MS);
      return sendText('x');
    });
    expect(await deliverNew(on.delivery(slow), item)).toBe('ignored');
    expect(on.sentTexts()).toEqual([]);
  });

  test.each([
    ['was sent', respondingWith(200), ['1', '2', '3']],
    ['may have been sent', respondingWith(504), ['1', '2', '3']],
  ])('is sent the rest of an answer of which a part %s', async (_, first, sent) => {
    const item = await on.put();
    on.vvchat.fault('send', first, respondingWith(503));
    expect(await deliverNew(on.delivery(three), item)).toBe('postponed');
    await mute(table(), group());
    on.vvchat.fault('send');
    while ((await on.read(item)).status === 'pending') {
      on.clock.advance(3_600_000);
      await deliverDue(on.delivery(three));
    }
    expect(await on.read(item)).toMatchObject({ status: 'replied', sent: 3 });
    expect(on.sentTexts().slice(-2)).toEqual(sent.slice(-2));
  });
});

describe('the mutes of a container', () => {
  const included = (mutes: ReturnType<typeof createMutes>) =>
    mutes.include({ session_open_id: group().id, app_id: 'test' });

  test('are read once for many rows, and again after 30 s', async () => {
    const client = on.engine.newClient();
    let reads = 0;
    beforeCalls(client, () => void reads++);
    const mutes = createMutes({ ...table(), client });
    const all = await Promise.all(Array.from({ length: 20 }, () => included(mutes)));
    expect(all).toEqual(Array(20).fill(false));
    expect(reads).toBe(1);
    await mute(table(), group());
    on.clock.advance(REFRESH_MS - 1);
    expect(await included(mutes)).toBe(false);
    on.clock.advance(1);
    expect(await included(mutes)).toBe(true);
    expect(reads).toBe(2);
    await endMute(table(), group());
    on.clock.advance(REFRESH_MS);
    expect(await included(mutes)).toBe(false);
  });

  test('are read again within half a minute', () => {
    expect(REFRESH_MS).toBeLessThanOrEqual(30_000);
  });

  test('end at their time without a reading', async () => {
    await mute(table(), group(), 10_000);
    const mutes = createMutes(table());
    expect(await included(mutes)).toBe(true);
    on.clock.advance(10_000);
    expect(await included(mutes)).toBe(false);
  });

  test('are the last ones that could be read while the table cannot be', async () => {
    await mute(table(), group());
    const client = on.engine.newClient();
    let isDown = false;
    let reads = 0;
    beforeCalls(client, () => {
      reads++;
      if (isDown) throw new Error('down');
    });
    const mutes = createMutes({ ...table(), client });
    expect(await included(mutes)).toBe(true);
    isDown = true;
    on.clock.advance(REFRESH_MS);
    expect(await included(mutes)).toBe(true);
    on.clock.advance(FAILED_READ_MS - 1);
    expect(await included(mutes)).toBe(true);
    expect(reads).toBe(2);
    on.clock.advance(1);
    isDown = false;
    await endMute(table(), group());
    expect(await included(mutes)).toBe(false);
  });

  test('that were never read, or do not come, keep no row from its answer', async () => {
    const down = on.engine.newClient();
    beforeCalls(down, () => {
      throw new Error('down');
    });
    expect(await included(createMutes({ ...table(), client: down }))).toBe(false);

    await using proxy = await startDynamoDBProxy(on.engine.endpoint);
    proxy.intervene = () => hanging;
    const client = createLocalClient(proxy.url);
    const mutes = createMutes({ ...table(), client });
    const item = await on.put();
    expect(await deliverNew({ ...on.delivery(echo), mutes }, item)).toBe('replied');
  });
});
