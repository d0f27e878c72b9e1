import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import {
  type AttributeValue,
  BatchWriteItemCommand,
  type ConsumedCapacity,
  type DynamoDBClient,
  GetItemCommand,
} from '@aws-sdk/client-dynamodb';
import { type Table, toAttributes } from '../lib/aws/table.ts';
import { createAnswers } from '../lib/delivery/answers.ts';
import { ROBOT_MS } from '../lib/delivery/budgets.ts';
import { deliverNew } from '../lib/delivery/deliver.ts';
import type { Delivery } from '../lib/delivery/delivery.ts';
import { createMutes } from '../lib/delivery/mutes.ts';
import { deliverDue } from '../lib/delivery/retry.ts';
import { enqueue, findLatest } from '../lib/inbox/enqueue.ts';
import type { Key } from '../lib/inbox/item.ts';
import { recordMembership } from '../lib/membership.ts';
import { createRobotApi } from '../lib/vvchat/api.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { createTokens } from '../lib/vvchat/token.ts';
import { inserted, startFunction } from '../test/deployed.ts';
import { startDynamoDBLocal } from '../test/dynamodb-local.ts';
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, newArrival, sample, saying } from '../test/fixtures.ts';
import { type Lambda, SharedClock } from '../test/lambda.ts';
import { type FunctionName, type Package, packaged } from '../test/package.ts';
import { respondingWith } from '../test/proxy.ts';
import { robot } from '../test/robot.ts';
import { APPS, type FakeVVChat, startVVChat } from '../test/vvchat.ts';
import { quantile } from './statistics.ts';

/*
 * `npm run growth`: what an event costs when there is much already, and how long a backlog takes. DynamoDB is
 * Amazon's own engine, which counts capacity as AWS does; everything is on 127.0.0.1.
 */

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '0,10,1000,100000' },
    events: { type: 'string', default: '300' },
    backlog: { type: 'string', default: '100000' },
    accepted: { type: 'string', default: '5000' },
  },
});
const SIZES = values.sizes === '' ? [] : values.sizes.split(',').map(Number);
const EVENTS = Number(values.events);
const BACKLOG = Number(values.backlog);
const ACCEPTED = Number(values.accepted);

// ---- what is measured

interface Spent {
  read: number;
  write: number;
}

/** Has a client add up what its calls consume, tables and indexes together. */
function meter(client: DynamoDBClient): Spent {
  const spent: Spent = { read: 0, write: 0 };
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        Object.assign(args.input, { ReturnConsumedCapacity: 'INDEXES' });
        const result = await next(args);
        const { ConsumedCapacity } = result.output as { ConsumedCapacity?: ConsumedCapacity };
        const kind = /^(?:Get|Query|Scan)/.test(commandName ?? '') ? 'read' : 'write';
        spent[kind] += ConsumedCapacity?.CapacityUnits ?? 0;
        return result;
      },
    { step: 'initialize' },
  );
  return spent;
}

interface Cost extends Spent {
  readonly ms: number;
}

