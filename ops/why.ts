import { BatchGetItemCommand, paginateQuery } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Row, type Table, toAttributes } from '../lib/aws/table.ts';
import { type DueList, type Item, itemIn, type Key } from '../lib/inbox/item.ts';
import { type IndexKey, indexedRows, read } from '../lib/inbox/queries.ts';
import { isMuted, readMutes } from '../lib/mute.ts';
import {
  createCommand,
  id,
  type Options,
  positive,
  printNote,
  printRows,
  run,
  time,
  UsageError,
  visible,
} from './command-line.ts';
import { rowsWith, tableOf } from './tables.ts';
import { type Timeline, timelineOf } from './timeline.ts';

/*
 * `npm run why`: what became of events, as a timeline each. It reads partitions and indexes, and scans nothing.
 */

interface WhyOptions extends Options {
  readonly session?: string;
  readonly robot?: string;
  readonly near?: number;
  readonly event?: string;
  readonly person?: string;
  readonly text?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit: number;
}

/** What `--near` takes in, before and after. */
const NEAR_MS = 5 * 60_000;

/** How many rows of a session, and how many sessions of a robot, are read at most. */
const MAX_ROWS = 100_000;
const MAX_SESSIONS = 1_000;

/** How many items one BatchGetItem takes. */
const BATCH = 100;

const command = createCommand('why', 'Shows what became of events, as timelines')
  .option('--session <open_id>', 'a group, or a one-to-one chat by the id of its person', id)
  .option('--robot <open_id>', 'without --session: lists who was active --near a time', id)
  .option('--near <time>', 'five minutes before and after a time, such as 2026-03-14T09:00Z', time)
  .option('--event <event_id>', 'one event, as the logs name it', id)
  .option('--person <open_id>', 'only events that this person set off', id)
  .option('--text <part>', 'only messages with this in them', id)
  .option('--from <time>', 'only events received at or after a time', time)
  .option('--to <time>', 'only events received at or before a time', time)
  .option('--limit <n>', 'how many events to show at most: the latest', positive, 20);

await run(command, async () => {
  const options = command.opts<WhyOptions>();
  const { session, robot, near, event } = options;
  if (event !== undefined) return showEvent(event, options);
  if (session !== undefined) return showSession(session, options);
  if (robot !== undefined && near !== undefined) return listActive(robot, near, options);
  throw new UsageError('Give --session, --event, or --robot and --near.');
});

// ---- one session

async function showSession(session: string, options: WhyOptions): Promise<void> {
  const { items, isWhole } = await eventsOf(session, options);
  const shown = items.slice(-options.limit);
  await show(shown, options);
  if (items.length > shown.length) {
    printNote(`The latest ${shown.length} of ${items.length} events; show more with --limit.`);
  }
  if (!isWhole) printNote(`Only ${MAX_ROWS} rows of the session were read.`);
  if (items.length === 0) await explainNothing(session, options);
}

/** The events of a session that the options select, in the order of their receipt. */
async function eventsOf(session: string, options: WhyOptions) {
  const { client, name: TableName } = tableOf('inbox', options);
  const { from, to } = periodOf(options);
  const { person, robot, text } = options;
  const optional = (name: string, value: string | undefined) =>
    value === undefined ? [] : [`${name} = :${name}`];
  const items: Item[] = [];
  let examined = 0;
  const pages = paginateQuery(
    { client },
    {
      TableName,
      ConsistentRead: true,
      KeyConditionExpression: 'session_open_id = :session',
      FilterExpression: [
        'received_at BETWEEN :from AND :to',
        ...optional('trigger_open_id', person),
        ...optional('robot_open_id', robot),
      ].join(' AND '),
      ExpressionAttributeValues: toAttributes({
        ':session': session,
        ':from': from,
        ':to': to,
        ':trigger_open_id': person,
        ':robot_open_id': robot,
      }),
    },
  );
  for await (const { Items = [], ScannedCount = 0 } of pages) {
    const rows = Items.map(itemIn);
    items.push(...rows.filter((it) => includes(it.text, text)));
    examined += ScannedCount;
    if (examined >= MAX_ROWS) break;
  }
  items.sort((a, b) => (a.received_at < b.received_at ? -1 : 1));
  return { items, isWhole: examined < MAX_ROWS };
}

function periodOf({ near, from, to }: WhyOptions) {
  if (near !== undefined) return { from: iso(near - NEAR_MS), to: iso(near + NEAR_MS) };
  return {
    from: from === undefined ? '1970' : iso(from),
    to: to === undefined ? '9999' : iso(to),
  };
}

function includes(text: string | undefined, part: string | undefined): boolean {
  return part === undefined || (text !== undefined && folded(text).includes(folded(part)));
}

function folded(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}

/** Nothing was found: is the session known, and did anything come from it? */
async function explainNothing(session: string, options: WhyOptions): Promise<void> {
  printNote('No event found. Rows are deleted INBOX_RETENTION_DAYS after they were settled.');
  const memberships = tableOf('memberships', options);
  const members = await Array.fromAsync(rowsWith(memberships, 'session_open_id', session));
  if (members.length === 0) {
    printNote('No event ever came from this session: none was sent, or all were rejected.');
    printNote('For rejected events see the metric Rejected, and the log of webhook.');
    return;
  }
  for (const { robot_open_id, last_seen_at, last_mentioned_at = 'never' } of members) {
    printNote(
      `Robot ${visible(`${robot_open_id}`)}: latest event ${last_seen_at}, latest mention ${last_mentioned_at}.`,
    );
  }
  printNote('Events that the robot has no handler for are recorded there, and leave no row.');
}

// ---- one event

