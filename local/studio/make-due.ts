import { paginateScan } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Table, updateIf } from '../../lib/aws/table.ts';
import { crashed, type Item } from '../../lib/inbox/transitions.ts';

/**
 * Makes every postponed row of the inbox due now. Rows that a worker has, or may have, are left alone.
 *
 * @returns how many rows were made due
 */
export async function makeAllDue(table: Table): Promise<number> {
  let count = 0;
  for await (const item of pendingRows(table)) {
    if (await makeDue(table, item)) count++;
  }
  return count;
}

async function* pendingRows(table: Table): AsyncGenerator<Item, void> {
  for await (const { Items = [] } of paginateScan(
    { client: table.client },
    { TableName: table.name },
  )) {
    const items = Items.map((it) => fromAttributes(it) as unknown as Item);
    yield* items.filter(({ status }) => status === 'pending');
  }
}

/** @returns whether it did; false when another worker has the row or wrote it meanwhile */
async function makeDue(table: Table, item: Item): Promise<boolean> {
  const isPostponed = item.last_error !== undefined && !crashed(item);
  if (!isPostponed) return false;
  return updateIf(
    table,
    { session_open_id: item.session_open_id, event_id: item.event_id },
    { next_attempt_at: iso(table.now()) },
    ['#write_id = :seen'],
    { seen: item.write_id },
  );
}
