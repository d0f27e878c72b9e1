import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { documented, saying } from '../test/fixtures.ts';
import { npmStart, type Running } from '../test/npm-start.ts';
import { copyProject, interrupt, type Project, until } from '../test/project.ts';
import type { ServerName } from './ports.ts';
import { tableDefinitions } from './tables.ts';

const SERVERS: ServerName[] = ['http', 'lambda', 'dynamodb', 'dynamodbAdmin', 'vvchat'];

let running: Running;

beforeAll(async () => {
  running = await npmStart();
}, 90_000);
afterAll(() => running[Symbol.asyncDispose]());

test('npm start lists the servers and the next steps', () => {
  const output = running.run.output();
  for (const name of SERVERS) {
    expect(output).toMatch(new RegExp(`✓ .* ${running.url(name)}\n`));
  }
  expect(output).toMatch(/Ready in \d+\.\d s/);
  expect(output).toContain('Edit robot/robot.ts and save');
});

test('an @-mention gets its reply, and the terminal shows it', async () => {
  const { status, body } = await running.post(saying('good morning'));
  expect(status).toBe(200);
  expect(await running.replied(body.event_id)).toMatchObject({ sent: 1, claims: 1 });
  const { session, robot } = documented.at.data;
  await running.run.prints(
    new RegExp(`group ${session.session_open_id} {2}◀ ${robot.robot_no}: good morning`),
  );
});

test('dynamodb-admin lists the tables', async () => {
  const page = await (await fetch(`${running.url('dynamodbAdmin')}/`)).text();
  for (const { TableName } of tableDefinitions()) expect(page).toContain(TableName);
});

describe('every server', () => {
  const upgraded = (server: ServerName, host: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(running.project.ports[server], '127.0.0.1').on('error', reject);
      socket.once('data', (text) => {
        socket.destroy();
        resolve(`${text}`.slice(0, 12));
      });
      socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
    });

  const statusOf = (server: ServerName, headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      request(running.url(server), { headers, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });

  test.each(SERVERS)('refuses foreign hosts and origins: %s', async (server) => {
    const host = `127.0.0.1:${running.project.ports[server]}`;
    for (const headers of [
      { host: 'evil.example' },
      { host: `127.0.0.1.evil.example:${running.project.ports[server]}` },
      { host, origin: 'https://evil.example' },
      { host, origin: 'http://127.0.0.1:1' },
      { host, origin: 'null' },
    ]) {
      expect(await statusOf(server, headers), JSON.stringify(headers)).toBe(403);
    }
    expect(await upgraded(server, 'evil.example')).toBe('HTTP/1.1 403');
    for (const headers of [
      { host },
      { host, origin: `http://${host}` },
      { host: host.replace('127.0.0.1', 'localhost') },
    ]) {
      expect(await statusOf(server, headers), JSON.stringify(headers)).not.toBe(403);
    }
  });

  test.each(SERVERS)('listens on 127.0.0.1 only: %s', async (server) => {
    const isOpen = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = connect(running.project.ports[server], host)
          .on('connect', () => resolve(true))
          .on('error', () => resolve(false));
        socket.on('connect', () => socket.destroy());
      });
    expect(await isOpen('127.0.0.1')).toBe(true);
    expect(await isOpen('127.0.0.2')).toBe(false);
    expect(await isOpen('::1')).toBe(false);
  });
});

test('npm start names a port that is in use, with the variable that chooses another', async () => {
  const { project } = running;
  const run = project.start(['npm', 'start']);
  expect(await run.ends()).toBe(1);
  const port = project.ports.dynamodb;
  expect(run.output()).toContain(`Port ${port}, which DynamoDB (dynalite) needs, is in use.\n`);
  expect(run.output()).toContain('or choose other ports: LOCAL_DYNAMODB_PORT=');
  expect(processesOf(run.process.pid as number).slice(1)).toEqual([]);
});

test('Ctrl-C leaves no process, no port and no folder behind', async () => {
  const { run, project } = running;
  const children = processesOf(run.process.pid as number);
  expect(children.length).toBeGreaterThanOrEqual(3);
  interrupt(run);
  await run.ends();
  expect(run.output()).toContain('Stopping …');
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft(project);
});

test('Ctrl-C during the start leaves nothing behind either', async () => {
  const { project } = running;
  const run = project.start(['node', 'local/start.ts']);
  await run.prints(/✓ DynamoDB/);
  const children = processesOf(run.process.pid as number);
  interrupt(run);
  expect(await run.ends()).toBe(0);
  expect(run.output()).not.toMatch(/Ready/);
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft(project);
});

test('npm start with a robot that cannot be loaded shows why and nothing of the framework, and leaves nothing behind', async () => {
  await using other = await copyProject();
  await other.change('robot/robot.ts', (source) => source.replace('export const', 'export konst'));
  const run = other.start(['npm', 'start']);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toMatch(
    /The robot does not build\. Fix this:\n[\s\S]*robot\/robot\.ts:\d+:7:\n/,
  );
  expect(run.output()).not.toMatch(/serverless|node_modules/);
  await expectNothingLeft(other);
});

test('after npm start is killed, its children end by themselves', async () => {
  await using other = await copyProject();
  const run = other.start(['node', 'local/start.ts']);
  await run.prints(/Ready in/, 60_000);
  const children = processesOf(run.process.pid as number).filter((pid) => pid !== run.process.pid);
  expect(children.length).toBeGreaterThanOrEqual(1);
  run.process.kill('SIGKILL');
  await run.ends();
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft(other);
});

async function expectNothingLeft({ ports, folder }: Project) {
  for (const port of Object.values(ports)) {
    await using server = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve, reject) => server.on('listening', resolve).on('error', reject));
  }
  const cache = join(folder, 'node_modules/.cache/vvchat-robot');
  expect(existsSync(cache) ? readdirSync(cache) : []).toEqual([]);
}

/** A process and all below it. Source: proc(5), /proc/pid/stat. */
function processesOf(root: number): number[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const below = (parent: number): number[] =>
    pids.filter((pid) => parentOf(pid) === parent).flatMap((pid) => [pid, ...below(pid)]);
  return [root, ...below(root)];
}

const statOf = (pid: number): string[] => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
  } catch {
    return [];
  }
};

const parentOf = (pid: number) => Number(statOf(pid)[1]);

const isRunning = (pid: number) => !['Z', 'X', undefined].includes(statOf(pid)[0]);
