import type { Item } from './item.ts';

/** What went wrong with a row, or what an operator did about it. */
export interface HistoryEntry {
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly what: 'crashed' | 'postponed' | 'failed' | 'redriven';
  readonly why?: string;
  /** The worker that wrote it. */
  readonly by?: string;
}

/** How many entries a row keeps: the latest. */
const MAX_ENTRIES = 5;

/** How many characters of a reason are kept. */
const MAX_WHY = 120;

/** The entries of a row, the oldest first. */
export const historyOf = ({ history }: Pick<Item, 'history'>): readonly HistoryEntry[] =>
  history === undefined ? [] : JSON.parse(history);

/** The `history` of a row with one entry more; it is written with a write that happens anyway. */
export function withHistory(item: Pick<Item, 'history'>, entry: HistoryEntry): string {
  const { why } = entry;
  const bounded = why === undefined ? entry : { ...entry, why: why.slice(0, MAX_WHY) };
  return JSON.stringify([...historyOf(item), bounded].slice(-MAX_ENTRIES));
}
