import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { checkPorts, configuredPorts, freePorts, PortError } from './ports.ts';

const USUAL = { dynamodb: 8000, dynamodbAdmin: 8001, vvchat: 4000, http: 3000, lambda: 3002 };

test('the ports are the usual ones, or those of the environment', () => {
  expect(configuredPorts({})).toEqual(USUAL);
  expect(configuredPorts({ LOCAL_HTTP_PORT: '3100', LOCAL_LAMBDA_PORT: '' })).toEqual({
    ...USUAL,
    http: 3100,
  });
});

test.each(['0', '65536', '-1', 'x', '80.5'])('a port is not %s', (LOCAL_VVCHAT_PORT) => {
  expect(() => configuredPorts({ LOCAL_VVCHAT_PORT })).toThrow(
    new PortError('LOCAL_VVCHAT_PORT must be a port from 1 to 65535.'),
  );
});

test('two servers cannot share a port', () => {
  expect(() => configuredPorts({ LOCAL_HTTP_PORT: '4000' })).toThrow(
    new PortError('VVChat (simulated) and API Gateway cannot both listen on port 4000.'),
  );
});

test('a port that is taken is named', async () => {
  const ports = await freePorts();
  await checkPorts(ports);
  await using server = createServer().listen(ports.lambda, '127.0.0.1');
  await once(server, 'listening');
  await expect(checkPorts(ports)).rejects.toThrow(
    `Port ${ports.lambda} is taken, which Lambda needs. End what listens there, or choose another: LOCAL_LAMBDA_PORT=`,
  );
});
