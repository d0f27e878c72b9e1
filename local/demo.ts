import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, type Row } from '../lib/aws/table.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { nameOf } from './names.ts';
import { freePorts, SERVERS } from './ports.ts';
import { describe } from './simulator/conversation.ts';
import type { Carried } from './simulator/robot-api.ts';
import { type Stack, startStack, WEBHOOK_PATH } from './stack.ts';

const DOCUMENTED = ['join-group-for-invite', 'session-open', 'at'];
const PATIENCE_MS = 20_000;

/** `npm run demo`: plays the events that VVChat documents, and shows what becomes of them. */
async function demo(): Promise<void> {
  const carried: Carried[] = [];
  const printed: string[] = [];
  console.log('Starting the robot on free ports of this machine …\n');
  const stack = await startStack({
    ports: await freePorts(),
    onReady: (server, url) => console.log(`  ✓ ${SERVERS[server].title.padEnd(20)} ${url}`),
    onCarried: (it) => carried.push(it),
    onLine: (line) => printed.push(line),
  });
  try {
    const events = DOCUMENTED.map(sample);
    console.log('\nVVChat posts its events:\n');
    for (const event of events) console.log(`  ${event.event}: ${await post(stack, event)}`);

    const memberships = await until('every robot is in the table of memberships', async () => {
      const rows = await scan(stack, 'memberships');
      return events.every(({ data }) => rows.some((row) => isOf(row, data))) && rows;
    });
    console.log('\nWhich robot is in which session, as the table of memberships has it:\n');
    console.table(memberships.map(summary));

    await until('every event that the robot answers is replied to', async () => {
      const rows = await scan(stack, 'inbox');
      for (const row of rows) checkAnswer(row);
      return rows.length === 2 && rows.every(({ status }) => status === 'replied');
    });
    console.log('\nWhat the robots had VVChat do:\n');
    for (const it of carried) console.log(`${describe(it)}\n`);
    for (const event of events.filter((it) => it.event !== 'session-open')) {
      if (carried.some((it) => isAnswer(it, event))) continue;
      throw new Error(`Nothing was said in ${event.data.session.session_open_id}.`);
    }
  } catch (error) {
    console.error(printed.join('\n'));
    throw error;
  } finally {
    await stack.stop();
  }
}

/** The documented event in one of the files in events/. */
function sample(name: string): Event {
  const file = new URL(`../events/${name}.json`, import.meta.url);
  return JSON.parse(JSON.parse(readFileSync(file, 'utf8')).body);
}

async function post({ url }: Stack, event: Event): Promise<string> {
  const answer = await fetch(`${url('http')}${WEBHOOK_PATH}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`The webhook answered ${answer.status}: ${body}`);
  return `${answer.status} ${body}`;
}

async function scan({ client }: Stack, table: string): Promise<Row[]> {
  const { Items = [] } = await client.send(new ScanCommand({ TableName: nameOf(table) }));
  return Items.map(fromAttributes);
}

async function until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) {
    const seen = await look();
    if (seen) return seen;
  }
  throw new Error(`Waited ${PATIENCE_MS / 1_000} s in vain until ${what}.`);
}

/** @throws when a row will never be replied to */
function checkAnswer({ event, session_open_id, status, last_error }: Row): void {
  if (status !== 'ignored' && status !== 'failed') return;
  const why = last_error ? ` (${last_error})` : '';
  throw new Error(`The robot has no answer to ${event} in ${session_open_id}: ${status}${why}.`);
}

const isOf = (row: Row, { robot, session }: Event['data']) =>
  row.session_open_id === session.session_open_id && row.robot_no === robot.robot_no;

const isAnswer = ({ robot_no, message }: Carried, { data }: Event) =>
  message.session_open_id === data.session.session_open_id && robot_no === data.robot.robot_no;

const summary = ({ session_open_id, robot_no, app_id, ...row }: Row) => ({
  session_open_id,
  robot_no,
  app_id,
  'known since': row.first_seen_at,
  by: ['joined_at', 'last_opened_at', 'last_mentioned_at'].filter((name) => row[name]).join(', '),
});

process.exitCode = await demo().then(
  () => 0,
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  },
);
