import { expect, test, vi } from 'vitest';
import { credentials } from './credentials.ts';

test.each([
  [{ AWS_SESSION_TOKEN: 'token' }, { sessionToken: 'token' }],
  [{ AWS_SESSION_TOKEN: '' }, {}],
])('reads the credentials of the environment: %j', async (env, more) => {
  const whole = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', ...env };
  for (const [name, value] of Object.entries(whole)) vi.stubEnv(name, value);
  expect(await credentials()).toEqual({
    accessKeyId: 'key',
    secretAccessKey: 'secret',
    ...more,
  });
});

test('rejects as the SDK does when there are none, and names the variables', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', undefined);
  await expect(credentials()).rejects.toMatchObject({
    name: 'CredentialsProviderError',
    message: 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment.',
  });
});
