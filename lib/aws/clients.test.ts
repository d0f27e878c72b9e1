import { getEventListeners, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  type DynamoDBServiceException,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { GetParameterCommand, ParameterNotFound, SSMClient } from '@aws-sdk/client-ssm';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { esbuildSettings } from '../../bench/bundling.ts';
import { type Received as Request, signatureOf } from '../../test/signature.ts';
import type { ClientOptions } from './client-config.ts';
import { createClient } from './dynamodb.ts';
import { endpointOf } from './replacements/endpoint.ts';
import { Signer } from './replacements/signer.ts';
import { parseRfc7231DateTime } from './replacements/stubs.ts';
import { createSsmClient } from './ssm.ts';

interface Received extends Request {
  readonly socket: Socket;
}

/** The requests that reached the server, and its response to the next ones. */
let received: Received[] = [];
let answer: (response: ServerResponse) => void;
/** The open ones. */
const sockets = new Set<Socket>();

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  received.push({ headers: request.headers, body, socket: request.socket });
  answer(response);
}).on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});

beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const REGION = 'eu-central-1';
const CREDENTIALS = { accessKeyId: 'key', secretAccessKey: 'secret', sessionToken: 'token' };

beforeEach(() => {
  server.closeAllConnections();
  received = [];
  answer = responding(200, '{}');
  // The SDK's back-off is a random part of a time: none.
  vi.spyOn(Math, 'random').mockReturnValue(0);
  vi.stubEnv('AWS_REGION', REGION);
  vi.stubEnv('AWS_ACCESS_KEY_ID', CREDENTIALS.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', CREDENTIALS.secretAccessKey);
  vi.stubEnv('AWS_SESSION_TOKEN', CREDENTIALS.sessionToken);
  vi.stubEnv('AWS_ENDPOINT_URL', undefined);
  vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', urlOf());
});

afterEach(() => void vi.useRealTimers());

const urlOf = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const responding =
  (status: number, body: string, headers: Record<string, string> = {}) =>
  (response: ServerResponse) => {
    response.writeHead(status, { 'x-amzn-requestid': 'the request', ...headers }).end(body);
  };

/** `createClient` and what a test needs beside it, bundled as the functions are. */
interface Bundled {
  readonly createClient: typeof createClient;
  readonly GetItemCommand: typeof GetItemCommand;
  readonly ConditionalCheckFailedException: typeof ConditionalCheckFailedException;
}
let bundle: Bundled;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-bundle-'));
  const outfile = join(folder, 'client.cjs');
  await build({
    ...(await esbuildSettings()),
    stdin: {
      contents: `
        export { createClient } from './dynamodb.ts';
        export { ConditionalCheckFailedException, GetItemCommand } from '@aws-sdk/client-dynamodb';
      `,
      resolveDir: import.meta.dirname,
      sourcefile: 'bundled.ts',
    },
    outfile,
  });
  bundle = createRequire(import.meta.url)(outfile);
  await rm(folder, { recursive: true });
});

/** The SDK's client as it comes. */
const asItComes = () =>
  new DynamoDBClient({
    endpoint: urlOf(),
    region: REGION,
    credentials: CREDENTIALS,
    maxAttempts: 3,
  });

const KEY = { id: { S: 'an id' } };
const get = () => new GetItemCommand({ TableName: 'a-table', Key: KEY });

