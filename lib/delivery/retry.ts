import * as inbox from '../inbox/transitions.ts';
import { record } from '../metric.ts';
import {
  attempt,
  type Delivery,
  deliver,
  type Outcome,
  outcomeOf,
  ROBOT_MS,
  SENDING_MS,
  type Summary,
  summaryOf,
} from './deliver.ts';

/** How many rows are in flight at most. */
export const CONCURRENCY = 100;

/** After so many failures in a row an app's rows are left alone for the rest of the invocation. */
export const PATIENCE = 5;

/** No row is taken up with less time than this before the deadline. */
const ONE_ROW_MS = ROBOT_MS + SENDING_MS;

/** In how many of the runs what a worker left behind comes first. */
const SUSPECTS_FIRST = 1 / 4;

/**
 * Delivers what is due: what failed before, and what a crash left behind. Rows whose last worker ended
 * without a word are suspects: they are delivered one at a time, those that were tried least first, and mostly
 * after all the others, so that a message that kills its worker takes nobody with it. Every now and then they
 * come first, or messages that kill a worker, and came just now, could keep them waiting without end.
 *
 * @throws when the index could not be read whole, after all that could be read was delivered
 */
export async function deliverDue(delivery: Delivery): Promise<Summary> {
  const { inbox: table, deadline, random = Math.random } = delivery;
  const outcomes: Outcome[] = [];
  const failuresInARow = new Map<string, number>();
  const suspects: inbox.Item[] = [];
  const others: inbox.Key[] = [];
  let oldestMs = 0;

  const deliverOf = async (item: inbox.Item): Promise<Outcome> => {
    const failures = () => failuresInARow.get(item.app_id) ?? 0;
    if (failures() >= PATIENCE) return 'skipped';
    const outcome = await deliverClaimed(delivery, item);
    failuresInARow.set(item.app_id, outcome === 'postponed' ? failures() + 1 : 0);
    return outcome;
  };

  /** Looks at a row, and has it delivered unless it is a suspect. */
  const look =
    (deliverOther: (item: inbox.Item) => Promise<Outcome | undefined>) =>
    async (key: inbox.Key): Promise<void> => {
      const outcome = await attempt(key, async () => {
        const item = await inbox.read(table, key);
        if (!item) return 'absent';
        if (item.status !== 'pending' || Date.parse(item.next_attempt_at) > table.now())
          return 'taken';
        oldestMs = Math.max(oldestMs, inbox.waitedMs(item, table.now()));
        if (!isSuspect(item, table.now())) return deliverOther(item);
        suspects.push(item);
        return undefined;
      });
      if (outcome) outcomes.push(outcome);
    };
  const setAside = look(async (item) => {
    others.push(item);
    return undefined;
  });
  const take = look(deliverOf);

  const takeSuspects = async (end: number) => {
    for (const suspect of suspects.splice(0).sort((a, b) => a.robot_calls - b.robot_calls)) {
      if (table.now() > end) break;
      outcomes.push(await attempt(suspect, () => deliverOf(suspect)));
    }
  };

  const keys = inbox.due(table, random);
  const last = deadline - ONE_ROW_MS;
  const until = (share: number, now = table.now()) => now + (last - now) * share;
  const [quarter, half] = [until(1 / 4), until(1 / 2)];
  const faults: unknown[] = [];
  if (random() < SUSPECTS_FIRST) {
    faults.push(...(await eachOf(keys, setAside, () => table.now() > quarter)));
    await takeSuspects(half);
    await eachOf(others.values(), take, () => table.now() > last);
  } else {
    faults.push(...(await eachOf(keys, take, () => table.now() > half)));
    await takeSuspects(last);
  }
  if (faults.length > 0) throw faults[0];
  record({ OldestDueSeconds: Math.round(oldestMs / 1_000) });
  return summaryOf(outcomes);
}

/** Works on so many keys at a time as are to be in flight; tells what getting at the keys met with. */
async function eachOf(
  keys: AsyncIterable<inbox.Key> | IterableIterator<inbox.Key>,
  work: (key: inbox.Key) => Promise<void>,
  isOver: () => boolean,
): Promise<unknown[]> {
  const takeAll = async () => {
    for await (const key of keys) {
      if (isOver()) return;
      await work(key);
    }
  };
  const takers = await Promise.allSettled(Array.from({ length: CONCURRENCY }, takeAll));
  return takers.flatMap((taker) => (taker.status === 'rejected' ? [taker.reason] : []));
}

/** One that is to be failed anyway is asked nothing, and harms nobody. */
const isSuspect = (item: inbox.Item, now: number): boolean =>
  inbox.crashed(item) && inbox.exhaustedReason(item, now) === undefined;

async function deliverClaimed(delivery: Delivery, item: inbox.Item): Promise<Outcome> {
  const { inbox: table, random, retentionDays } = delivery;
  const reason = inbox.exhaustedReason(item, table.now());
  if (reason === undefined) return deliver(delivery, await inbox.claim(table, item, random));
  return outcomeOf(await inbox.failExhausted(table, item, reason, retentionDays), table);
}
