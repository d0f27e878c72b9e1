/*
 * When a row is worked on again, and when no more. All times are in milliseconds.
 *
 *   worker A   claim ├───────────── lease ──────────────┤ next_attempt_at
 *              last moment to begin a step ──▶│◀ skew ▶│
 *   worker B                                           claim ├──── …
 */

/** For how long a worker has a row to itself. For the worker on the stream the insert is the claim. */
export const LEASE_MS = 120_000;

/** By how much two workers' clocks may differ. No step begins that could end within this of the lease's end. */
export const CLOCK_SKEW_MS = 30_000;

/** For how long a row is retried before it fails. */
export const GIVE_UP_MS = 24 * 3_600_000;

/**
 * For how long the last send of a command is put off while VVChat answers no other row of its app. An outage that
 * shows as time-outs would otherwise use up both sends of every message.
 */
export const LAST_SEND_WAIT_MS = 15 * 60_000;

/** How often the robot is called for one row before the row fails. */
export const MAX_ROBOT_CALLS = 3;

/** 1, 2, 4 … minutes, give or take a quarter, at most {@link MAX_BACK_OFF_MS}. */
export const backOff = (claims: number, random: () => number): number =>
  Math.min(60_000 * 2 ** (claims - 1) * (0.75 + random() / 2), MAX_BACK_OFF_MS);

export const MAX_BACK_OFF_MS = 3_600_000;
