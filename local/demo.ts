import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, type Row, toAttributes } from '../lib/aws/table.ts';
import { EVENT_NAMES, type Event, type EventName } from '../lib/vvchat/event.ts';
import { nameOf } from './names.ts';
import { freePorts, SERVERS } from './ports.ts';
import { describe } from './simulator/conversation.ts';
import type { ReceivedCommand } from './simulator/robot-api.ts';
import { type Stack, startStack, WEBHOOK_PATH } from './stack.ts';
import { printVisibly } from './terminal.ts';

/** A robot has 60 s for a reply. An attempt that failed is repeated when the next minute begins. */
const TIMEOUT_MS = 130_000;

/** From then on the output of the functions is shown, which may explain the delay. */
const SLOW_MS = 5_000;

/** `npm run demo`: posts every event that VVChat documents, and shows the robot's replies. */
async function demo(): Promise<void> {
  const sent: ReceivedCommand[] = [];
  const printed: string[] = [];
  let isSlow = false;
  const onSlow = () => {
    isSlow = true;
    console.log('    No reply yet. Output of the functions:');
    for (const line of printed.splice(0)) console.log(`    ${line}`);
  };
  console.log('Starting the robot on free ports of this machine …\n');
  const stack = await startStack({
    ports: await freePorts(),
    onReady: (server, url) => console.log(`  ✓ ${SERVERS[server].title.padEnd(20)} ${url}`),
    onCommand: (command) => sent.push(command),
    onLine: (line) => (isSlow ? console.log(`    ${line}`) : printed.push(line)),
  });
  try {
    console.log("\nVVChat's events and the robot's replies:\n");
    for (const event of EVENT_NAMES.map(documented)) {
      const slow = setTimeout(onSlow, SLOW_MS);
      const outcome = await play(stack, event).finally(() => clearTimeout(slow));
      showReplies(sent.splice(0), outcome);
    }
    await showMemberships(stack);
  } catch (error) {
    if (printed.length > 0) console.error(`\nOutput of the functions:\n${printed.join('\n')}\n`);
    throw error;
  } finally {
    await stack.stop();
  }
}

/** The documented event in its file of events/. */
function documented(name: EventName): Event {
  const file = new URL(`../events/${name}.json`, import.meta.url);
  if (!existsSync(file)) throw new Error(`events/${name}.json is missing: add the sample event.`);
  return JSON.parse(JSON.parse(readFileSync(file, 'utf8')).body);
}

/** @returns `recorded` for an event that the robot has no handler for, or else the final status of its row */
async function play(stack: Stack, event: Event): Promise<string> {
  const answer = await fetch(`${stack.url('http')}${WEBHOOK_PATH}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`The webhook answered ${answer.status}: ${body}`);
  console.log(`  ▶ ${event.event}: ${answer.status} ${body}`);
  const { status, event_id } = JSON.parse(body);
  if (event_id === undefined) return status;
  return settled(stack, { session_open_id: event.data.session.session_open_id, event_id });
}

/**
 * Waits until the row of an event is replied to or ignored.
 *
 * @throws when the row has failed, or when it is still pending after the time for two attempts
 */
async function settled(stack: Stack, key: Row): Promise<string> {
  for (const end = Date.now() + TIMEOUT_MS; Date.now() < end; await sleep(100)) {
    const { status, last_error } = await readRow(stack, key);
    if (status === 'failed') throw new Error(`The robot has failed: ${last_error}`);
    if (status !== 'pending') return `${status}`;
  }
  throw new Error(`The event is not settled after ${TIMEOUT_MS / 1_000} s.`);
}

async function readRow({ client }: Stack, key: Row): Promise<Row> {
  const request = { TableName: nameOf('inbox'), Key: toAttributes(key) };
  const { Item = {} } = await client.send(new GetItemCommand(request));
  return fromAttributes(Item);
}

function showReplies(sent: readonly ReceivedCommand[], outcome: string): void {
  if (sent.length > 0) {
    for (const command of sent) console.log(`    ${describe(command)}`);
  } else if (outcome === 'recorded') {
    console.log('    The robot has no handler for this event.');
  } else {
    console.log('    The robot answered nothing.');
  }
  console.log();
}

async function showMemberships({ client }: Stack): Promise<void> {
  const { Items = [] } = await client.send(new ScanCommand({ TableName: nameOf('memberships') }));
  console.log('The memberships table:\n');
  console.table(
    Items.map(fromAttributes).map(({ session_open_id, robot_no, app_id, first_seen_at }) => ({
      session_open_id,
      robot_no,
      app_id,
      first_seen_at,
    })),
  );
}

printVisibly();
process.exitCode = await demo().then(
  () => 0,
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  },
);
