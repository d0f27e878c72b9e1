import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import type { Table } from '../../lib/aws/table.ts';
import { itemIn } from '../../lib/inbox/item.ts';
import { makeDue } from '../../lib/inbox/transitions.ts';

/**
 * Makes every postponed row due now. Rows at work are left alone.
 *
 * @returns how many
 */
export async function makeAllDue(client: DynamoDBClient, name: string): Promise<number> {
  const table: Table = { client, name, now: Date.now };
  let count = 0;
  for await (const { Items = [] } of paginateScan({ client }, { TableName: name })) {
    for (const item of Items.map(itemIn)) if (await makeDue(table, item)) count++;
  }
  return count;
}