describe('a request', () => {
  const attribute = fc.oneof(
    fc.record({ S: fc.string({ unit: 'grapheme' }) }),
    fc.record({ N: fc.double({ noNaN: true, noDefaultInfinity: true }).map(String) }),
    fc.record({ NS: fc.uniqueArray(fc.integer().map(String), { minLength: 1 }) }),
  );
  const attributes = fc.dictionary(fc.string({ minLength: 1 }), attribute, {
    noNullPrototype: true,
  });
  const command = fc.oneof(
    attributes.map((Item) => () => new PutItemCommand({ TableName: 'a-table', Item })),
    attributes.map(
      (ExpressionAttributeValues) => () =>
        new UpdateItemCommand({
          TableName: 'a-table',
          Key: KEY,
          UpdateExpression: 'SET #a = :a',
          ExpressionAttributeNames: { '#a': 'größe' },
          ExpressionAttributeValues,
        }),
    ),
    fc.tuple(attributes, fc.boolean(), fc.integer({ min: 1 })).map(
      ([ExclusiveStartKey, ConsistentRead, Limit]) =>
        () =>
          new QueryCommand({ TableName: 'a-table', ExclusiveStartKey, ConsistentRead, Limit }),
    ),
    fc.constant(get),
  );

  test("has the content of the SDK's, and the SDK's signature", async () => {
    const ours = createClient();
    const theirs = asItComes();
    await fc.assert(
      fc.asyncProperty(command, async (it) => {
        received = [];
        await theirs.send(it() as GetItemCommand);
        await ours.send(it() as GetItemCommand);
        const [expected, actual] = received as [Received, Received];
        expect(JSON.parse(actual.body)).toEqual(JSON.parse(expected.body));
        for (const name of ['host', 'x-amz-target', 'content-type', 'x-amz-security-token']) {
          expect(actual.headers[name]).toBe(expected.headers[name]);
        }
        expect(actual.headers['content-length']).toBe(`${Buffer.byteLength(actual.body)}`);
        expect(actual.headers.authorization).toBe(await signatureOf(theirs, actual));
      }),
      { numRuns: 100 },
    );
  });

  test('is signed by the day of its moment', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-14T23:59:59Z') });
    const ours = createClient();
    const theirs = asItComes();
    await ours.send(get());
    vi.setSystemTime(new Date('2026-03-15T00:00:01Z'));
    await ours.send(get());
    const [before, after] = received as [Received, Received];
    expect(before.headers.authorization).toBe(await signatureOf(theirs, before));
    expect(after.headers.authorization).toBe(await signatureOf(theirs, after));
  });

  test('is signed by the secret of its moment', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const signer = new Signer({ name: 'dynamodb' }, REGION);
    const request = {
      method: 'POST',
      protocol: 'https:',
      hostname: 'a host',
      port: undefined,
      path: '/',
      query: {},
      headers: {},
      body: '{}',
    } as const;
    const signed = async (it = signer) => (await it.sign(request)).headers.authorization;
    const first = await signed();
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'another');
    expect(await signed()).not.toBe(first);
    expect(await signed()).toBe(await signed(new Signer({ name: 'dynamodb' }, REGION)));
  });

  test.each([
    ['Root=1-2-3;Sampled=1', 'Root=1-2-3;Sampled=1'],
    [undefined, undefined],
  ])('continues the trace %s', async (trace, expected) => {
    vi.stubEnv('_X_AMZN_TRACE_ID', trace);
    await createClient().send(get());
    expect(received[0]?.headers['x-amzn-trace-id']).toBe(expected);
  });

  test('reuses the connection of the previous one', async () => {
    const ours = createClient();
    for (let i = 0; i < 3; i++) await ours.send(get());
    expect(new Set(received.map(({ socket }) => socket)).size).toBe(1);
  });

  test('goes to the address that the SDK would choose', async () => {
    const hostOf = async (client: DynamoDBClient) => {
      const hosts: string[] = [];
      client.middlewareStack.add(
        () =>
          async ({ request }) => {
            hosts.push((request as { hostname: string }).hostname);
            return { response: {}, output: { $metadata: {} } };
          },
        { step: 'finalizeRequest', priority: 'high' },
      );
      await client.send(get());
      return hosts[0];
    };
    vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', undefined);
    for (const region of [
      'us-east-1',
      'ap-northeast-1',
      'us-gov-west-1',
      'cn-north-1',
      'cn-northwest-1',
      'eusc-de-east-1',
    ]) {
      const theirs = new DynamoDBClient({ region, credentials: CREDENTIALS });
      expect(endpointOf({ name: 'dynamodb' }, region).href).toBe(
        `https://${await hostOf(theirs)}/`,
      );
    }
    vi.stubEnv('AWS_ENDPOINT_URL', 'http://127.0.0.1:1');
    expect(endpointOf({ name: 'dynamodb' }, REGION).href).toBe('http://127.0.0.1:1/');
    vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', 'http://127.0.0.1:2');
    expect(endpointOf({ name: 'dynamodb' }, REGION).href).toBe('http://127.0.0.1:2/');
  });
});

/** Whether the SDK around our parts is whole, as under Vitest, or reduced, as in the zips. */
type Kind = 'on the whole SDK' | 'in a bundle';

const tools = (kind: Kind) => {
  const sdk = () =>
    kind === 'in a bundle'
      ? bundle
      : { createClient, GetItemCommand, ConditionalCheckFailedException };
  return {
    newClient: (options?: Partial<ClientOptions>) => sdk().createClient(options),
    get: () => new (sdk().GetItemCommand)({ TableName: 'a-table', Key: KEY }),
    isConditionFailed: (error: unknown) => error instanceof sdk().ConditionalCheckFailedException,
  };
};

