import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb';
import type { Key } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { nameOf } from '../local/names.ts';
import { inserted, startFunction } from '../test/deployed.ts';
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, sample, saying } from '../test/fixtures.ts';
import { type Lambda, SharedClock } from '../test/lambda.ts';
import { packaged } from '../test/package.ts';
import { type Fault, respondingWith, startDynamoDBProxy } from '../test/proxy.ts';
import { startVVChat } from '../test/vvchat.ts';
import { type Section, table, type Verdict } from './report.ts';

/*
 * What an event consumes of DynamoDB over its whole life, as Amazon's own engine counts it: the packaged functions
 * in processes of their own, and between them and the engine a proxy that asks for the count of every call.
 */

/** A call, and what it consumed in capacity units. */
interface Call {
  readonly operation: string;
  /** The table, without the name of the service and the stage. */
  readonly table: string;
  /** What a write is for; nothing for a read. */
  readonly purpose: string | undefined;
  readonly ofTable: number;
  readonly ofIndex: number;
}

interface Life {
  readonly event: Event['event'];
  readonly isKnown: boolean;
  readonly calls: readonly Call[];
}

/**
 * Follows an event of each kind from the webhook to its settled row.
 *
 * @param endpoint of DynamoDB Local
 * @throws {Error} with what a container printed, when an event is not accepted or its row not settled
 */
export async function measureUnits(endpoint: string): Promise<readonly Life[]> {
  using clock = new SharedClock();
  await using engine = await startEngine(endpoint);
  await using vvchat = await startVVChat(clock.now);
  await using proxy = await startDynamoDBProxy(engine.endpoint);
  const calls: Call[] = [];
  proxy.intervene = () => counting(engine, calls);
  const bundle = await packaged();
  const urls = { dynamodb: proxy.url, vvchat: vvchat.url };
  await using webhook = await startFunction(bundle, 'webhook', engine, urls, clock);
  await using reply = await startFunction(bundle, 'reply', engine, urls, clock);

  const live = async (event: Event) => {
    calls.length = 0;
    const key = await accept(webhook, event);
    if (key) {
      await reply.invoke(inserted(key));
      const row = await queries.read(engine.table('inbox', clock), key);
      if (row?.status !== 'replied') throw new Error(`${row?.last_error}\n${reply.output()}`);
    }
    return [...calls];
  };
  // A cold container fetches a token once in two hours: not of these events' making.
  for (const { data } of [documented.at, documented.open]) {
    const first = saying('to have a token');
    await live({ ...first, data: { ...first.data, robot: data.robot } } as Event);
  }
  const lives: Life[] = [];
  for (const [i, event] of [documented.join, documented.open, saying('hello')].entries()) {
    const own = structuredClone(event);
    own.data.session.session_open_id = `group-${i}`;
    lives.push({ event: event.event, isKnown: false, calls: await live(own) });
    own.data.trigger.open_id = 'somebody-else';
    lives.push({ event: event.event, isKnown: true, calls: await live(own) });
  }
  return lives;
}

async function accept(webhook: Lambda, event: Event): Promise<Key | undefined> {
  const request = { ...sample('at'), body: JSON.stringify(event) };
  const { statusCode, body } = (await webhook.invoke(request)) as Record<string, string | number>;
  if (statusCode !== 200) throw new Error(`${statusCode}: ${body}\n${webhook.output()}`);
  const { event_id } = JSON.parse(`${body}`);
  return event_id && { session_open_id: event.data.session.session_open_id, event_id };
}

