import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import { fromAttributes } from '../../lib/aws/table.ts';
import { MAX_MEMBERSHIPS, type Membership, pairOf } from './state.ts';
import type { Store } from './store.ts';

export interface MembershipsOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly store: Store;
  /** Called for every row that was added or changed. */
  readonly onRow: (row: Membership) => void;
}

const POLL_MS = 300;

/** Keeps the studio's memberships equal to the table's for as long as a page is open. */
export function watchMemberships(options: MembershipsOptions): { readonly stop: () => void } {
  const { client, table, store, onRow } = options;
  const stopped = new AbortController();
  const refresh = async () => {
    const gone = new Set(store.state.memberships.keys());
    for (const row of await rowsOf(client, table)) {
      const id = pairOf(`${row.session_open_id}`, `${row.robot_open_id}`);
      gone.delete(id);
      if (JSON.stringify(row) === JSON.stringify(store.get('memberships', id))) continue;
      store.set('memberships', id, row);
      onRow(row);
    }
    for (const id of gone) store.set('memberships', id, null);
  };
  const poll = async () => {
    for (; !stopped.signal.aborted; await sleep(POLL_MS)) {
      // The engine may be busy or stopping; the next poll is soon.
      if (store.isWatched) await refresh().catch(() => {});
    }
  };
  void poll();
  return { stop: () => stopped.abort() };
}

async function rowsOf(client: DynamoDBClient, TableName: string): Promise<Membership[]> {
  const rows: Membership[] = [];
  for await (const { Items = [] } of paginateScan(
    { client },
    { TableName, Limit: MAX_MEMBERSHIPS },
  )) {
    rows.push(...Items.map(fromAttributes));
    if (rows.length >= MAX_MEMBERSHIPS) break;
  }
  return rows.slice(0, MAX_MEMBERSHIPS);
}
