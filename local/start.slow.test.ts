import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { DynamoDBClient, GetItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromAttributes, type Row, toAttributes } from '../lib/aws/table.ts';
import { documented, saying } from '../test/fixtures.ts';
import { copyProject, interrupt, type Project, type Run, until } from '../test/project.ts';
import type { ServerName } from './ports.ts';

let project: Project;
let running: Run;
let client: DynamoDBClient;

const url = (server: ServerName) => `http://127.0.0.1:${project.ports[server]}`;

/** What a developer may have set for other work. */
const SOMEBODYS_OWN = {
  AWS_PROFILE: 'work',
  AWS_REGION: 'eu-west-1',
  AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:1',
};

const CACHE = 'node_modules/.cache/vvchat-robot';

beforeAll(async () => {
  project = await copyProject();
  running = project.start(['npm', 'start'], SOMEBODYS_OWN);
  await running.prints(/Ready in/);
  client = new DynamoDBClient({
    endpoint: url('dynamodb'),
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });
});
afterAll(() => project[Symbol.asyncDispose]());

const post = async (event: unknown) => {
  const answer = await fetch(`${url('http')}/vvchat/events?token=local`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, string> };
};

const rowOf = async (event_id: string | undefined, event = documented.at): Promise<Row> => {
  const { session_open_id } = event.data.session;
  const { Item = {} } = await client.send(
    new GetItemCommand({
      TableName: 'vvchat-robot-local-inbox',
      Key: toAttributes({ session_open_id, event_id }),
    }),
  );
  return fromAttributes(Item);
};

const repliedTo = (event_id: string | undefined, milliseconds = 2_000, event = documented.at) =>
  until(async () => {
    const row = await rowOf(event_id, event);
    return row.status === 'replied' && row;
  }, milliseconds);

test('npm start shows what comes up, and what to try', () => {
  const { http, lambda, dynamodb, dynamodbAdmin, vvchat } = project.ports;
  for (const port of [http, lambda, dynamodb, dynamodbAdmin, vvchat]) {
    expect(running.output()).toMatch(new RegExp(`✓ .* http://127\\.0\\.0\\.1:${port}\n`));
  }
  expect(running.output()).toMatch(/Ready in \d+\.\d s/);
});

test('an event gets its answer, and the terminal shows it', async () => {
  const { status, body } = await post(saying('帮助'));
  expect(status).toBe(200);
  expect(await repliedTo(body.event_id)).toMatchObject({ sent: 1, claims: 1 });
  await running.prints(/group 8g8ZW-\S+ {2}◀ xds2323: 您可以对我说/);
});

test('dynamodb-admin shows the tables', async () => {
  const page = await (await fetch(`${url('dynamodbAdmin')}/`)).text();
  for (const table of ['memberships', 'inbox', 'tokens']) {
    expect(page).toContain(`vvchat-robot-local-${table}`);
  }
});

describe('invoke local', () => {
  const invoke = async (name: string, event: string) => {
    const command = [
      'npx',
      'serverless',
      'invoke',
      'local',
      '-f',
      name,
      '-p',
      `events/${event}.json`,
    ];
    const run = project.start(command);
    expect(await run.ends(), run.output()).toBe(0);
    return run.output();
  };

  test.each([
    ['join-group-for-invite', 'queued', documented.join],
    ['at', 'queued', documented.at],
    ['session-open', 'recorded', documented.open],
  ])('of webhook on events/%s.json answers 200', async (name, status, event) => {
    const output = await invoke('webhook', name);
    expect(output).toMatch(/"statusCode": 200/);
    expect(output).toContain(`"status": "${status}"`);
    const [, event_id] = /"event_id": "(.*)"/.exec(output) ?? [];
    if (status === 'queued') {
      expect(await repliedTo(event_id, 2_000, event)).toHaveProperty('commands');
    }
    const { session, robot } = event.data;
    const { Items } = await client.send(
      new QueryCommand({
        TableName: 'vvchat-robot-local-memberships',
        KeyConditionExpression: 'session_open_id = :session AND robot_open_id = :robot',
        ExpressionAttributeValues: {
          ':session': { S: session.session_open_id },
          ':robot': { S: robot.open_id },
        },
      }),
    );
    expect(Items).toHaveLength(1);
  });

  test.concurrent('of reply says that there is no such row', async () => {
    expect(await invoke('reply', 'reply')).toMatch(/inbox row absent[\s\S]*"absent": 1/);
  });

  test.concurrent('of retry says that nothing is due', async () => {
    expect(await invoke('retry', 'retry')).toMatch(/nothing is due/);
  });
});

