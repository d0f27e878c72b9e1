import { expect, test } from 'vitest';
import { zonedTime } from './zoned-time.ts';

test.each([
  ['2026-03-14T09:00Z', Date.UTC(2026, 2, 14, 9)],
  ['2026-03-14T09:00:30.5+08:00', Date.UTC(2026, 2, 14, 1, 0, 30, 500)],
  ['2028-02-29T00:00:00Z', Date.UTC(2028, 1, 29)],
])('%s is read', (text, time) => {
  expect(zonedTime(text)).toBe(time);
});

test.each([
  '2026-02-31T00:00Z',
  '2026-13-01T00:00Z',
  '2026-03-14T25:00Z',
  '2026-03-14T09:00',
  '2026-03-14',
  '',
])('%j is no time', (text) => {
  expect(zonedTime(text)).toBeUndefined();
});