async function showEvent(event: string, options: WhyOptions): Promise<void> {
  const item = await findEvent(event, options);
  if (item) return show([item], options);
  await show([], options);
  printNote(
    options.session === undefined && options.robot === undefined
      ? 'No pending or failed event has this id. For a settled one, add --session or --robot: the id alone is no key of the table.'
      : 'No such event. Rows are deleted INBOX_RETENTION_DAYS after they were settled.',
  );
}

async function findEvent(event_id: string, options: WhyOptions): Promise<Item | undefined> {
  const table = tableOf('inbox', options);
  const { session, robot } = options;
  if (session !== undefined) return read(table, { session_open_id: session, event_id });
  if (robot !== undefined) {
    const sessions = await sessionsOf(robot, options);
    const keys = sessions.map((session_open_id) => ({ session_open_id, event_id }));
    return (await readMany(table, keys))[0] as Item | undefined;
  }
  const key = await findInIndex(table, event_id);
  return key && read(table, key);
}

/** The index has the keys of all events but those that were answered or ignored. */
async function findInIndex(table: Table, event_id: string): Promise<Key | undefined> {
  const period = { from: '1970', to: '9999' };
  for (const list of ['pending', 'failed', 'acknowledged'] satisfies DueList[]) {
    let after: IndexKey | undefined;
    for (let left = MAX_ROWS; left > 0; left -= 1_000) {
      const keys = await indexedRows(table, list, 1_000, period, after);
      const found = keys.find((it) => it.event_id === event_id);
      if (found) return found;
      after = keys.at(-1);
      if (!after) break;
    }
  }
  return undefined;
}

// ---- the sessions of a robot

interface Active {
  readonly session_open_id: string;
  readonly session_type: unknown;
  readonly first_seen_at: unknown;
  readonly last_seen_at: unknown;
  /** Inbox rows that were received near the time. */
  readonly events: number;
}

/** Lists the sessions that existed near a time, those with events then first. */
async function listActive(robot: string, near: number, options: WhyOptions): Promise<void> {
  const { from, to } = periodOf(options);
  const sessions = await sessionsOf(robot, options);
  const keys = sessions.map((session_open_id) => ({ session_open_id, robot_open_id: robot }));
  const members = await readMany(tableOf('memberships', options), keys);
  const candidates = members
    .filter((it) => `${it.first_seen_at}` <= to && `${it.last_seen_at}` >= from)
    .sort((a, b) => distance(a, near) - distance(b, near))
    .slice(0, BATCH);
  const active: Active[] = [];
  for (const { session_open_id, session_type, first_seen_at, last_seen_at } of candidates) {
    const { items } = await eventsOf(`${session_open_id}`, options);
    active.push({
      session_open_id: `${session_open_id}`,
      session_type,
      first_seen_at,
      last_seen_at,
      events: items.length,
    });
  }
  const busy = active
    .filter((it) => it.events > 0 || isWithin(it.last_seen_at, from, to))
    .sort((a, b) => b.events - a.events);
  printRows(busy, options);
  if (busy.length === 0) printNote('No session of this robot was active then.');
  else
    printNote(
      `Then: npm run why -- --stage ${options.stage} --session SESSION --near ${iso(near)}`,
    );
  if (candidates.length === BATCH) {
    printNote(`Only the ${BATCH} sessions whose latest event is nearest were examined.`);
  }
}

function distance({ last_seen_at }: Row, near: number): number {
  return Math.abs(Date.parse(`${last_seen_at}`) - near);
}

function isWithin(at: unknown, from: string, to: string): boolean {
  return `${at}` >= from && `${at}` <= to;
}

async function sessionsOf(robot: string, options: WhyOptions): Promise<string[]> {
  const memberships = tableOf('memberships', options);
  const sessions: string[] = [];
  const rows = rowsWith(memberships, 'robot_open_id', robot, { IndexName: 'by-robot' });
  for await (const { session_open_id } of rows) {
    if (sessions.length === MAX_SESSIONS) {
      printNote(`Only the first ${MAX_SESSIONS} sessions of the robot were examined.`);
      break;
    }
    sessions.push(`${session_open_id}`);
  }
  return sessions;
}

async function readMany({ client, name }: Table, keys: readonly Row[]): Promise<Row[]> {
  const rows: Row[] = [];
  let left = keys.map(toAttributes);
  while (left.length > 0) {
    const { Responses = {}, UnprocessedKeys = {} } = await client.send(
      new BatchGetItemCommand({ RequestItems: { [name]: { Keys: left.slice(0, BATCH) } } }),
    );
    rows.push(...(Responses[name] ?? []).map(fromAttributes));
    left = [...left.slice(BATCH), ...(UnprocessedKeys[name]?.Keys ?? [])];
  }
  return rows;
}

// ---- output

async function show(items: readonly Item[], options: WhyOptions): Promise<void> {
  const now = Date.now();
  const mutes = await readMutes(tableOf('mutes', options));
  const timelines = items.map((item) => ({
    session_open_id: item.session_open_id,
    ...timelineOf(item, {
      stage: options.stage,
      now,
      isMuted: isMuted(item, mutes, now),
    }),
  }));
  if (options.json) console.log(JSON.stringify(timelines, null, 2));
  else for (const timeline of timelines) console.log(inLines(timeline));
}

function inLines({ event_id, outcome, steps, next, commands }: Timeline): string {
  const width = '2026-03-14T09:00:00.000Z'.length;
  return [
    `${event_id}: ${outcome}`,
    ...steps.map(({ at = '', text }) => `  ${at.padEnd(width)}  ${visible(text)}`),
    `  ${'next'.padEnd(width)}  ${visible(next)}`,
    ...commands.map((it) => `  ${''.padEnd(width)}  ${visible(it)}`),
    '',
  ].join('\n');
}
