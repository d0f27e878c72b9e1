import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { paginateScan } from '@aws-sdk/client-dynamodb';
import { fromAttributes } from '../lib/aws/table.ts';
import { commandsOf, type Item, isUnknown } from '../lib/inbox/item.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { nameOf } from '../local/names.ts';
import { freePorts } from '../local/ports.ts';
import type { ReceivedCommand } from '../local/simulator/robot-api.ts';
import { type Stack, startStack, WEBHOOK_PATH } from '../local/stack.ts';
import {
  delaying,
  type Fault,
  failing,
  hanging,
  resetting,
  resettingAfter,
  respondingWith,
  startDynamoDBProxy,
  startVVChatProxy,
  throttling,
} from '../test/proxy.ts';
import { quantile } from './statistics.ts';

/*
 * `npm run soak`: posts events over HTTP to the stack of `npm start` until a number or a time is reached, with faults
 * injected between the functions and DynamoDB and VVChat. Every server listens on 127.0.0.1.
 */

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '100000' },
    groups: { type: 'string', default: '1000' },
    'at-once': { type: 'string', default: '24' },
    minutes: { type: 'string', default: '90' },
    seed: { type: 'string', default: '1' },
  },
});
const EVENTS = Number(values.events);
const GROUPS = Number(values.groups);
const AT_ONCE = Number(values['at-once']);
const END = Date.now() + Number(values.minutes) * 60_000;

/** How long accepted events may take to settle after the last one was posted. */
const DRAIN_MS = 30 * 60_000;

/** The shares of requests to which this happens. */
const DYNAMODB_FAULTS: readonly [share: number, fault: Fault][] = [
  [0.005, throttling],
  [0.002, failing(500, 'InternalServerError')],
  [0.001, resetting],
  [0.001, resettingAfter],
  [0.002, delaying(300)],
  [0.0002, hanging],
];
const VVCHAT_FAULTS: readonly [share: number, fault: Fault][] = [
  [0.005, respondingWith(503)],
  [0.003, respondingWith(429, '', { 'Retry-After': '5' })],
  [0.002, resetting],
  [0.002, resettingAfter],
  [0.01, delaying(500)],
  [0.0005, hanging],
];

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const random = randomOf(Number(values.seed));

const injected = { dynamodb: 0, vvchat: 0 };

const faultsOf = (where: keyof typeof injected, faults: typeof DYNAMODB_FAULTS) => () => {
  let at = random();
  for (const [share, fault] of faults) {
    at -= share;
    if (at > 0) continue;
    injected[where]++;
    return fault;
  }
  return undefined;
};

/** What VVChat carried out, by the robot's number, of which every event has one of its own. */
const carried = new Map<string, { times: number; readonly at: number }>();

function onCommand({ robot_no }: ReceivedCommand) {
  const known = carried.get(robot_no) ?? { times: 0, at: performance.now() };
  known.times++;
  carried.set(robot_no, known);
}

/** When an event was first accepted, by the robot's number; and how many rows the webhook reported. */
const accepted = new Map<string, { readonly at: number; readonly ids: Set<string> }>();
const answers = new Map<string, number>();

function eventOf(i: number): Event {
  const group = Math.floor(random() * GROUPS);
  const kind = random();
  const robot = {
    app_id: i % 3 ? 'test' : 'qiyunxin',
    open_id: `robot-${group % 7}`,
    robot_no: `no-${i}`,
  };
  const session = { session_open_id: `group-${group}`, session_type: '2' as const };
  const trigger = { open_id: `user-${i}`, target: 'user' };
  if (kind < 0.7) {
    const content = { text: kind < 0.05 ? 'help' : `message ${i}` };
    return { event: 'at', version: 'v1', data: { content, robot, session, trigger } };
  }
  const event = kind < 0.8 ? 'join-group-for-invite' : 'session-open';
  return { event, version: 'v1', data: { robot, session, trigger } };
}

/** Posts an event until it is accepted, and now and then once more, as VVChat may. */
async function post(url: string, event: Event): Promise<void> {
  const body = JSON.stringify(event);
  for (let isAccepted = false; !isAccepted; ) {
    const answer = await fetch(url, { method: 'POST', body }).catch(() => undefined);
    const { status, event_id } = answer?.ok
      ? ((await answer.json()) as { status: string; event_id?: string })
      : { status: `${answer?.status ?? 'no answer'}` };
    answers.set(status, (answers.get(status) ?? 0) + 1);
    isAccepted = answer?.ok === true;
    if (event_id !== undefined) {
      const { robot_no } = event.data.robot;
      const known = accepted.get(robot_no) ?? { at: performance.now(), ids: new Set() };
      accepted.set(robot_no, known);
      known.ids.add(event_id);
    }
    if (!isAccepted) await sleep(200);
  }
}