test('serverless package beside it does no harm', async () => {
  const run = project.start(['npx', 'serverless', 'package']);
  expect(await run.ends(), run.output()).toBe(0);
  expect(existsSync(join(project.folder, '.esbuild'))).toBe(false);
  const { body } = await post(saying('after packaging'));
  expect(await repliedTo(body.event_id)).toMatchObject({ sent: 1 });
});

describe('a change of the robot', () => {
  /** A route before all others. */
  const greeting = (then: string) => (source: string) =>
    source.replace('at: [', `at: [\n    [/^/, ${then}],`);

  const answersWith = async (text: string) => {
    const { body } = await post(saying(`${Math.random()}`));
    const row = await repliedTo(body.event_id);
    return JSON.parse(`${row.commands}`)[0].params.text === text;
  };

  test('is live as soon as it is saved', async () => {
    await project.change('robot/robot.ts', greeting("() => sendText('changed')"));
    expect(await until(() => answersWith('changed'))).toBe(true);
  });

  test.each(['first', 'second'])(
    'is live when an editor replaces the file, a %s time',
    async (text) => {
      const file = join(project.folder, 'robot/robot.ts');
      const source = readFileSync(file, 'utf8');
      await writeFile(`${file}~`, greeting(`() => sendText('${text}')`)(source));
      await rename(`${file}~`, file);
      expect(await until(() => answersWith(text))).toBe(true);
    },
  );

  test('in the middle of a reply costs nothing: the reply arrives within 5 s', async () => {
    await project.change(
      'robot/robot.ts',
      greeting(`async ({ attempt }) => {
        console.log('thinking', attempt);
        await new Promise((resolve) => setTimeout(resolve, 60_000));
        return sendText('never');
      }`),
    );
    const { body } = await until(async () => {
      const answer = await post(saying(`slow ${Math.random()}`));
      return running.prints(/thinking 1/, 1_000).then(
        () => answer,
        () => undefined,
      );
    });
    await project.change('robot/robot.ts', greeting("() => sendText('quick')"));
    const row = await repliedTo(body.event_id, 5_000);
    expect(JSON.parse(`${row.commands}`)[0].params.text).toBe('quick');
  });

  test('with a syntax error is told, and the reply arrives within 5 s of the mending', async () => {
    await project.change('robot/robot.ts', (source) =>
      source.replace('export const', 'export konst'),
    );
    await running.prints(/lib\/robot\.ts:\d+:\d+[^✓]*This does not build/);
    const { status, body } = await post(saying('while it is broken'));
    expect(status).toBe(200);
    await project.change('robot/robot.ts', (source) => source.replace('konst', 'const'));
    const row = await repliedTo(body.event_id, 5_000);
    expect(JSON.parse(`${row.commands}`)[0].params.text).toBe('quick');
  });

  test('to other events than are queued is told, with the line to change', async () => {
    await project.change('robot/robot.ts', (source) =>
      source.replace('} satisfies', "'session-open': () => undefined,\n} satisfies"),
    );
    await running.prints(/ROUTED_EVENTS: at,join-group-for-invite,session-open\n.*start again/);
  });

  test('that throws is shown with its place', async () => {
    await project.change(
      'robot/robot.ts',
      greeting("() => { throw new RangeError('for the author'); }"),
    );
    await until(async () => {
      await post(saying(`throw ${Math.random()}`));
      return running.prints(/RangeError\n.*lib\/robot\.ts:\d+/, 1_000).catch(() => undefined);
    });
  });
});

