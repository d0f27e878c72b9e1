import {
  type AttributeValue,
  DeleteItemCommand,
  paginateQuery,
  paginateScan,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import {
  fromAttributes,
  isConditionFailed,
  type Row,
  type Table,
  toAttributes,
} from '../lib/dynamodb.ts';
import {
  createCommand,
  type Options,
  print,
  remark,
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
  .option('--session <open_id>', 'a group, or a one-to-one chat by its person')
  .option(
    '--person <open_id>',
    'a person: their one-to-one chats, what they said, and their name in groups',
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
  for (const part of ['memberships', 'inbox'] as const) {
    const rows = session === undefined ? all(tables[part]) : ofSession(tables[part], session);
    for await (const row of rows) {
      const it = person === undefined ? whole(part, row) : ofPerson(part, row, person);
      if (!it) continue;
      if (yes) await erase(tables[part], it);
      found.push(it);
    }
  }
  print(
    found.map(({ part, key, attributes }) => ({
      table: part,
      ...key,
      erased: attributes?.join(', ') ?? 'the row',
    })),
    options,
  );
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
  if (row.session_open_id === person && row.session_type === '1') return whole(part, row);
  if (part === 'inbox') return row.trigger_open_id === person ? whole(part, row) : undefined;
  const attributes = BY.filter((name) => row[name] === person);
  return attributes.length > 0 ? { ...whole(part, row), attributes } : undefined;
}

function keyOf(part: Part, row: Row): Row {
  return Object.fromEntries(KEYS[part].map((name) => [name, row[name]]));
}

async function* ofSession({ client, name: TableName }: Table, session: string) {
  const pages = paginateQuery(
    { client },
    {
      TableName,
      KeyConditionExpression: 'session_open_id = :session',
      ExpressionAttributeValues: toAttributes({ ':session': session }),
    },
  );
  yield* rowsIn(pages);
}

function all({ client, name: TableName }: Table) {
  return rowsIn(paginateScan({ client }, { TableName }));
}

async function* rowsIn(
  pages: AsyncIterable<{ Items?: Record<string, AttributeValue>[] | undefined }>,
): AsyncGenerator<Row> {
  for await (const { Items = [] } of pages) yield* Items.map(fromAttributes);
}

async function erase(
  { client, name: TableName }: Table,
  { key, attributes }: Found,
): Promise<void> {
  const Key = toAttributes(key);
  if (!attributes) {
    await client.send(new DeleteItemCommand({ TableName, Key }));
    return;
  }
  try {
    await client.send(
      new UpdateItemCommand({
        TableName,
        Key,
        UpdateExpression: `REMOVE ${attributes.join(', ')}`,
        ConditionExpression: 'attribute_exists(session_open_id)',
      }),
    );
  } catch (error) {
    // The row has gone meanwhile, and was not to come back.
    if (!isConditionFailed(error)) throw error;
  }
}
