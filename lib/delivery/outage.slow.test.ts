import { describe, expect, test } from 'vitest';
import { saying } from '../../test/fixtures.ts';
import { type Fault, resetting, resettingAfter, respondingWith } from '../../test/proxy.ts';
import { echo } from '../../test/robots.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import type { Item } from '../inbox/item.ts';
import { VVChatError } from '../vvchat/api.ts';
import { deliverNew } from './deliver.ts';
import type { Delivery } from './delivery.ts';
import { deliverDue } from './retry.ts';

const on = useTestHarness();

/** A message every ten seconds, each in a group of its own. */
const EVERY_MS = 10_000;

/** VVChat as it is during an outage. */
type Outage = Fault | 'unreachable' | 'without a token';

function during(outage: Outage): Delivery {
  const delivery = on.delivery(echo);
  if (outage !== 'unreachable' && outage !== 'without a token') {
    on.vvchat.intervene = ({ operation }) => (operation === 'send' ? outage : undefined);
    return delivery;
  }
  const fail = async () => {
    throw new VVChatError('unreachable', 'VVChat cannot be reached (ECONNREFUSED)');
  };
  if (outage === 'unreachable') return { ...delivery, api: { send: fail } };
  on.vvchat.intervene = ({ operation }) =>
    operation === 'token' ? respondingWith(500) : undefined;
  return delivery;
}

/** Plays an outage, with messages before, during and after it, until all rows are settled. */
async function play(outage: Outage, minutes: number): Promise<Item[]> {
  const begin = on.clock.now() + 60_000;
  const end = begin + minutes * 60_000;
  const items: Item[] = [];
  for (let tick = 0; on.clock.now() < end + 60 * 60_000; tick++) {
    const isOut = on.clock.now() >= begin && on.clock.now() < end;
    on.vvchat.intervene = () => undefined;
    const delivery = isOut ? during(outage) : on.delivery(echo);
    if (on.clock.now() < end + 60_000) {
      const event = saying(`message ${tick}`);
      event.data.session.session_open_id = `group ${tick}`;
      const item = await on.put(event);
      items.push(item);
      await deliverNew(delivery, item);
    }
    if (tick % 6 === 0) await deliverDue(delivery);
    on.clock.advance(EVERY_MS);
  }
  return Promise.all(items.map(on.read));
}

const KINDS: readonly [string, Outage][] = [
  ['shows as 500', respondingWith(500)],
  ['shows as 503', respondingWith(503)],
  ['shows as 429', respondingWith(429)],
  ['shows as 504', respondingWith(504)],
  ['breaks requests off', resetting],
  ['breaks requests off that it carried out', resettingAfter],
  ['cannot be reached', 'unreachable'],
  ['gives no token', 'without a token'],
];

describe.each([3, 10])('an outage of VVChat of %i minutes', (minutes) => {
  test.each(KINDS)('that %s costs no message', async (_, outage) => {
    const items = await play(outage, minutes);
    expect(items.length).toBeGreaterThan(minutes * 6);
    expect(items.filter(({ status }) => status !== 'replied')).toEqual([]);
    const sent = on.sentTexts();
    expect(new Set(sent).size).toBe(items.length);
    const repeated = items.filter(({ text }) => sent.filter((it) => it === text).length > 1);
    expect(repeated.filter(({ unknown }) => unknown === undefined)).toEqual([]);
    for (const { text } of repeated) expect(sent.filter((it) => it === text)).toHaveLength(2);
  });
});
