import { afterEach, beforeEach, vi } from 'vitest';
import { Clock } from './engine.ts';
import { startTestHarness, type TestHarness } from './harness.ts';

/** A harness and its clock, new for each test; nothing is logged. */
export interface HarnessTest extends Omit<TestHarness, typeof Symbol.asyncDispose> {
  readonly clock: Clock;
  /** The texts that VVChat carried out, the oldest first. */
  readonly sentTexts: () => (string | undefined)[];
}

/** Starts a harness before each test of a file, and stops it afterwards. */
export function useTestHarness(): HarnessTest {
  let clock: Clock;
  let harness: TestHarness;
  beforeEach(async () => {
    clock = new Clock();
    harness = await startTestHarness(clock);
    for (const level of ['info', 'warn', 'error'] as const) {
      vi.spyOn(console, level).mockImplementation(() => {});
    }
  });
  afterEach(() => harness[Symbol.asyncDispose]());
  return {
    get clock() {
      return clock;
    },
    get engine() {
      return harness.engine;
    },
    get vvchat() {
      return harness.vvchat;
    },
    get inbox() {
      return harness.inbox;
    },
    put: (event) => harness.put(event),
    read: (key) => harness.read(key),
    delivery: (robot, table) => harness.delivery(robot, table),
    sentTexts: () => harness.vvchat.carried.map(({ params }) => params.text),
  };
}
