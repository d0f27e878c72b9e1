import type { Table } from '../aws/table.ts';

/** The inbox, as the functions that settle its rows use it. */
export interface InboxTable extends Table {
  /** For how many days a settled row is kept. */
  readonly retentionDays: number;
  /** From 0 to 1, like `Math.random`: spreads back-offs, and the order in which workers take rows. */
  readonly random: () => number;
}