/** Has the engine do what is asked for, and notes what it consumed. */
const counting =
  ({ endpoint, environment }: Engine, calls: Call[]): Fault =>
  async (exchange) => {
    const input = JSON.parse(`${exchange.body}`);
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/x-amz-json-1.0',
        'X-Amz-Target': `DynamoDB_20120810.${exchange.operation}`,
        // DynamoDB Local chooses the tables by the access key, and doesn't check the signature.
        Authorization: `AWS4-HMAC-SHA256 Credential=${environment.AWS_ACCESS_KEY_ID}/20260314/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify({ ...input, ReturnConsumedCapacity: 'INDEXES' }),
    });
    const body = await answer.text();
    const { ConsumedCapacity } = JSON.parse(body);
    if (ConsumedCapacity) calls.push(callOf(exchange.operation, input, ConsumedCapacity));
    await respondingWith(answer.status, body, { 'Content-Type': 'application/x-amz-json-1.0' })(
      exchange,
    );
  };

function callOf(
  operation: string,
  { UpdateExpression = '' }: { readonly UpdateExpression?: string },
  { TableName = '', Table, GlobalSecondaryIndexes = {} }: ConsumedCapacity,
): Call {
  const units = Object.values(GlobalSecondaryIndexes).map(({ CapacityUnits = 0 }) => CapacityUnits);
  const name = TableName.slice(nameOf('').length);
  return {
    operation,
    table: name,
    purpose: purposeOf(operation, name, UpdateExpression),
    ofTable: Table?.CapacityUnits ?? 0,
    ofIndex: units.reduce((sum, it) => sum + it, 0),
  };
}

function purposeOf(operation: string, name: string, expression: string): string | undefined {
  if (/^(?:Get|Query)/.test(operation)) return undefined;
  if (name === 'memberships') return 'membership';
  if (operation === 'PutItem') return 'enqueue';
  if (expression.includes('#replied_at')) return 'complete';
  return expression.includes('#commands') ? 'claim with the answer' : 'update';
}

const isWrite = ({ purpose }: Call) => purpose !== undefined;

const sum = (calls: readonly Call[]) =>
  calls.reduce((total, { ofTable, ofIndex }) => total + ofTable + ofIndex, 0);

const titleOf = ({ event, isKnown }: Life) => `${event}, ${isKnown ? 'known' : 'new'} membership`;

/** Every call in its order, and the sums. The rules of what an event may cost fail the run. */
export function reportUnits(lives: readonly Life[]): Section {
  const rows = lives.flatMap((life) =>
    life.calls.map((call, i) => {
      const { operation, table: name, ofTable, ofIndex } = call;
      const units = [`${ofTable}`, ofIndex === 0 ? '' : `${ofIndex}`];
      const cells = isWrite(call) ? ['', ...units] : [units[0] ?? '', '', ''];
      return [i === 0 ? titleOf(life) : '', operation, name, call.purpose ?? '', ...cells];
    }),
  );
  const names = ['', 'call', 'table', 'what for', '>read', '>write, row', '>write, index'];
  const lines = lives.map((life) => {
    const writes = life.calls.filter(isWrite);
    const reads = life.calls.filter((call) => !isWrite(call));
    return `- ${titleOf(life)}: ${writes.map(termOf).join(' + ')} = **${counted(sum(writes), 'write')}**; ${counted(sum(reads), 'read')}`;
  });
  const note =
    'Capacity units over the life of an event, from the webhook to the settled row, as DynamoDB Local counts them; ' +
    'the robot answers one short command. The token, which a cold `reply` looks up once, was fetched before and is not counted. ' +
    'A Query that finds nothing is 0 here; AWS takes the least of its kind, 1 read unit as it is consistent.';
  return {
    markdown: ['### Capacity', note, table(names, rows), lines.join('\n')].join('\n\n'),
    verdicts: rules(lives),
  };
}

const counted = (units: number, kind: string) => `${units} ${kind} unit${units === 1 ? '' : 's'}`;

function termOf({ purpose, ofTable, ofIndex }: Call): string {
  const parts = ofIndex === 0 ? purpose : `${purpose}: row ${ofTable} + index ${ofIndex}`;
  return `${ofTable + ofIndex} (${parts})`;
}

function rules(lives: readonly Life[]): Verdict[] {
  const writesOf = (event: Event['event'], isKnown: boolean) =>
    lives.find((life) => life.event === event && life.isKnown === isKnown)?.calls.filter(isWrite) ??
    [];
  const opened = sum(writesOf('session-open', true));
  const joined = sum(
    writesOf('join-group-for-invite', true).filter(({ purpose }) => purpose === 'membership'),
  );
  const sent = sum(writesOf('at', true));
  return [
    { what: `units, session-open on a known row = 1 write: ${opened}`, holds: opened === 1 },
    {
      what: `units, membership of a join on a known row = 1 write: ${joined}`,
      holds: joined === 1,
    },
    { what: `units, life of an at ≤ 6 writes: ${sent}`, holds: sent > 0 && sent <= 6 },
  ].map((rule) => ({ ...rule, isRule: true }));
}
