import type { Table } from '../aws/table.ts';

/** The inbox, as the functions that settle its rows use it. */
export interface InboxTable extends Table {
  /** For how many days a settled row is kept. */
  readonly retentionDays: number;
  /** Which invocation this is, such as `reply 8f2c0a51-…`, for the rows that it writes. */
  readonly worker?: string;
  /** From 0 to 1, like `Math.random`: spreads back-offs, and the order in which workers take rows. */
  readonly random: () => number;
}
