import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { appKeys } from './app-key.ts';

/** Parameter Store, as far as GetParameter goes. Source: AWS Systems Manager API Reference. */
const PARAMETERS = new Map([['/robot/dev/app-keys/test', 'the-key']]);
let server: Server;

beforeAll(async () => {
  server = createServer(async (request, answer) => {
    const chunks = await Array.fromAsync(request);
    const { Name, WithDecryption } = JSON.parse(Buffer.concat(chunks).toString());
    const Value = PARAMETERS.get(Name);
    const isFound = WithDecryption === true && Value !== undefined;
    const type = Name.endsWith('denied') ? 'AccessDeniedException' : 'ParameterNotFound';
    answer.writeHead(isFound ? 200 : 400, { 'Content-Type': 'application/x-amz-json-1.1' });
    answer.end(JSON.stringify(isFound ? { Parameter: { Name, Value } } : { __type: type }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => server[Symbol.asyncDispose]());

const inSsm = () => {
  vi.stubEnv('AWS_REGION', 'us-east-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'local');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'local');
  vi.stubEnv('AWS_ENDPOINT_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return appKeys({ APP_KEYS_PREFIX: '/robot/dev/app-keys/' });
};

test('a key is read from its SSM parameter, decrypted, and anew each time', async () => {
  const keyOf = inSsm();
  expect(await keyOf('test')).toBe('the-key');
  PARAMETERS.set('/robot/dev/app-keys/test', 'a-new-key');
  expect(await keyOf('test')).toBe('a-new-key');
});

test('an app without a parameter has no key', async () => {
  await expect(inSsm()('other')).rejects.toMatchObject({
    name: 'AppKeyError',
    message: 'app other has no key in /robot/dev/app-keys/',
    cause: expect.objectContaining({ name: 'ParameterNotFound' }),
  });
});

test('an empty parameter counts as no key', async () => {
  PARAMETERS.set('/robot/dev/app-keys/empty', '');
  await expect(inSsm()('empty')).rejects.toThrow('app empty has no key in /robot/dev/app-keys/');
});

test('an unreadable parameter is distinguished from a missing one', async () => {
  await expect(inSsm()('denied')).rejects.toMatchObject({
    name: 'AppKeyError',
    message: 'the key of app denied cannot be read from SSM',
    cause: expect.objectContaining({ name: 'AccessDeniedException' }),
  });
});

test('a key may be in the configuration', async () => {
  const keyOf = appKeys({ APP_KEYS: new Map([['test', '123456']]) });
  expect(await keyOf('test')).toBe('123456');
  await expect(keyOf('other')).rejects.toThrow('app other has no key in APP_KEYS');
});
