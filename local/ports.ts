import { once } from 'node:events';
import { createServer } from 'node:net';

export const HOST = '127.0.0.1';

/** Every local server, and the environment variable that moves it. */
export const SERVERS = {
  dynamodb: { title: 'DynamoDB (dynalite)', variable: 'LOCAL_DYNAMODB_PORT', port: 8000 },
  dynamodbAdmin: { title: 'dynamodb-admin', variable: 'LOCAL_DYNAMODB_ADMIN_PORT', port: 8001 },
  vvchat: { title: 'VVChat (simulated)', variable: 'LOCAL_VVCHAT_PORT', port: 4000 },
  http: { title: 'API Gateway', variable: 'LOCAL_HTTP_PORT', port: 3000 },
  lambda: { title: 'Lambda', variable: 'LOCAL_LAMBDA_PORT', port: 3002 },
} as const;

export type ServerName = keyof typeof SERVERS;
export type Ports = Readonly<Record<ServerName, number>>;

const NAMES = Object.keys(SERVERS) as ServerName[];

/** A port number that is invalid, or a port that is in use. */
export class PortError extends Error {
  override readonly name = 'PortError';
}

/**
 * The ports set in the environment, or the defaults.
 *
 * @throws {PortError} for an invalid port number, and for one that two servers share
 */
export function configuredPorts(env: NodeJS.ProcessEnv): Ports {
  const ports = mapServers((name) => {
    const { variable, port } = SERVERS[name];
    const text = env[variable] || `${port}`;
    if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text);
    throw new PortError(`${variable} must be a port from 1 to 65535.`);
  });
  for (const name of NAMES) {
    const other = NAMES.find((it) => it !== name && ports[it] === ports[name]);
    if (other) {
      throw new PortError(
        `${SERVERS[name].title} and ${SERVERS[other].title} cannot both listen on port ${ports[name]}.`,
      );
    }
  }
  return ports;
}

/** Ports that are free at the moment. */
export async function freePorts(): Promise<Ports> {
  const probes = await Promise.all(NAMES.map(() => listen(0)));
  const ports = probes.map((probe) => (probe.address() as { port: number }).port);
  await Promise.all(probes.map((probe) => probe[Symbol.asyncDispose]()));
  return mapServers((name) => ports[NAMES.indexOf(name)] as number);
}

/** @throws {PortError} that names every port in use and the variables that choose others */
export async function checkPorts(ports: Ports): Promise<void> {
  const faults: string[] = [];
  const settings: string[] = [];
  for (const name of NAMES) {
    const { title, variable } = SERVERS[name];
    const port = ports[name];
    try {
      await (await listen(port))[Symbol.asyncDispose]();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const fault = code === 'EADDRINUSE' ? 'is in use' : `cannot be used (${code})`;
      faults.push(`Port ${port}, which ${title} needs, ${fault}.`);
      settings.push(`${variable}=${port < 55_000 ? port + 10_000 : port - 10_000}`);
    }
  }
  if (faults.length === 0) return;
  const remedy =
    faults.length === 1
      ? 'Stop the process using it, or choose another port'
      : 'Stop the processes using them, or choose other ports';
  throw new PortError([...faults, `${remedy}: ${settings.join(' ')} npm start`].join('\n'));
}

async function listen(port: number) {
  const server = createServer().listen(port, HOST);
  await once(server, 'listening');
  return server;
}

const mapServers = (portOf: (name: ServerName) => number): Ports =>
  Object.fromEntries(NAMES.map((name) => [name, portOf(name)])) as Record<ServerName, number>;
