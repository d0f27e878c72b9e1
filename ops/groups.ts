import { paginateScan } from '@aws-sdk/client-dynamodb';
import type { Row } from '../lib/aws/table.ts';
import {
  createCommand,
  id,
  type Options,
  positive,
  printNote,
  printRows,
  run,
  UsageError,
} from './command-line.ts';
import { rowsIn, rowsWith, tableOf } from './tables.ts';

/*
 * `npm run groups`: the sessions of a robot, and the robots of a session.
 */

interface GroupsOptions extends Options {
  readonly robot?: string;
  readonly session?: string;
  readonly limit: number;
}

const COLUMNS = ['session_open_id', 'session_type', 'robot_open_id', 'robot_no', 'last_seen_at'];

const command = createCommand('groups', 'Lists which robots are in which sessions')
  .option('--robot <open_id>', 'only the sessions of a robot', id)
  .option('--session <open_id>', 'only the robots of a group, or of a one-to-one chat', id)
  .option('--limit <n>', 'how many rows to list at most', positive, 100);

await run(command, async () => {
  const options = command.opts<GroupsOptions>();
  const { robot, session, limit } = options;
  if (robot !== undefined && session !== undefined) {
    throw new UsageError('Give either --robot or --session.');
  }
  const rows: Row[] = [];
  for await (const row of memberships(options)) {
    if (rows.length === limit) {
      printNote(`There are more than ${limit} rows; list more with --limit ${limit * 10}.`);
      break;
    }
    rows.push(row);
  }
  if (rows.length === 0) printNote('No rows found.');
  printRows(options.json ? rows : rows.map(summary), options);
});

/** Whole rows, but for the sessions of one robot: of those the index has the keys alone. */
function memberships({ robot, session, ...options }: GroupsOptions): AsyncGenerator<Row> {
  const table = tableOf('memberships', options);
  if (robot !== undefined) {
    return rowsWith(table, 'robot_open_id', robot, { IndexName: 'by-robot' });
  }
  if (session !== undefined) return rowsWith(table, 'session_open_id', session);
  return rowsIn(paginateScan({ client: table.client }, { TableName: table.name }));
}

/** The attributes that fit on a line. */
function summary(row: Row) {
  return Object.fromEntries(COLUMNS.filter((name) => name in row).map((name) => [name, row[name]]));
}
