import { DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Key } from '../lib/inbox/item.ts';
import { tableDefinitions } from '../local/tables.ts';
import { type Deployed, startDeployed } from './deployed.ts';
import { documented, saying } from './fixtures.ts';
import type { Lambda } from './lambda.ts';
import { mappingIn, type Package, packaged, tablesIn } from './package.ts';
import { until } from './project.ts';
import { readStream, type ShardReader } from './shard-reader.ts';

/* The real stream of Amazon's own engine drives the packaged `reply`. */

let on: Deployed;
let bundle: Package;

beforeAll(async () => {
  [bundle, on] = await Promise.all([packaged(), startDeployed()]);
});
afterAll(() => on[Symbol.asyncDispose]());

test('the compiled template has the tables of serverless.yml', () => {
  const withoutStreams = tablesIn(bundle).map(({ StreamSpecification: _, ...table }) => table);
  expect(withoutStreams).toEqual(tableDefinitions());
});

test('every accepted event is answered once by way of the stream', async () => {
  const handed: string[] = [];
  const containers = await Promise.all([on.start('reply'), on.start('reply')]);
  await using reader = await read(async (event) => {
    handed.push(...event.Records.map(({ dynamodb }) => `${dynamodb?.Keys?.event_id?.S}`));
    await turnOf(containers).invoke(event);
  });
  const texts = Array.from({ length: 40 }, (_, i) => `through the stream ${i}`);
  const keys: Key[] = [];
  for (const event of [documented.at, documented.join, ...texts.map(saying)]) {
    keys.push(await on.put(event));
  }
  const silent = await on.put(saying('be silent'));
  const thrown = await on.put(saying('throw'));

  await until(async () => (await on.read(thrown)).last_error !== undefined);
  await until(async () => (await statusesOf([...keys, silent])).every((it) => it !== 'pending'));
  expect(await statusesOf(keys)).toEqual(keys.map(() => 'replied'));
  expect(await on.read(silent)).toMatchObject({ status: 'ignored' });
  expect(await on.read(thrown)).toMatchObject({
    status: 'pending',
    last_error: 'the robot threw Error',
  });
  expect(on.sent('through the stream').sort()).toEqual(texts.sort());
  expect(on.sent('您好')).toHaveLength(1);
  expect(on.sent('hello')).toHaveLength(1);
  // Of all that changes in a row, the insert alone is handed over.
  expect(handed.sort()).toEqual([...keys, silent, thrown].map(({ event_id }) => event_id).sort());
  expect(reader.seen).toContain('MODIFY');
});

test('the batch of a killed container is answered once after all', async () => {
  const victim = await on.start('reply');
  on.vvchat.intervene = ({ operation }) =>
    operation === 'token' ? undefined : () => victim.kill();
  const texts = ['in one batch 0', 'in one batch 1', 'in one batch 2'];
  const keys = await Promise.all(texts.map((text) => on.put(saying(text))));
  const own = new Set(keys.map(({ event_id }) => event_id));
  let invocations = 0;
  await using reader = await read(async ({ Records }) => {
    const mine = Records.filter(({ dynamodb }) => own.has(`${dynamodb?.Keys?.event_id?.S}`));
    if (mine.length === 0) return;
    invocations++;
    await victim.invoke({ Records: mine });
  });
  await until(async () => victim.hasEnded());
  on.vvchat.intervene = () => undefined;
  for (const key of keys) expect(await on.recover(key)).toMatchObject({ status: 'replied' });
  expect(on.sent('in one batch').sort()).toEqual(texts);
  // Lambda does not bring such a batch again: the index has it.
  expect(invocations).toBeLessThanOrEqual(texts.length);
  expect(reader.seen).toContain('INSERT');
});

async function read(invoke: Parameters<typeof readStream>[0]['invoke']): Promise<ShardReader> {
  const { Table } = await on.engine.client.send(
    new DescribeTableCommand({ TableName: on.engine.table('inbox').name }),
  );
  return readStream({
    engine: on.engine,
    streamArn: `${Table?.LatestStreamArn}`,
    mapping: mappingIn(bundle),
    invoke,
  });
}

const statusesOf = (keys: readonly Key[]) =>
  Promise.all(keys.map(async (key) => (await on.read(key)).status));

let turns = 0;

const turnOf = (containers: readonly Lambda[]) => containers[turns++ % containers.length] as Lambda;
