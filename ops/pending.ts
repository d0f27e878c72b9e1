import type { Item } from '../lib/inbox/item.ts';
import { type IndexKey, indexedRows, read } from '../lib/inbox/queries.ts';
import { isSelected } from '../lib/inbox/redrive.ts';
import type { InboxTable } from '../lib/inbox/table.ts';
import { failExhausted, makeDue, unlessLost } from '../lib/inbox/transitions.ts';

/*
 * Rows that are pending: what `retry` will work on, and what a worker has now. All of it runs here, with the operator's
 * credentials: `retry` needs no right and no code for it.
 */

/** Which of the pending rows are meant. */
export interface PendingFilter {
  readonly app?: string;
  readonly session?: string;
  /** How `last_error` begins. */
  readonly lastError?: string;
  /** Received before this; in milliseconds since 1970. */
  readonly before?: number;
}

/** What became of a row: `at work` are those that a worker has, which are left to it. */
export type Effect = 'done' | 'due already' | 'at work' | 'changed meanwhile';

const PAGE = 1_000;
const AT_ONCE = 25;

/**
 * The pending rows that a filter selects, in the order in which they come due. It reads the index and then each row.
 *
 * @param limit how many rows to examine at most
 */
export async function* pendingRows(
  table: InboxTable,
  filter: PendingFilter,
  limit: number,
): AsyncGenerator<Item, { readonly mayBeMore: boolean }> {
  let after: IndexKey | undefined;
  for (let left = limit; left > 0; left -= PAGE) {
    const period = { from: '1970', to: '9999' };
    const keys = await indexedRows(table, 'pending', Math.min(left, PAGE), period, after);
    for (let i = 0; i < keys.length; i += AT_ONCE) {
      const batch = keys.slice(i, i + AT_ONCE).map((key) => read(table, key));
      for (const item of await Promise.all(batch)) {
        if (item?.status === 'pending' && isWanted(item, filter)) yield item;
      }
    }
    if (keys.length < Math.min(left, PAGE)) return { mayBeMore: false };
    after = keys.at(-1);
  }
  return { mayBeMore: true };
}

/** Makes a row due now. */
export async function retryNow(table: InboxTable, item: Item): Promise<Effect> {
  if (Date.parse(item.next_attempt_at) <= table.now()) return 'due already';
  if (isAtWork(item, table.now())) return 'at work';
  return (await makeDue(table, item)) ? 'done' : 'changed meanwhile';
}

/** Fails a row that no worker has. It can still be put back. */
export async function giveUp(table: InboxTable, item: Item): Promise<Effect> {
  if (isAtWork(item, table.now())) return 'at work';
  const reason = item.last_error ?? 'no attempt was finished';
  const failing = failExhausted(table, item, `given up by an operator: ${reason}`);
  return (await unlessLost(failing)) ? 'done' : 'changed meanwhile';
}

/** Whether a worker has a row: before its first write the row is unclaimed, later it has a phase. */
export const isAtWork = ({ next_attempt_at, claims, phase }: Item, now: number): boolean =>
  Date.parse(next_attempt_at) > now && (claims === 0 || phase !== undefined);

const isWanted = (item: Item, { app, session, lastError, before }: PendingFilter): boolean =>
  isSelected(item, { app_id: app, session_open_id: session, last_error: lastError }) &&
  (before === undefined || Date.parse(item.received_at) < before);

/** Pending rows of an app with the same reason. */
export interface PendingGroup {
  readonly app_id: string;
  readonly last_error: string;
  readonly rows: number;
  readonly at_work: number;
  readonly oldest_received_at: string;
  readonly next_attempt_at: string;
}

/** Counts rows by app and reason, the largest group first. */
export function groupsOf(items: readonly Item[], now: number): PendingGroup[] {
  const groups = Map.groupBy(items, (it) => JSON.stringify([it.app_id, it.last_error ?? '']));
  return [...groups.values()]
    .map((rows) => {
      const [{ app_id, last_error = 'none yet' }] = rows as [Item];
      return {
        app_id,
        last_error,
        rows: rows.length,
        at_work: rows.filter((it) => isAtWork(it, now)).length,
        oldest_received_at: least(rows.map((it) => it.received_at)),
        next_attempt_at: least(rows.map((it) => it.next_attempt_at)),
      };
    })
    .sort((a, b) => b.rows - a.rows);
}

const least = (texts: readonly string[]) => texts.reduce((a, b) => (a < b ? a : b));
