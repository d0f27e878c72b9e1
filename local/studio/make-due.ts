import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Table, updateIf } from '../../lib/aws/table.ts';
import { crashed, type Item } from '../../lib/inbox/transitions.ts';

/**
 * Makes every row due now that waits for another attempt. Those that somebody works on, or may be working on,
 * are left alone.
 *
 * @returns how many
 */
export async function makeDue(client: DynamoDBClient, name: string): Promise<number> {
  const table: Table = { client, name, now: Date.now };
  let count = 0;
  for await (const { Items = [] } of paginateScan({ client }, { TableName: name })) {
    for (const item of Items.map((it) => fromAttributes(it) as unknown as Item)) {
      const waits = item.status === 'pending' && item.last_error !== undefined && !crashed(item);
      if (waits && (await isMadeDue(table, item))) count++;
    }
  }
  return count;
}

const isMadeDue = (table: Table, { session_open_id, event_id, write_id }: Item) =>
  updateIf(
    table,
    { session_open_id, event_id },
    { next_attempt_at: iso(Date.now()) },
    ['#write_id = :seen'],
    { seen: write_id },
  );
