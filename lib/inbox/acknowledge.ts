import { randomUUID } from 'node:crypto';
import { iso, type Table, updateIf } from '../aws/table.ts';
import { acknowledgedShardOf, type Item, keyOf } from './item.ts';
import { read } from './queries.ts';

/**
 * Marks a failed row as seen. It stays failed, and can still be put back, but lies apart from the failed rows that
 * are new.
 *
 * @returns whether it did; false when the row has been written since it was read
 */
export async function acknowledge(table: Table, item: Item): Promise<boolean> {
  const write_id = randomUUID();
  const changes = {
    due_shard: acknowledgedShardOf(item.event_id),
    acknowledged_at: iso(table.now()),
    write_id,
  };
  const isWritten = await updateIf(
    table,
    keyOf(item),
    changes,
    ['#status = :failed', '#write_id = :seen_write_id'],
    { failed: 'failed', seen_write_id: item.write_id },
  );
  // Only the answer to the first attempt may have been lost.
  return isWritten || (await read(table, item))?.write_id === write_id;
}
