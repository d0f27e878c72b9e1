import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import { fromAttributes } from '../../lib/aws/table.ts';
import { MAX_MEMBERSHIPS, type Membership, pairOf } from './state.ts';
import type { Store } from './store.ts';

export interface MembershipsOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly store: Store;
  /** A row is new, or another. */
  readonly onRow: (row: Membership) => void;
}

const LOOK_MS = 300;

/** Keeps the memberships in the studio as they are in the table, while anybody looks. */
export function watchMemberships(options: MembershipsOptions): { readonly stop: () => void } {
  const { client, table, store, onRow } = options;
  const end = new AbortController();
  const look = async () => {
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
  const watch = async () => {
    for (; !end.signal.aborted; await sleep(LOOK_MS)) {
      // The engine may be busy or on its way out; the next look is soon.
      if (store.isWatched) await look().catch(() => {});
    }
  };
  void watch();
  return { stop: () => end.abort() };
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
