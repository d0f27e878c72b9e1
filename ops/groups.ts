import { paginateQuery, paginateScan } from '@aws-sdk/client-dynamodb';
import { type Row, toAttributes } from '../lib/aws/table.ts';
import {
  createCommand,
  id,
  type Options,
  positive,
  print,
  remark,
  rowsIn,
  run,
  tableOf,
  UsageError,
} from './operator.ts';

/*
 * `npm run groups`: which sessions a robot is in, and which robots a session has.
 */

interface GroupsOptions extends Options {
  readonly robot?: string;
  readonly session?: string;
  readonly limit: number;
}

const COLUMNS = ['session_open_id', 'session_type', 'robot_open_id', 'robot_no', 'last_seen_at'];

const command = createCommand('groups', 'Tells which robots are in which sessions')
  .option('--robot <open_id>', 'the sessions of a robot', id)
  .option('--session <open_id>', 'the robots of a session (a group, or a person one to one)', id)
  .option('--limit <n>', 'how many at most', positive, 100);

await run(command, async () => {
  const options = command.opts<GroupsOptions>();
  const { robot, session, limit } = options;
  if (robot !== undefined && session !== undefined) {
    throw new UsageError('Take either --robot or --session.');
  }
  const rows: Row[] = [];
  for await (const row of memberships(options)) {
    if (rows.length === limit) {
      remark(`There are more than ${limit}; --limit ${limit * 10} shows more.`);
      break;
    }
    rows.push(row);
  }
  if (rows.length === 0) remark('None.');
  print(options.json ? rows : rows.map(summary), options);
});

/** What fits into a line. */
function summary(row: Row) {
  return Object.fromEntries(COLUMNS.filter((name) => name in row).map((name) => [name, row[name]]));
}

/** All that there is to know of a session's robots, or of all; of a robot's sessions the keys. */
function memberships({ robot, session, ...options }: GroupsOptions): AsyncGenerator<Row> {
  const { client, name: TableName } = tableOf('memberships', options);
  const by = robot === undefined ? 'session_open_id' : 'robot_open_id';
  const id = robot ?? session;
  const pages =
    id === undefined
      ? paginateScan({ client }, { TableName })
      : paginateQuery(
          { client },
          {
            TableName,
            ...(robot !== undefined && { IndexName: 'by-robot' }),
            KeyConditionExpression: `${by} = :id`,
            ExpressionAttributeValues: toAttributes({ ':id': id }),
          },
        );
  return rowsIn(pages);
}
