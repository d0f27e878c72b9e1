import { setTimeout as sleep } from 'node:timers/promises';
import type { Table } from '../aws/table.ts';
import { type Lease, LeaseLostError } from '../inbox/transitions.ts';
import { WRITE_RETRY_MS } from './budgets.ts';

/**
 * Repeats a write that DynamoDB did not take.
 *
 * @param end when no further attempt begins, in milliseconds since 1970
 * @param write must be the same write at each attempt, or one that took effect would not be recognised
 */
export async function repeatWrite(
  { now }: Pick<Table, 'now'>,
  end: number,
  write: () => Promise<Lease>,
): Promise<Lease> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof LeaseLostError || now() >= end) throw error;
      await sleep(WRITE_RETRY_MS);
    }
  }
}
