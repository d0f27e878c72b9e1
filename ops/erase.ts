import { DeleteItemCommand, paginateScan, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { isConditionFailed, type Row, type Table, toAttributes } from '../lib/aws/table.ts';
import { TIMESTAMPS } from '../lib/membership.ts';
import { endMute, readMutes } from '../lib/mute.ts';
import {
  createCommand,
  id,
  type Options,
  printNote,
  printRows,
  rowCount,
  run,
  UsageError,
} from './command-line.ts';
import { recoveryDays, rowsIn, rowsWith, tableOf } from './tables.ts';

/*
 * `npm run erase`: erases every row of a group or a person, as privacy law may require.
 */

interface EraseOptions extends Options {
  readonly session?: string;
  readonly person?: string;
  readonly yes: boolean;
}

const KEYS = {
  memberships: ['session_open_id', 'robot_open_id'],
  inbox: ['session_open_id', 'event_id'],
} as const;

const PARTS = ['memberships', 'inbox'] as const;

type Part = (typeof PARTS)[number];

/** The attributes of a membership that name a person. */
const NAMING = Object.values(TIMESTAMPS).map(({ by }) => by);

/** What to erase of a row: these attributes or, without them, the whole row. */
interface Erasure {
  readonly part: Part | 'mutes';
  readonly key: Row;
  readonly attributes?: readonly string[];
}

const command = createCommand('erase', 'Erases every row of a group or a person')
  .option('--session <open_id>', 'a group, or a one-to-one chat by the id of its person', id)
  .option(
    '--person <open_id>',
    'a person: their one-to-one chats, their messages, and their name in groups',
    id,
  )
  .option('--yes', 'erase; without it the rows are only listed', false)
  .addHelpText('after', '\n--person scans both tables.');

await run(command, async () => {
  const options = command.opts<EraseOptions>();
  if ((options.session === undefined) === (options.person === undefined)) {
    throw new UsageError('Give either --session or --person.');
  }
  const found: Erasure[] = [];
  try {
    for (const part of PARTS) {
      const table = tableOf(part, options);
      for await (const row of candidates(table, options)) {
        const erasure = erasureOf(part, row, options);
        if (!erasure) continue;
        if (options.yes) await erase(table, erasure, options);
        found.push(erasure);
      }
    }
    found.push(...(await mutes(options)));
  } catch (error) {
    if (options.yes) {
      report(found, options);
      printNote(
        `Stopped after ${rowCount(found.length)}. Run the same command again for the rest.`,
      );
    }
    throw error;
  }
  report(found, options);
  if (options.yes) noteRecovery(found.length);
  else printNote(`${rowCount(found.length)} found. Add --yes to erase them.`);
});

/** The mute of the session or of the person's one-to-one chat, if there is one; with `--yes` it is ended. */
async function mutes(options: EraseOptions): Promise<Erasure[]> {
  const id = options.session ?? options.person;
  const table = tableOf('mutes', options);
  const found = (await readMutes(table)).filter((it) => it.kind === 'session' && it.id === id);
  if (options.yes) for (const it of found) await endMute(table, it);
  return found.map(({ kind, id }) => ({ part: 'mutes', key: { [kind]: id } }));
}

/** The rows of the session or, for a person, all rows: no index finds a person. */
function candidates(table: Table, { session }: EraseOptions) {
  if (session !== undefined) {
    return rowsWith(table, 'session_open_id', session, { ConsistentRead: true });
  }
  const { client, name: TableName } = table;
  return rowsIn(paginateScan({ client }, { TableName, ConsistentRead: true }));
}

function erasureOf(part: Part, row: Row, { person }: EraseOptions): Erasure | undefined {
  const key = Object.fromEntries(KEYS[part].map((name) => [name, row[name]]));
  // A one-to-one chat has the id of its person. session_type would not do: any later event overwrites it.
  if (person === undefined || row.session_open_id === person) return { part, key };
  if (part === 'inbox') return row.trigger_open_id === person ? { part, key } : undefined;
  const attributes = NAMING.filter((name) => row[name] === person);
  return attributes.length > 0 ? { part, key, attributes } : undefined;
}

async function erase(
  { client, name: TableName }: Table,
  { key, attributes }: Erasure,
  { person }: EraseOptions,
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
      // The row has been deleted since, or names another person by now.
      if (!isConditionFailed(error)) throw error;
    }
  }
}

function report(found: readonly Erasure[], options: Options): void {
  const rows = found.map(({ part, key, attributes }) => ({
    table: part,
    ...key,
    erased: attributes?.join(', ') ?? 'the row',
  }));
  printRows(rows, options);
}

function noteRecovery(count: number): void {
  const until = new Date(Date.now() + recoveryDays() * 86_400_000).toISOString().slice(0, 10);
  printNote(
    `${rowCount(count)} erased. Point-in-time recovery keeps their former contents until ${until}.`,
  );
  printNote('Later events are recorded again.');
}
