import {
  DeleteItemCommand,
  paginateQuery,
  paginateScan,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { isConditionFailed, type Row, type Table, toAttributes } from '../lib/aws/table.ts';
import {
  createCommand,
  id,
  type Options,
  print,
  remark,
  rowsIn,
  run,
  tableOf,
  UsageError,
} from './operator.ts';

/*
 * `npm run erase`: every row of a group or a person, as privacy law may ask for it.
 */

interface EraseOptions extends Options {
  readonly session?: string;
  readonly person?: string;
  readonly yes: boolean;
}

/** For so long point-in-time recovery can bring back what was erased. */
const RECOVERY_DAYS = 7;

const KEYS = {
  memberships: ['session_open_id', 'robot_open_id'],
  inbox: ['session_open_id', 'event_id'],
} as const;

/** Where a membership names a person. */
const BY = ['invited_by', 'last_opened_by', 'last_mentioned_by'] as const;

type Part = keyof typeof KEYS;

interface Found {
  readonly part: Part;
  readonly key: Row;
  /** Left out: the whole row goes. */
  readonly attributes?: readonly string[];
}

const command = createCommand(
  'erase',
  'Erases every row of a group or a person; without --yes, tells which',
)
  .option('--session <open_id>', 'a group, or a one-to-one chat by its person', id)
  .option(
    '--person <open_id>',
    'a person: their one-to-one chats, what they said, and their name in groups',
    id,
  )
  .option('--yes', 'erase; without it nothing is changed', false)
  .addHelpText('after', '\n--person reads both tables whole.');

await run(command, async () => {
  const options = command.opts<EraseOptions>();
  const { session, person, yes } = options;
  if ((session === undefined) === (person === undefined)) {
    throw new UsageError('Take either --session or --person.');
  }
  const tables = {
    memberships: tableOf('memberships', options),
    inbox: tableOf('inbox', options),
  };
  const found: Found[] = [];
  const tell = () =>
    print(
      found.map(({ part, key, attributes }) => ({
        table: part,
        ...key,
        erased: attributes?.join(', ') ?? 'the row',
      })),
      options,
    );
  try {
    for (const part of ['memberships', 'inbox'] as const) {
      const rows = session === undefined ? all(tables[part]) : ofSession(tables[part], session);
      for await (const row of rows) {
        const it = person === undefined ? whole(part, row) : ofPerson(part, row, person);
        if (!it) continue;
        if (yes) await erase(tables[part], it, person);
        found.push(it);
      }
    }
  } catch (error) {
    if (yes) {
      tell();
      remark(`Stopped. ${found.length} were changed; the same command goes on with the rest.`);
    }
    throw error;
  }
  tell();
  if (!yes) return remark(`${found.length} would be changed: the same with --yes.`);
  const until = new Date(Date.now() + RECOVERY_DAYS * 86_400_000).toISOString().slice(0, 10);
  remark(
    `${found.length} were changed. Point-in-time recovery keeps what they were until ${until}.`,
  );
  remark('An event that comes later is recorded again.');
});

function whole(part: Part, row: Row): Found {
  return { part, key: keyOf(part, row) };
}

function ofPerson(part: Part, row: Row, person: string): Found | undefined {
  // Whatever session_type says: the last event wrote it.
  if (row.session_open_id === person) return whole(part, row);
  if (part === 'inbox') return row.trigger_open_id === person ? whole(part, row) : undefined;
  const attributes = BY.filter((name) => row[name] === person);
  return attributes.length > 0 ? { ...whole(part, row), attributes } : undefined;
}

function keyOf(part: Part, row: Row): Row {
  return Object.fromEntries(KEYS[part].map((name) => [name, row[name]]));
}

function ofSession({ client, name: TableName }: Table, session: string) {
  return rowsIn(
    paginateQuery(
      { client },
      {
        TableName,
        ConsistentRead: true,
        KeyConditionExpression: 'session_open_id = :session',
        ExpressionAttributeValues: toAttributes({ ':session': session }),
      },
    ),
  );
}

function all({ client, name: TableName }: Table) {
  return rowsIn(paginateScan({ client }, { TableName, ConsistentRead: true }));
}

async function erase(
  { client, name: TableName }: Table,
  { key, attributes }: Found,
  person: string | undefined,
): Promise<void> {
  const Key = toAttributes(key);
  if (!attributes) {
    await client.send(new DeleteItemCommand({ TableName, Key }));
    return;
  }
  for (const name of attributes) {
    try {
      await client.send(
        new UpdateItemCommand({
          TableName,
          Key,
          UpdateExpression: `REMOVE ${name}`,
          ConditionExpression: `${name} = :person`,
          ExpressionAttributeValues: toAttributes({ ':person': person }),
        }),
      );
    } catch (error) {
      // The row has gone meanwhile, or names somebody else by now.
      if (!isConditionFailed(error)) throw error;
    }
  }
}
