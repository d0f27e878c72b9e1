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

/** A port that is not one, or that somebody else has. */
export class PortError extends Error {
  override readonly name = 'PortError';
}

/**
 * The ports that the environment names, or the usual ones.
 *
 * @throws {PortError} for a value that is no port, or that two servers share
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

/** Ports that nobody listens on at the moment. */
export async function freePorts(): Promise<Ports> {
  const probes = await Promise.all(NAMES.map(() => listen(0)));
  const ports = probes.map((probe) => (probe.address() as { port: number }).port);
  await Promise.all(probes.map((probe) => probe[Symbol.asyncDispose]()));
  return mapServers((name) => ports[NAMES.indexOf(name)] as number);
}

/** @throws {PortError} naming every port that is taken, and how to choose others */
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
      const fault = code === 'EADDRINUSE' ? 'is taken' : `cannot be had (${code})`;
      faults.push(`Port ${port} ${fault}, which ${title} needs.`);
      settings.push(`${variable}=${port < 55_000 ? port + 10_000 : port - 10_000}`);
    }
  }
  if (faults.length === 0) return;
  const way = `End what listens there, or choose another: ${settings.join(' ')} npm start`;
  throw new PortError([...faults, way].join('\n'));
}

async function listen(port: number) {
  const server = createServer().listen(port, HOST);
  await once(server, 'listening');
  return server;
}

const mapServers = (portOf: (name: ServerName) => number): Ports =>
  Object.fromEntries(NAMES.map((name) => [name, portOf(name)])) as Record<ServerName, number>;
