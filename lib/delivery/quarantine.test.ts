import { describe, expect, test } from 'vitest';
import { documented } from '../../test/fixtures.ts';
import { MAX_ROBOT_CALLS } from '../inbox/backoff.ts';
import { fingerprintOf, toItem } from '../inbox/item.ts';
import { Quarantine } from './quarantine.ts';

const now = Date.parse('2026-03-14T09:00:00Z');
const fingerprint = fingerprintOf(documented.at);
const item = toItem(documented.at, { fingerprint, number: 1, now });

describe('the quarantine', () => {
  test.each(['asking', 'sending'] as const)(
    'includes a row whose worker crashed while %s',
    (phase) => {
      expect(Quarantine.includes({ ...item, phase }, now)).toBe(true);
    },
  );

  test('leaves out a row that was postponed, and one that is to be failed anyway', () => {
    expect(Quarantine.includes({ ...item, last_error: 'VVChat answered 503' }, now)).toBe(false);
    const exhausted = { ...item, phase: 'asking' as const, robot_calls: MAX_ROBOT_CALLS };
    expect(Quarantine.includes({ ...exhausted, claims: MAX_ROBOT_CALLS }, now)).toBe(false);
  });

  test('yields each row once, those with the fewest calls of the robot first', () => {
    const quarantine = new Quarantine();
    for (const robot_calls of [2, 0, 1]) quarantine.add({ ...item, robot_calls });
    expect(quarantine.drain().map(({ robot_calls }) => robot_calls)).toEqual([0, 1, 2]);
    expect(quarantine.drain()).toEqual([]);
  });
});