describe('every server', () => {
  const SERVERS: ServerName[] = ['http', 'lambda', 'dynamodb', 'dynamodbAdmin', 'vvchat'];

  const upgraded = (server: ServerName, host: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(project.ports[server], '127.0.0.1').on('error', reject);
      socket.once('data', (text) => {
        socket.destroy();
        resolve(`${text}`.slice(0, 12));
      });
      socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
    });

  const statusOf = (server: ServerName, headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      request(url(server), { headers, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });

  test.each(SERVERS)('refuses foreign hosts and origins: %s', async (server) => {
    const host = `127.0.0.1:${project.ports[server]}`;
    for (const headers of [
      { host: 'evil.example' },
      { host: `127.0.0.1.evil.example:${project.ports[server]}` },
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

  test.each(SERVERS)('listens on 127.0.0.1 alone: %s', async (server) => {
    const isOpen = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = connect(project.ports[server], host)
          .on('connect', () => resolve(true))
          .on('error', () => resolve(false));
        socket.on('connect', () => socket.destroy());
      });
    expect(await isOpen('127.0.0.1')).toBe(true);
    expect(await isOpen('127.0.0.2')).toBe(false);
    expect(await isOpen('::1')).toBe(false);
  });
});

test('a port that is taken is named, with what needs it and how to choose another', async () => {
  const run = project.start(['npm', 'start']);
  expect(await run.ends()).toBe(1);
  const port = project.ports.dynamodb;
  expect(run.output()).toContain(`Port ${port} is taken, which DynamoDB (dynalite) needs.\n`);
  expect(run.output()).toContain(`or choose another: LOCAL_DYNAMODB_PORT=`);
  expect(processesOf(run.process.pid as number).slice(1)).toEqual([]);
});

test('Ctrl-C leaves no process, no port and no folder behind', async () => {
  const children = processesOf(running.process.pid as number);
  expect(children.length).toBeGreaterThanOrEqual(3);
  interrupt(running);
  await running.ends();
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft();
});

test('Ctrl-C while it still starts leaves nothing behind either', async () => {
  const run = project.start(['node', 'local/start.ts']);
  await run.prints(/✓ DynamoDB/);
  const children = processesOf(run.process.pid as number);
  interrupt(run);
  expect(await run.ends()).toBe(0);
  expect(run.output()).not.toMatch(/Ready/);
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft();
});

test('npm start with a robot that cannot be started says why, and leaves nothing behind', async () => {
  await using other = await copyProject();
  await other.change('robot/robot.ts', (source) => source.replace('export const', 'export konst'));
  const run = other.start(['npm', 'start']);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toMatch(/lib\/robot\.ts:\d+/);
  await expectNothingLeft(other);
});

test('npm start with a robot that answers other events than are queued says what to change', async () => {
  await using other = await copyProject();
  await other.change('serverless.yml', (text) => text.replace(/(ROUTED_EVENTS:) .*/, '$1 at'));
  const run = other.start(['npm', 'start']);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toMatch(/change the line to:\n\s+ROUTED_EVENTS: at,join-group-for-invite\n/);
  await expectNothingLeft(other);
});

test('should npm start be killed, what it has started ends by itself', async () => {
  await using other = await copyProject();
  const run = other.start(['node', 'local/start.ts']);
  await run.prints(/Ready in/);
  const children = processesOf(run.process.pid as number).filter((pid) => pid !== run.process.pid);
  expect(children.length).toBeGreaterThanOrEqual(1);
  run.process.kill('SIGKILL');
  await run.ends();
  await until(async () => children.every((pid) => !isRunning(pid)));
  await expectNothingLeft(other);
});

async function expectNothingLeft({ ports } = project) {
  for (const port of Object.values(ports)) {
    await using server = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve, reject) => server.on('listening', resolve).on('error', reject));
  }
  const folders = existsSync(CACHE) ? readdirSync(CACHE) : [];
  expect(folders.filter((name) => name.endsWith(`-${ports.http}`))).toEqual([]);
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
