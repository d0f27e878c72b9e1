import { paginateScan } from '@aws-sdk/client-dynamodb';
import type { Table } from '../../lib/aws/table.ts';
import { itemIn } from '../../lib/inbox/item.ts';
import { makeDue } from '../../lib/inbox/transitions.ts';

/**
 * Makes every postponed row of the inbox due now. Rows at work are left alone.
 *
 * @returns how many rows were made due
 */
export async function makeAllDue(table: Table): Promise<number> {
  let count = 0;
  for await (const { Items = [] } of paginateScan(
    { client: table.client },
    { TableName: table.name },
  )) {
    for (const item of Items.map(itemIn)) if (await makeDue(table, item)) count++;
  }
  return count;
}
