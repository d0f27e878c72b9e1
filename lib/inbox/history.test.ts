import { expect, test } from 'vitest';
import { historyOf, withHistory } from './history.ts';

test('a history keeps the latest five entries, with reasons of 120 characters', () => {
  let history: string | undefined;
  for (let i = 0; i < 9; i++) {
    history = withHistory(
      { ...(history !== undefined && { history }) },
      {
        at: `${i}`,
        what: 'postponed',
        why: 'x'.repeat(1_000),
      },
    );
  }
  const entries = historyOf({ ...(history !== undefined && { history }) });
  expect(entries.map(({ at }) => at)).toEqual(['4', '5', '6', '7', '8']);
  expect(entries[0]?.why).toHaveLength(120);
  expect(history?.length).toBeLessThan(1_024);
});

test('a row without a history has an empty one', () => {
  expect(historyOf({})).toEqual([]);
  expect(historyOf({ history: withHistory({}, { at: '1', what: 'redriven' }) })).toEqual([
    { at: '1', what: 'redriven' },
  ]);
});
