import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { beforeAll, expect, test } from 'vitest';
import { type Bundle, bundled } from '../bench/bundling.ts';
import { startFunction } from './deployed.ts';
import { documented, sample, saying } from './fixtures.ts';
import { SharedClock } from './lambda.ts';
import { type FunctionName, handlerFile, type Package, packaged } from './package.ts';
import { type Received, signatureOf } from './signature.ts';

/** The most that a function may weigh with the robot of test/robot.ts, in bytes: minified, and gzipped. */
const BUDGETS = {
  webhook: { bytes: 60_000, gzipBytes: 21_500 },
  reply: { bytes: 80_000, gzipBytes: 29_000 },
  retry: { bytes: 93_000, gzipBytes: 33_000 },
} as const satisfies Record<FunctionName, Partial<Bundle>>;

let shipped: Package;

beforeAll(async () => {
  shipped = await packaged();
}, 60_000);

test('a zip holds the bundle, the licences, and a map for the author of the robot, which Node does not read', async () => {
  for (const name of Object.keys(BUDGETS) as FunctionName[]) {
    const files = await readdir(join(shipped.folder, name), { recursive: true });
    expect(files.sort()).toEqual([
      'LICENSE',
      'THIRD-PARTY-LICENSES.txt',
      'functions',
      `functions/${name}.cjs`,
      ...(name === 'webhook' ? [] : [`functions/${name}.cjs.map`]),
    ]);
    expect(await readFile(handlerFile(shipped, name), 'utf8')).not.toContain('sourceMappingURL');
  }
});

test.each(Object.entries(BUDGETS))('%s keeps to its budget', async (name, budget) => {
  const file = await readFile(handlerFile(shipped, name as FunctionName));
  expect(file.length).toBeLessThanOrEqual(budget.bytes);
  expect(gzipSync(file, { level: 9 }).length).toBeLessThanOrEqual(budget.gzipBytes);
  // Not so far below that much could be added unnoticed.
  expect(file.length).toBeGreaterThan(0.85 * budget.bytes);
});

test('the webhook has nothing of the robot, of the VVChat client and of SSM', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-bundles-'));
  try {
    const [webhook, reply] = await Promise.all(
      ['webhook', 'reply'].map((name) =>
        bundled(`functions/${name}.ts`, join(folder, `${name}.cjs`), { own: true }),
      ),
    );
    expect(await readFile(webhook?.file ?? '')).toEqual(
      await readFile(handlerFile(shipped, 'webhook')),
    );
    const ABSENT =
      /robot\/|lib\/(?:routing|delivery|vvchat\/(?:api|token|app-key))\b|lib\/aws\/ssm|client-ssm/;
    expect(webhook?.files).toContain('functions/webhook.ts');
    expect(webhook?.files.filter((it) => ABSENT.test(it))).toEqual([]);
    expect(reply?.files).toEqual(
      expect.arrayContaining(['robot/robot.ts', 'lib/vvchat/api.ts', 'lib/aws/ssm.ts']),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a packaged function signs as the SDK does, and keeps its connections', async () => {
  const received: Received[] = [];
  let connections = 0;
  await using server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    received.push({ headers: request.headers, body });
    response.end('{}');
  }).on('connection', () => connections++);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret', sessionToken: 'token' };
  const environment = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_SESSION_TOKEN: credentials.sessionToken,
  };
  using clock = new SharedClock();
  await using webhook = await startFunction(
    shipped,
    'webhook',
    { environment },
    { dynamodb: url, vvchat: url },
    clock,
  );
  const post = async (event: object) => {
    const body = JSON.stringify(event);
    expect(await webhook.invoke({ ...sample('at'), body })).toMatchObject({ statusCode: 200 });
    return received.splice(0);
  };
  const operations = (requests: readonly Received[]) =>
    requests.map(({ headers }) => `${headers['x-amz-target']}`.replace(/.*\./, '')).sort();

  const at = ['PutItem', 'Query', 'UpdateItem'];
  const client = new DynamoDBClient({ region: 'us-east-1', credentials });
  for (const text of ['the first', 'the second']) {
    const requests = await post(saying(text));
    expect(operations(requests)).toEqual(at);
    for (const it of requests) {
      expect(it.headers.authorization).toBe(await signatureOf(client, it));
    }
  }
  expect(operations(await post(documented.open))).toEqual(['UpdateItem']);
  expect(connections).toBe(2);
});