describe.each<Kind>(['on the whole SDK', 'in a bundle'])('a response to a client %s', (kind) => {
  const { newClient, get: getOurs, isConditionFailed } = tools(kind);

  test('is what the SDK makes of it', async () => {
    const body = JSON.stringify({ Item: { text: { S: '您好 🤖' }, set: { NS: ['1', '2'] } } });
    for (const text of [body, '{}', '']) {
      answer = responding(200, text);
      const [expected, actual] = await Promise.all([
        asItComes().send(get()),
        newClient().send(getOurs()),
      ]);
      expect(actual).toEqual(expected);
    }
  });

  test('is put together of its bytes', async () => {
    const bytes = Buffer.from('{"Item":{"text":{"S":"您好"}}}');
    answer = (response) =>
      void response.write(bytes.subarray(0, 24), () =>
        setImmediate(() => response.end(bytes.subarray(24))),
      );
    expect((await newClient().send(getOurs())).Item).toEqual({ text: { S: '您好' } });
  });

  const error = (type: string, message = 'no') =>
    JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message });

  test.each([
    [400, error('ConditionalCheckFailedException')],
    [400, error('ConditionalCheckFailedException:http://internal.example/')],
    [400, error('ValidationException')],
    [400, '{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"no"}'],
    [400, error('ProvisionedThroughputExceededException')],
    [400, error('ThrottlingException')],
    [400, '{"code":"ThrottlingException","message":"no"}'],
    [500, error('InternalServerError')],
    [503, '<html>unavailable</html>'],
    [502, ''],
    [500, 'null'],
    [413, '<html>too large</html>'],
    [301, ''],
    [200, '{"Item":'],
  ])('of %i %s is the error that the SDK throws, after as many tries', async (status, body) => {
    const outcome = async (thrown: unknown, isFailed: (error: unknown) => boolean) => {
      if (!(thrown instanceof Error)) throw new Error('nothing was thrown');
      const { $metadata, $fault } = thrown as DynamoDBServiceException;
      return {
        isConditionFailed: isFailed(thrown),
        status: $metadata.httpStatusCode,
        attempts: $metadata.attempts,
        requests: received.splice(0).length,
        ...(body.startsWith('{"__type"') && {
          name: thrown.name,
          fault: $fault,
          message: thrown.message,
          id: $metadata.requestId,
        }),
      };
    };
    answer = responding(status, body);
    const ours = await newClient()
      .send(getOurs())
      .catch((it) => it);
    const actual = await outcome(ours, isConditionFailed);
    const theirs = await asItComes()
      .send(get())
      .catch((it) => it);
    const { isConditionFailed: isExpected } = tools('on the whole SDK');
    expect(actual).toEqual(await outcome(theirs, isExpected));
  });

  test('that names its error in a header alone is that error', async () => {
    answer = responding(400, '', { 'x-amzn-errortype': 'ConditionalCheckFailedException:' });
    const thrown = await newClient()
      .send(getOurs())
      .catch((it) => it);
    expect(isConditionFailed(thrown)).toBe(true);
  });
});

test('a date for which a gateway asks to wait is that date', () => {
  const dated = new Date(Date.now() + 1_000).toUTCString();
  expect(parseRfc7231DateTime(dated).toUTCString()).toBe(dated);
});

test.each([
  [200, '{"Parameter":{"Name":"/a/key","Value":"the key"}}'],
  [400, '{"__type":"ParameterNotFound"}'],
  [400, '{"__type":"AccessDeniedException","Message":"no"}'],
])(
  'a parameter is asked for as by the SDK, and an answer of %i %s is what it makes of it',
  async (status, body) => {
    vi.stubEnv('AWS_ENDPOINT_URL', urlOf());
    answer = responding(status, body);
    const outcome = async (client: SSMClient) => {
      const command = new GetParameterCommand({ Name: '/a/key', WithDecryption: true });
      const thrown = await client.send(command).catch((it) => it);
      const { headers, body } = received.at(-1) as Received;
      return {
        outcome:
          thrown instanceof Error
            ? [thrown instanceof ParameterNotFound, thrown.name, thrown.message]
            : thrown,
        target: headers['x-amz-target'],
        type: headers['content-type'],
        scope: /Credential=([^,]+),/.exec(`${headers.authorization}`)?.[1],
        body: JSON.parse(body),
      };
    };
    expect(await outcome(createSsmClient())).toEqual(await outcome(new SSMClient({})));
  },
);

