import { describe, expect, test } from 'vitest';
import { forEachConcurrent } from './concurrent.ts';

const never = () => false;

describe('forEachConcurrent', () => {
  test('works on each item once, and on no more at a time than it may', async () => {
    const done: number[] = [];
    let inFlight = 0;
    let most = 0;
    const work = async (item: number) => {
      most = Math.max(most, ++inFlight);
      await new Promise(setImmediate);
      inFlight--;
      done.push(item);
    };
    const items = Array.from({ length: 50 }, (_, i) => i);
    await forEachConcurrent(items.values(), 7, work, never);
    expect(done.sort((a, b) => a - b)).toEqual(items);
    expect(most).toBe(7);
  });

  test('takes no further item once the time is over', async () => {
    const done: number[] = [];
    const work = async (item: number) => void done.push(item);
    await forEachConcurrent([1, 2, 3, 4].values(), 1, work, () => done.length === 2);
    expect(done).toEqual([1, 2]);
  });
});