async function drive(stack: Stack): Promise<number> {
  const url = `${stack.url('http')}${WEBHOOK_PATH}`;
  let next = 0;
  const poster = async () => {
    while (next < EVENTS && Date.now() < END) {
      const i = next++;
      const event = eventOf(i);
      const isTwice = random() < 0.1;
      await Promise.all([post(url, event), isTwice && post(url, event)]);
      if (isTwice && random() < 0.5) await post(url, event);
      if (i % Math.ceil(EVENTS / 20) === 0) progress(stack, `${i} events posted`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, poster));
  return next;
}

async function drain(stack: Stack): Promise<Item[]> {
  for (const end = Date.now() + DRAIN_MS; ; await sleep(5_000)) {
    const rows: Item[] = [];
    for await (const { Items = [] } of paginateScan(
      { client: stack.client },
      { TableName: nameOf('inbox') },
    )) {
      for (const it of Items) rows.push(fromAttributes(it) as unknown as Item);
    }
    const pending = rows.filter(({ status }) => status === 'pending').length;
    if (pending === 0 || Date.now() > end) return rows;
    progress(stack, `${pending} rows are not settled yet`);
  }
}

const began = performance.now();

const megabytes = ({ workersPid }: Stack) =>
  Math.round(Number(execFileSync('ps', ['-o', 'rss=', '-p', `${workersPid}`])) / 1_024);

const memory: number[] = [];

function progress(stack: Stack, words: string) {
  memory.push(megabytes(stack));
  const seconds = Math.round((performance.now() - began) / 1_000);
  console.log(`${seconds} s: ${words}; the workers have ${memory.at(-1)} MB`);
}

/** What became of it all. An event that came again after the window is a new message, and has two rows. */
function judge(rows: readonly Item[]) {
  const counts = { replied: 0, ignored: 0, failed: 0, pending: 0 };
  const verdict = { sentTwice: 0, unknown: 0, repeatedAsUnknown: 0, lost: 0 };
  const latencies: number[] = [];
  const byRobot = Map.groupBy(rows, ({ robot_no }) => robot_no);
  for (const [robot_no, { at, ids }] of accepted) {
    const own = byRobot.get(robot_no) ?? [];
    const sent = carried.get(robot_no);
    if (sent) latencies.push(sent.at - at);
    for (const { status, unknown } of own) {
      counts[status]++;
      if (unknown) verdict.unknown++;
    }
    verdict.lost += [...ids].filter((id) => !own.some(({ event_id }) => event_id === id)).length;
    verdict.lost += own.filter(({ status, unknown }) => !isSettled(status) && !unknown).length;
    const times = sent?.times ?? 0;
    const bounds = own.map(boundsOf);
    const least = bounds.reduce((sum, { least }) => sum + least, 0);
    const most = bounds.reduce((sum, { most }) => sum + most, 0);
    if (times < least || times > most) {
      const seen = own.map(({ status, sent, unknown }) => ({ status, sent, unknown }));
      console.log(`${robot_no} was sent ${times} times: ${JSON.stringify(seen)}`);
    }
    if (times < least) verdict.lost++;
    else if (times > most) verdict.sentTwice++;
    else if (times > own.reduce((sum, item) => sum + (commandsOf(item)?.length ?? 0), 0)) {
      verdict.repeatedAsUnknown++;
    }
  }
  latencies.sort((a, b) => a - b);
  return { counts, verdict, latencies };
}

/** How often VVChat may have carried something out for a row: each unknown outcome may be once more. */
function boundsOf(item: Item): { least: number; most: number } {
  const { status, sent, unknown = [] } = item;
  if (status === 'replied') return { least: sent, most: sent + unknown.length };
  // One that failed after a second unknown outcome was sent twice, and not counted.
  return { least: sent, most: sent + unknown.length + (isUnknown(item) ? 1 : 0) };
}

const isSettled = (status: Item['status']) => status === 'replied' || status === 'ignored';

const percentile = (sorted: readonly number[], share: number) =>
  `${sorted.length === 0 ? 0 : Math.round(quantile(sorted, share))} ms`;

async function soak(): Promise<boolean> {
  const ports = await freePorts();
  await using dynamodb = await startDynamoDBProxy(`http://127.0.0.1:${ports.dynamodb}`);
  await using vvchat = await startVVChatProxy(`http://127.0.0.1:${ports.vvchat}`);
  const stack = await startStack({
    ports,
    between: { dynamodb: dynamodb.port, vvchat: vvchat.port },
    onCommand,
  });
  try {
    dynamodb.intervene = faultsOf('dynamodb', DYNAMODB_FAULTS);
    vvchat.intervene = faultsOf('vvchat', VVCHAT_FAULTS);
    const posted = await drive(stack);
    const seconds = (performance.now() - began) / 1_000;
    const rows = await drain(stack);
    progress(stack, 'over');
    const { counts, verdict, latencies } = judge(rows);
    console.log('\nWhat was posted:');
    console.table({
      events: posted,
      'events per second': Math.round(posted / seconds),
      ...Object.fromEntries([...answers].map(([status, n]) => [`answered ${status}`, n])),
      'faults of DynamoDB': injected.dynamodb,
      'faults of VVChat': injected.vvchat,
    });
    console.log('\nWhat became of the events that were accepted to be answered:');
    console.table({
      accepted: accepted.size,
      ...counts,
      'lost (must be 0)': verdict.lost,
      'sent twice (must be 0)': verdict.sentTwice,
      'outcome unknown': verdict.unknown,
      'repeated, outcome unknown': verdict.repeatedAsUnknown,
      'p50, acceptance to reply': percentile(latencies, 0.5),
      p95: percentile(latencies, 0.95),
      p99: percentile(latencies, 0.99),
      'memory of the workers, first tenth': `${Math.max(...memory.slice(0, 3))} MB`,
      'memory of the workers, end': `${memory.at(-1)} MB`,
    });
    return verdict.lost === 0 && verdict.sentTwice === 0 && posted === EVENTS;
  } finally {
    await stack.stop();
  }
}

// After so many connections, Node has been seen to loop endlessly while it closes the remaining handles.
process.exit((await soak()) ? 0 : 1);
