import { BatchWriteItemCommand } from '@aws-sdk/client-dynamodb';
import { describe, expect, test } from 'vitest';
import { saying } from '../../test/fixtures.ts';
import { respondingWith } from '../../test/proxy.ts';
import { answering } from '../../test/robots.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import { toAttributes } from '../aws/table.ts';
import { fingerprintOf, toItem } from '../inbox/item.ts';
import { dueRows } from '../inbox/queries.ts';
import { sendText } from '../vvchat/command.ts';
import { deliverDue } from './retry.ts';
import { Turns } from './turns.ts';

const on = useTestHarness();

/** Puts due rows of a group into the table, by batches. */
async function putDue(session_open_id: string, count: number, text: string) {
  const items = Array.from({ length: count }, (_, i) => {
    const event = saying(`${text} ${i}`);
    event.data.session.session_open_id = session_open_id;
    const fingerprint = fingerprintOf(event);
    return toItem(event, { fingerprint, number: 1, now: on.clock.now() - 120_000 });
  });
  for (let i = 0; i < items.length; i += 25) {
    const requests = items
      .slice(i, i + 25)
      .map((item) => ({ PutRequest: { Item: toAttributes({ ...item }) } }));
    await on.inbox.client.send(
      new BatchWriteItemCommand({ RequestItems: { [on.inbox.name]: requests } }),
    );
  }
}

const robot = answering(({ text }) => {
  if (text.startsWith('throws')) throw new Error('x');
  return sendText(text);
});

const answered = () => on.sentTexts().filter((text) => text?.startsWith('innocent')).length;

describe('the last of ten rows of a group is answered in the first run', () => {
  test('among 3,000 rows of another that make the robot throw', async () => {
    await putDue('a throwing group', 3_000, 'throws');
    await putDue('an innocent group', 10, 'innocent');
    const summary = await deliverDue(on.delivery(robot));
    expect(answered()).toBe(10);
    expect(summary).toEqual({ replied: 10, postponed: 3_000 });
  });

  test('among 2,000 rows of another that VVChat answers with 429', async () => {
    await putDue('a throttled group', 2_000, 'busy');
    await putDue('an innocent group', 10, 'innocent');
    on.vvchat.intervene = ({ operation, body }) =>
      operation === 'send' && `${body}`.includes('a throttled group')
        ? respondingWith(429)
        : undefined;
    const { postponed = 0, ...others } = await deliverDue(on.delivery(robot));
    expect(answered()).toBe(10);
    expect(postponed).toBeLessThanOrEqual(105);
    expect(others).toEqual({ replied: 10, skipped: 2_000 - postponed });
  });
});

test('the only due row of a group is among the first two, before 100,000 of another', async () => {
  await putDue('a flooding group', 100_000, 'flood');
  await putDue('an innocent group', 1, 'innocent');
  const turns = new Turns();
  for await (const key of dueRows(on.inbox)) turns.add(key);
  const order = [...turns.inTurns()].map(({ session_open_id }) => session_open_id);
  expect(order.indexOf('an innocent group')).toBeLessThanOrEqual(1);
  expect(order).toHaveLength(20_001);
}, 600_000);
