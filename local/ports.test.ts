import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { checkPorts, configuredPorts, freePorts, PortError } from './ports.ts';

const DEFAULTS = { dynamodb: 8000, dynamodbAdmin: 8001, vvchat: 4000, http: 3000, lambda: 3002 };

test('configuredPorts takes each port from the environment, or else the default', () => {
  expect(configuredPorts({})).toEqual(DEFAULTS);
  expect(configuredPorts({ LOCAL_HTTP_PORT: '3100', LOCAL_LAMBDA_PORT: '' })).toEqual({
    ...DEFAULTS,
    http: 3100,
  });
});

test.each(['0', '65536', '-1', 'x', '80.5'])(
  'configuredPorts rejects the port %s',
  (LOCAL_VVCHAT_PORT) => {
    expect(() => configuredPorts({ LOCAL_VVCHAT_PORT })).toThrow(
      new PortError('LOCAL_VVCHAT_PORT must be a port from 1 to 65535.'),
    );
  },
);

test('two servers cannot share a port', () => {
  expect(() => configuredPorts({ LOCAL_HTTP_PORT: '4000' })).toThrow(
    new PortError('VVChat (simulated) and API Gateway cannot both listen on port 4000.'),
  );
});

test('checkPorts names a port that is in use, and the variable that chooses another', async () => {
  const ports = await freePorts();
  await checkPorts(ports);
  await using _ = await listening(ports.lambda);
  await expect(checkPorts(ports)).rejects.toThrow(
    `Port ${ports.lambda}, which Lambda needs, is in use.\nStop the process using it, or choose another port: LOCAL_LAMBDA_PORT=`,
  );
});

test('checkPorts names all ports in use together, with others that are possible', async () => {
  const ports = await freePorts();
  const high = await listening(65_535).catch(() => listening(65_534));
  const other = await listening(ports.vvchat);
  const taken = (high.address() as AddressInfo).port;
  const { message } = await checkPorts({ ...ports, http: taken }).catch((error) => error);
  await Promise.all([high, other].map((server) => server[Symbol.asyncDispose]()));
  expect(message.split('\n')).toEqual([
    `Port ${ports.vvchat}, which VVChat (simulated) needs, is in use.`,
    `Port ${taken}, which API Gateway needs, is in use.`,
    expect.stringMatching(
      new RegExp(
        `^Stop the processes using them, or .*: LOCAL_VVCHAT_PORT=\\d+ LOCAL_HTTP_PORT=${taken - 10_000} npm start$`,
      ),
    ),
  ]);
});

async function listening(port: number) {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
