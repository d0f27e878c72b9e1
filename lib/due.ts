import {
  attempt,
  type Delivery,
  deliver,
  type Outcome,
  ROBOT_MS,
  SENDING_MS,
  type Summary,
  summaryOf,
} from './deliver.ts';
import * as inbox from './inbox.ts';

/** How many rows are in flight at most. */
export const CONCURRENCY = 100;

/** After so many failures in a row an app's rows are left alone for the rest of the invocation. */
export const PATIENCE = 5;

/** No row is taken up with less time than this before the deadline. */
const ONE_ROW_MS = ROBOT_MS + SENDING_MS;

/**
 * Delivers what is due: what failed before, and what a crash left behind. Rows whose last worker ended
 * without a word come after all the others and one at a time, those that were tried least first: a message
 * that kills its worker takes nobody with it, and is behind those that it took with it before.
 *
 * @throws when the index could not be read whole, after all that could be read was delivered
 */
export async function deliverDue(delivery: Delivery): Promise<Summary> {
  const { inbox: table, deadline, random } = delivery;
  const outcomes: Outcome[] = [];
  const failuresInARow = new Map<string, number>();
  const suspects: inbox.Item[] = [];

  const deliverOf = async (item: inbox.Item): Promise<Outcome> => {
    const failures = () => failuresInARow.get(item.app_id) ?? 0;
    if (failures() >= PATIENCE) return 'skipped';
    const outcome = await deliverClaimed(delivery, item);
    failuresInARow.set(item.app_id, outcome === 'postponed' ? failures() + 1 : 0);
    return outcome;
  };

  const take = async (key: inbox.Key) => {
    const outcome = await attempt(key, async () => {
      const item = await inbox.read(table, key);
      if (!item) return 'absent';
      if (item.status !== 'pending' || Date.parse(item.next_attempt_at) > table.now())
        return 'taken';
      if (!inbox.wasAbandoned(item)) return deliverOf(item);
      suspects.push(item);
      return undefined;
    });
    if (outcome) outcomes.push(outcome);
  };

  const keys = inbox.due(table, random);
  const last = deadline - ONE_ROW_MS;
  const half = (table.now() + last) / 2;
  const takeAll = async () => {
    for await (const key of keys) {
      if (table.now() > half) return;
      await take(key);
    }
  };
  const takers = await Promise.allSettled(Array.from({ length: CONCURRENCY }, takeAll));
  for (const suspect of suspects.toSorted((a, b) => a.tries - b.tries)) {
    if (table.now() > last) break;
    outcomes.push(await attempt(suspect, () => deliverOf(suspect)));
  }
  for (const taker of takers) if (taker.status === 'rejected') throw taker.reason;
  return summaryOf(outcomes);
}

async function deliverClaimed(delivery: Delivery, item: inbox.Item): Promise<Outcome> {
  const { inbox: table, random, retentionDays } = delivery;
  const reason = inbox.hopeless(item, table.now());
  if (reason === undefined) return deliver(delivery, await inbox.claim(table, item, random));
  await inbox.giveUp(table, item, reason, retentionDays);
  return 'failed';
}
