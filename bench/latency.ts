import { DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import { startFunction } from '../test/deployed.ts';
import { startEngine } from '../test/engine.ts';
import { sample, saying } from '../test/fixtures.ts';
import { type Lambda, SharedClock } from '../test/lambda.ts';
import { type FunctionName, mappingIn, packaged } from '../test/package.ts';
import { readStream } from '../test/shard-reader.ts';
import { type FakeVVChat, startVVChat } from '../test/vvchat.ts';
import { type Section, table } from './report.ts';
import { quantile } from './statistics.ts';

/*
 * From acceptance to reply: the packaged functions on Amazon's own engine, whose stream is read as Lambda reads it,
 * and a VVChat on 127.0.0.1.
 */

const CONTAINERS = 4;
const AT_ONCE = 10;
const PATIENCE_MS = 30_000;

export interface Latencies {
  readonly atOnce: number;
  /** Ascending, in milliseconds. */
  readonly sorted: readonly number[];
}

/**
 * Has @-messages accepted and answered, one at a time and then several at once.
 *
 * @param endpoint of DynamoDB Local
 * @param events for each
 * @throws {Error} when an event is not accepted, or its answer does not come in 30 s
 */
export async function measureLatency(
  endpoint: string,
  events: number,
): Promise<readonly Latencies[]> {
  using clock = new SharedClock();
  await using engine = await startEngine(endpoint);
  await using vvchat = await startVVChat(clock.now);
  await using stack = new AsyncDisposableStack();
  const bundle = await packaged();
  const urls = { dynamodb: engine.endpoint, vvchat: vvchat.url };
  const start = async (name: FunctionName) =>
    stack.use(await startFunction(bundle, name, engine, urls, clock));
  const several = (name: FunctionName) =>
    Promise.all(Array.from({ length: CONTAINERS }, () => start(name)));
  const turnOf = inTurn(await several('reply'));
  const webhooks = inTurn(await several('webhook'));
  const { Table } = await engine.client.send(
    new DescribeTableCommand({ TableName: engine.table('inbox').name }),
  );
  const reader = stack.use(
    readStream({
      engine,
      streamArn: `${Table?.LatestStreamArn}`,
      mapping: mappingIn(bundle),
      invoke: (event) => turnOf().invoke(event),
    }),
  );
  const arrival = arrivalsAt(vvchat);
  let texts = 0;
  const measure = async () => {
    const text = `latency ${texts++}`;
    const arrived = arrival(text);
    const request = { ...sample('at'), body: JSON.stringify(saying(text)) };
    const { statusCode, body } = (await webhooks().invoke(request)) as Record<string, unknown>;
    const accepted = performance.now();
    if (statusCode !== 200) throw new Error(`${statusCode}: ${body}`);
    return (await arrived) - accepted;
  };
  const measureAll = async (atOnce: number, count: number): Promise<Latencies> => {
    const times: number[] = [];
    let begun = 0;
    const poster = async () => {
      while (begun++ < count) times.push(await measure());
    };
    await Promise.all(Array.from({ length: atOnce }, poster));
    return { atOnce, sorted: times.sort((a, b) => a - b) };
  };
  // Warms up every container, and has it fetch its token.
  await measureAll(1, CONTAINERS * 5);
  const latencies = [await measureAll(1, events), await measureAll(AT_ONCE, events)];
  // The reader finishes what it has begun.
  await reader[Symbol.asyncDispose]();
  if (vvchat.carried.length !== texts) {
    throw new Error(`VVChat carried out ${vvchat.carried.length} commands for ${texts} events.`);
  }
  return latencies;
}

function inTurn(containers: readonly Lambda[]): () => Lambda {
  let turns = 0;
  return () => containers[turns++ % containers.length] as Lambda;
}

/** Resolves to the time, by `performance.now()`, at which VVChat gets the command with a text. */
function arrivalsAt(vvchat: FakeVVChat): (text: string) => Promise<number> {
  const awaited = new Map<string, (at: number) => void>();
  vvchat.intervene = ({ operation, body }) => {
    if (operation !== 'send') return undefined;
    const at = performance.now();
    const { content } = JSON.parse(`${body}`);
    awaited.get(JSON.parse(content.params).text)?.(at);
    return undefined;
  };
  return (text) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const timer = setTimeout(
      () => reject(new Error(`No answer to “${text}” in ${PATIENCE_MS} ms.`)),
      PATIENCE_MS,
    );
    awaited.set(text, (at) => {
      clearTimeout(timer);
      resolve(at);
    });
    return promise;
  };
}

/** The median, the tail and the longest. */
export function reportLatency(latencies: readonly Latencies[]): Section {
  const rows = latencies.map(({ atOnce, sorted }) => [
    atOnce === 1 ? 'one at a time' : `${atOnce} at once`,
    `${sorted.length}`,
    ...[0.5, 0.99, 1].map((share) => quantile(sorted, share).toFixed(0)),
  ]);
  const note =
    'From the answer of the webhook to the moment VVChat gets the command, on DynamoDB Local and its own stream, which is ' +
    'polled every 50 ms.';
  return {
    markdown: [
      '### Latency',
      note,
      table(['', '>events', '>p50, ms', '>p99, ms', '>max, ms'], rows),
    ].join('\n\n'),
    verdicts: [],
  };
}
