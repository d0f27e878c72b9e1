import { expect, test } from 'vitest';
import { MAX_KEYS_OF_SESSION, Turns } from './turns.ts';

const key = (session_open_id: string, i: number) => ({ session_open_id, event_id: `${i}` });
const turnsOf = (keys: ReturnType<typeof key>[]) => {
  const turns = new Turns();
  for (const it of keys) turns.add(it);
  return [...turns.inTurns()].map((it) => `${it.session_open_id}${it.event_id}`);
};

test('one row of each session has its turn, until none is left', () => {
  const keys = [key('a', 1), key('a', 2), key('a', 3), key('b', 4), key('c', 5), key('c', 6)];
  expect(turnsOf(keys)).toEqual(['a1', 'b4', 'c5', 'a2', 'c6', 'a3']);
  expect(turnsOf([])).toEqual([]);
});

test('the only row of a session comes second behind a session of 100,000', () => {
  const flood = Array.from({ length: 100_000 }, (_, i) => key('flood', i));
  const order = turnsOf([...flood, key('quiet', 1)]);
  expect(order.indexOf('quiet1')).toBe(1);
  expect(order).toHaveLength(MAX_KEYS_OF_SESSION + 1);
});

test('no more keys are taken up than memory allows', () => {
  const turns = new Turns();
  let count = 0;
  for (let session = 0; session < 51 && !turns.isFull; session++) {
    for (let i = 0; i < MAX_KEYS_OF_SESSION && !turns.isFull; i++, count++) {
      turns.add(key(`${session}`, i));
    }
  }
  expect(count).toBe(1_000_000);
});