describe.each<Kind>(['on the whole SDK', 'in a bundle'])('a request of a client %s', (kind) => {
  const { newClient, get } = tools(kind);
  const fails = (options?: Partial<ClientOptions>) =>
    newClient(options)
      .send(get())
      .catch((it) => it);
  /** Outlasts the test: with it, only the cause under test can end a request. */
  const PATIENT = { requestTimeout: 60_000 };

  test('ends after the time for it, three times', async () => {
    answer = () => {};
    const { name, message } = await fails({ requestTimeout: 50 });
    expect({ name, message }).toEqual({ name: 'TimeoutError', message: 'no answer for 50 ms' });
    expect(received).toHaveLength(3);
    await vi.waitFor(() => expect(sockets.size).toBe(0));
  });

  test('ends after the time for it, though some of the answer has come', async () => {
    answer = (response) => void response.writeHead(200).write('{');
    expect(await fails({ requestTimeout: 50 })).toMatchObject({ name: 'TimeoutError' });
    expect(received).toHaveLength(3);
  });

  test('ends once its response has over 16 MB, and is not sent again', async () => {
    const body = (bytes: number) => `{"Item":{"id":{"S":"${'x'.repeat(bytes - 24)}"}}}`;
    answer = responding(200, body(16 * 1024 * 1024));
    const { Item } = await newClient(PATIENT).send(get());
    expect(Item?.id?.S).toHaveLength(16 * 1024 * 1024 - 24);
    server.closeAllConnections();
    received = [];
    answer = (response) => void response.writeHead(200).write(body(16 * 1024 * 1024 + 1));
    const { name, message } = await fails(PATIENT);
    expect({ name, message }).toEqual({
      name: 'ResponseTooLargeError',
      message: 'the response has over 16 MB',
    });
    expect(received).toHaveLength(1);
    await vi.waitFor(() => expect(sockets.size).toBe(0));
  });

  test('ends when it gets no connection in time', async () => {
    answer = () => {};
    const client = newClient({ ...PATIENT, connectionTimeout: 50, maxSockets: 1 });
    const abort = new AbortController();
    const first = client.send(get(), { abortSignal: abort.signal }).catch((it) => it);
    await vi.waitFor(() => expect(received).toHaveLength(1));
    const { name, message } = await client.send(get()).catch((it) => it);
    expect({ name, message }).toEqual({ name: 'TimeoutError', message: 'no connection for 50 ms' });
    expect(received).toHaveLength(1);
    abort.abort();
    await first;
  });

  test('is sent again when its connection breaks', async () => {
    answer = (response) => {
      answer = responding(200, '{"Item":{"id":{"S":"an id"}}}');
      response.socket?.resetAndDestroy();
    };
    expect((await newClient(PATIENT).send(get())).Item).toEqual(KEY);
    expect(received).toHaveLength(2);
  });

  test('is sent again when its answer breaks off', async () => {
    answer = (response) => {
      answer = responding(200, '{}');
      response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy());
    };
    expect((await newClient(PATIENT).send(get())).$metadata.attempts).toBe(2);
  });

  test('is signed anew each time', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    answer = (response) => {
      answer = responding(200, '{}');
      vi.setSystemTime(Date.now() + 5_000);
      responding(500, '')(response);
    };
    await newClient().send(get());
    const [first, second] = received as [Received, Received];
    expect(second.headers['x-amz-date']).not.toBe(first.headers['x-amz-date']);
    expect(second.headers.authorization).toBe(await signatureOf(asItComes(), second));
  });

  test.each(['before it begins', 'on its way'])(
    'ends by its signal %s, and is not sent again',
    async (when) => {
      const controller = new AbortController();
      const abort = () => controller.abort(new DOMException('late', 'TimeoutError'));
      answer = abort;
      if (when === 'before it begins') abort();
      const sent = newClient(PATIENT).send(get(), { abortSignal: controller.signal });
      await expect(sent).rejects.toMatchObject({ name: 'AbortError' });
      expect(received).toHaveLength(when === 'before it begins' ? 0 : 1);
      await vi.waitFor(() => expect(sockets.size).toBe(0));
    },
  );

  test('leaves nothing behind at its signal', async () => {
    const { signal } = new AbortController();
    const client = newClient(PATIENT);
    for (let i = 0; i < 3; i++) await client.send(get(), { abortSignal: signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('to an https endpoint begins with a TLS handshake', async () => {
    const first = Promise.withResolvers<number | undefined>();
    await using secure = createSocketServer((socket) =>
      socket.once('data', (bytes) => {
        first.resolve(bytes[0]);
        socket.destroy();
      }),
    );
    await once(secure.listen(0, '127.0.0.1'), 'listening');
    const { port } = secure.address() as AddressInfo;
    vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', `https://127.0.0.1:${port}`);
    await fails();
    const HANDSHAKE = 22;
    expect(await first.promise).toBe(HANDSHAKE);
  });

  test('to an address of IPv6 goes there', async () => {
    vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', 'http://[::1]:1');
    expect(await fails()).toMatchObject({ name: 'ECONNREFUSED', address: '::1' });
  });

  test('to no address at all is what fails, not the client', async () => {
    vi.stubEnv('AWS_ENDPOINT_URL_DYNAMODB', 'no address');
    expect(await fails()).toMatchObject({ code: 'ERR_INVALID_URL' });
  });
});