/** The mean capacity and the median time of a piece of work. */
async function costOf(spent: Spent, work: (i: number) => Promise<unknown>): Promise<Cost> {
  const times: number[] = [];
  const before = { ...spent };
  for (let i = 0; i < EVENTS; i++) {
    const began = performance.now();
    await work(i);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return {
    read: (spent.read - before.read) / EVENTS,
    write: (spent.write - before.write) / EVENTS,
    ms: quantile(times, 0.5),
  };
}

const shown = ({ read, write, ms }: Cost) =>
  `${round(read)} RRU + ${round(write)} WRU, ${ms.toFixed(1)} ms`;

const round = (units: number) => Number(units.toFixed(2));

// ---- events among many memberships and settled rows

let serial = 0;

/** An event of the group that everything is about, by a new person. */
function event(kind: 'at' | 'open', group = 'the group'): Event {
  const it = kind === 'at' ? saying(`message ${++serial}`) : structuredClone(documented.open);
  it.data.session.session_open_id = group;
  it.data.trigger.open_id = `user-${++serial}`;
  return it;
}

async function fill(client: DynamoDBClient, name: string, count: number, rowOf: RowOf) {
  let next = 0;
  const writer = async () => {
    while (next < count) {
      const from = next;
      next = Math.min(from + 25, count);
      const rows = Array.from({ length: next - from }, (_, i) => ({
        PutRequest: { Item: rowOf(from + i) },
      }));
      await client.send(new BatchWriteItemCommand({ RequestItems: { [name]: rows } }));
    }
  };
  await Promise.all(Array.from({ length: 8 }, writer));
}

type RowOf = (i: number) => Record<string, AttributeValue>;

async function growth(endpoint: string, vvchat: FakeVVChat): Promise<void> {
  const rows: Record<string, Record<string, string>> = {};
  const costs: Record<'open' | 'known' | 'at' | 'reply', Cost[]> = {
    open: [],
    known: [],
    at: [],
    reply: [],
  };
  for (const [memberships, settled] of [
    ...SIZES.filter((it) => it > 0).map((it) => [it, 0] as const),
    ...SIZES.filter((it) => it !== 10).map((it) => [10, it] as const),
  ]) {
    await using engine = await startEngine(endpoint);
    const spent = meter(engine.client);
    const clock = { now: Date.now };
    const of = (name: 'memberships' | 'inbox' | 'tokens') => engine.table(name, clock);
    await fill(engine.client, of('memberships').name, memberships, (i) =>
      toAttributes({
        session_open_id: `group-${i}`,
        robot_open_id: 'robot',
        app_id: 'test',
        robot_no: 'no',
        session_type: '2',
        first_seen_at: '2026-03-14T09:00:00.000Z',
      }),
    );
    const delivery = deliveryOn(engine, vvchat, clock.now);
    const first = await accept(of, event('at'));
    await deliverNew(delivery, first);
    const { Item = {} } = await engine.client.send(
      new GetItemCommand({ TableName: of('inbox').name, Key: toAttributes({ ...first }) }),
    );
    // Settled rows of the same group, so that they are where the events go.
    await fill(engine.client, of('inbox').name, settled, () => ({
      ...Item,
      event_id: { S: `${randomBytes(16).toString('hex')}-0000000001` },
    }));
    const keys: Key[] = [];
    await recordMembership(of('memberships'), event('open'));
    const cost = {
      open: await costOf(spent, () =>
        recordMembership(of('memberships'), event('open', `new-${++serial}`)),
      ),
      known: await costOf(spent, () => recordMembership(of('memberships'), event('open'))),
      at: await costOf(spent, async () => keys.push(await accept(of, event('at')))),
      reply: await costOf(spent, (i) => deliverNew(delivery, keys[i] as Key)),
    };
    for (const kind of KINDS) costs[kind].push(cost[kind]);
    rows[`${memberships} memberships, ${settled} settled rows`] = {
      'first event of a group': shown(cost.open),
      'session-open, known': shown(cost.known),
      'at, accepted': shown(cost.at),
      'its reply': shown(cost.reply),
    };
    console.log(`measured with ${memberships} memberships and ${settled} settled rows`);
  }
  console.log(`\nPer event, mean capacity and median time of ${EVENTS}:`);
  console.table(rows);
  const spread = KINDS.flatMap((kind) =>
    (['read', 'write'] as const).map((unit) => {
      const all = costs[kind].map((it) => it[unit]);
      return Math.max(...all) === 0 ? 1 : Math.max(...all) / Math.min(...all);
    }),
  );
  console.log(`The most of any capacity is ${Math.max(...spread).toFixed(3)} times the least.`);
  if (Math.max(...spread) > 1.1) process.exitCode = 1;
}

const KINDS = ['open', 'known', 'at', 'reply'] as const;

/** What the webhook does with an event. */
async function accept(of: (name: 'memberships' | 'inbox') => Table, it: Event): Promise<Key> {
  const [, arrival] = await Promise.all([
    recordMembership(of('memberships'), it),
    findLatest(of('inbox'), it),
  ]);
  const { event_id } = await enqueue(of('inbox'), arrival, 5);
  return { session_open_id: it.data.session.session_open_id, event_id };
}

function deliveryOn(engine: Engine, vvchat: FakeVVChat, now: () => number): Delivery {
  const api = createRobotApi(vvchat.url, now);
  return {
    inbox: engine.table('inbox', { now }),
    robot,
    robotMs: ROBOT_MS,
    api,
    mutes: createMutes(engine.table('mutes', { now })),
    answers: createAnswers(engine.table('tokens', { now })),
    tokens: createTokens(engine.table('tokens', { now }), async (app_id) =>
      api.fetchToken(app_id, APPS.get(app_id) ?? ''),
    ),
    deadline: now() + 3_600_000,
  };
}

// ---- containers that live long

/** What a container of each function holds after so many events: as much as before. */
async function memory(endpoint: string, vvchat: FakeVVChat, clock: SharedClock): Promise<void> {
  await using engine = await startEngine(endpoint);
  const start = starter(await packaged(), engine, vvchat, clock);
  await using webhook = await start('webhook');
  await using reply = await start('reply');
  await using retry = await start('retry');
  const containers = { webhook, reply, retry };
  const table: Record<string, Record<string, string>> = {};
  let i = 0;
  for (const until of [0.1, 0.4, 0.7, 1].map((share) => share * ACCEPTED)) {
    for (; i < until; i++) {
      const it = saying(`message ${i}`);
      it.data.session.session_open_id = `group-${i % 100}`;
      const answer = (await webhook.invoke({ ...sample('at'), body: JSON.stringify(it) })) as {
        body: string;
      };
      const { event_id } = JSON.parse(answer.body);
      if (event_id === undefined) throw new Error(answer.body + webhook.output());
      const { session_open_id } = it.data.session;
      await reply.invoke(inserted({ session_open_id, event_id }));
      if (i % 10 === 0) await retry.invoke(sample('retry'));
    }
    const heaps = Object.entries(containers).map(async ([name, container]) => [
      name,
      `${((await container.heapUsed()) / 2 ** 20).toFixed(1)} MB`,
    ]);
    table[`after ${i} events`] = Object.fromEntries(await Promise.all(heaps));
  }
  console.log('\nWhat is in use of the heap of a container:');
  console.table(table);
}

const starter =
  (bundle: Package, engine: Engine, vvchat: FakeVVChat, clock: SharedClock) =>
  (name: FunctionName): Promise<Lambda> => {
    const urls = { dynamodb: engine.endpoint, vvchat: vvchat.url };
    return startFunction(bundle, name, engine, urls, clock);
  };

// ---- a backlog

const cpuSeconds = ({ pid }: Lambda) => {
  const [seconds = 0, minutes = 0, hours = 0] = execFileSync(
    'ps',
    ['-o', 'cputimes=', '-p', `${pid}`],
    { encoding: 'utf8' },
  )
    .trim()
    .split(':')
    .map(Number)
    .reverse();
  return seconds + 60 * minutes + 3_600 * hours;
};

async function backlog(endpoint: string, vvchat: FakeVVChat, clock: SharedClock): Promise<void> {
  await using engine = await startEngine(endpoint);
  const table = engine.table('inbox', clock);
  let next = 0;
  const putter = async () => {
    while (next < BACKLOG) {
      const i = next++;
      const it = saying(`backlog ${i}`);
      it.data.session.session_open_id = `group-${i % 1_000}`;
      await enqueue(table, newArrival(it), 5);
    }
  };
  await Promise.all(Array.from({ length: 16 }, putter));
  console.log(`\n${BACKLOG} rows are in the inbox, and come due as VVChat is down.`);
  clock.advance(121_000);

  await using retry = await starter(await packaged(), engine, vvchat, clock)('retry');
  const runs: Record<string, string | number>[] = [];
  const run = async (what: string) => {
    const began = performance.now();
    const cpu = cpuSeconds(retry);
    const summary = (await retry.invoke(sample('retry'))) as Record<string, number>;
    const seconds = (performance.now() - began) / 1_000;
    runs.push({
      what,
      seconds: seconds.toFixed(1),
      'CPU seconds': cpuSeconds(retry) - cpu,
      ...summary,
    });
    console.log(what, `${seconds.toFixed(1)} s`, summary);
    return summary;
  };
  vvchat.intervene = ({ operation }) => (operation === 'send' ? respondingWith(503) : undefined);
  await run('VVChat is down');
  vvchat.intervene = () => undefined;
  const began = performance.now();
  const cpu = cpuSeconds(retry);
  let replied = 0;
  for (
    let summary = await run('VVChat is back');
    summary.replied;
    summary = await run('VVChat is back')
  ) {
    replied += summary.replied;
  }
  const seconds = (performance.now() - began) / 1_000;
  const spentCpu = cpuSeconds(retry) - cpu;
  clock.advance(3_600_000);
  replied += (await run('after the back-off of the first ones')).replied ?? 0;
  console.log('');
  console.table(runs);
  console.log(
    `${replied} rows were answered, each sent once: ${new Set(vvchat.carried.map(({ params }) => params.text)).size === vvchat.carried.length}; ` +
      `${Math.round(BACKLOG / seconds)} a second, ${((spentCpu / BACKLOG) * 1_000).toFixed(1)} ms of CPU each.`,
  );
  if (replied !== BACKLOG || vvchat.carried.length !== BACKLOG) process.exitCode = 1;
}

/** What a due row costs when VVChat is back, and while it is down. */
async function costOfDue(endpoint: string, vvchat: FakeVVChat, clock: SharedClock): Promise<void> {
  await using engine = await startEngine(endpoint);
  const spent = meter(engine.client);
  const delivery = deliveryOn(engine, vvchat, clock.now);
  const COUNT = 1_000;
  for (let i = 0; i < COUNT; i++) await enqueue(delivery.inbox, newArrival(saying(`due ${i}`)), 5);
  clock.advance(121_000);
  const measure = async (what: string) => {
    const before = { ...spent };
    const summary = await deliverDue({ ...delivery, deadline: clock.now() + 300_000 });
    const read = (spent.read - before.read) / COUNT;
    const write = (spent.write - before.write) / COUNT;
    console.log(`${what}: ${round(read)} RRU + ${round(write)} WRU a row`, summary);
  };
  vvchat.intervene = ({ operation }) => (operation === 'send' ? respondingWith(503) : undefined);
  await measure('A run while VVChat is down');
  vvchat.intervene = () => undefined;
  await measure('A run when it is back');
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
process.env.PACKAGE_FOLDER ??= (await packaged()).folder;
for (const level of ['info', 'warn', 'error'] as const) console[level] = () => {};
await using engine = await startDynamoDBLocal();
using clock = new SharedClock();
await using vvchat = await startVVChat(clock.now);
if (SIZES.length > 0) await growth(engine.endpoint, vvchat);
if (ACCEPTED > 0) await memory(engine.endpoint, vvchat, clock);
await costOfDue(engine.endpoint, vvchat, clock);
vvchat.carried.length = 0;
if (BACKLOG > 0) await backlog(engine.endpoint, vvchat, clock);
