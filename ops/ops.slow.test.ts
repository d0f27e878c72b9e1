import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { enqueue } from '../lib/inbox/enqueue.ts';
import type { Item } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import { recordMembership } from '../lib/membership.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { serviceName } from '../local/names.ts';
import packageJson from '../package.json' with { type: 'json' };
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, newArrival, saying } from '../test/fixtures.ts';
import { failing, passing, startDynamoDBProxy } from '../test/proxy.ts';

/*
 * The commands as an operator types them, each in a process of its own, on the tables of stage local.
 */

/** The scripts in package.json that run a file of this folder. */
const COMMANDS = Object.entries(packageJson.scripts)
  .filter(([, script]) => script.includes(' ops/'))
  .map(([name]) => name);

let engine: Engine;

beforeEach(async () => {
  // The commands find the tables of stage local, not those of an access key of the engine's own.
  vi.stubEnv('DYNAMODB_LOCAL_ENDPOINT', undefined);
  engine = await startEngine();
});
afterEach(() => engine[Symbol.asyncDispose]());

interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (
  name: string,
  args: readonly string[],
  port = new URL(engine.endpoint).port,
): Promise<Done> => {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const env = { ...process.env, LOCAL_DYNAMODB_PORT: port, NO_COLOR: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [file, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
};

const local = async (name: string, ...args: string[]) => run(name, ['--stage', 'local', ...args]);

const inGroup = (
  event: Event,
  session_open_id: string,
  person: string,
  session_type = '2',
): Event => {
  const it = structuredClone(event);
  Object.assign(it.data.session, { session_open_id, session_type });
  it.data.trigger.open_id = person;
  return it;
};

const member = (event: Event) => recordMembership(engine.table('memberships', Date), event);

const put = async (event: Event): Promise<Item> => {
  const table = engine.table('inbox', Date);
  const { event_id } = await enqueue(table, newArrival(event), 5);
  return (await queries.read(table, { ...event.data.session, event_id })) as Item;
};

const read = (item: Item) => queries.read(engine.table('inbox', Date), item);

describe('every command', () => {
  test.each(COMMANDS)(
    '%s prints its usage, and rejects options that make no sense',
    async (name) => {
      const help = await run(name, ['--help']);
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toMatch(new RegExp(`^Usage: npm run ${name} -- \\[options\\]`));
      expect(await run(name, [])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/--stage/),
      });
      expect(await run(name, ['--stage', 'dev', '--what'])).toMatchObject({ code: 2, stdout: '' });
      expect(await run(name, ['--stage', '../x'])).toMatchObject({ code: 2, stdout: '' });
    },
  );

  test.each(['groups', 'redrive'])(
    '%s suggests a remedy when the database is unreachable',
    async (name) => {
      const port = new URL(engine.endpoint).port;
      await engine[Symbol.asyncDispose]();
      const done = await local(name);
      expect(done).toMatchObject({ code: 1, stdout: '' });
      expect(done.stderr).toBe(
        `ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:${port}. Is npm start running?\n`,
      );
      engine = await startEngine();
    },
  );
});

describe('secret', () => {
  test('it prints a new token of 256 bits, its hash, and the command that stores a key', async () => {
    const one = await run('secret', ['--stage', 'dev']);
    const other = await run('secret', ['--stage', 'dev']);
    const [token, otherToken] = [one, other].map(
      ({ stdout }) => /\/vvchat\/events\?token=([\w-]{43})\n/.exec(stdout)?.[1] ?? '',
    );
    expect(token).not.toBe(otherToken);
    const hash = createHash('sha256').update(`${token}`).digest('hex');
    expect(one.stdout).toContain(`  WEBHOOK_TOKEN_SHA256=${hash}\n`);
    expect(one.stdout).toContain(`--name /${serviceName}/dev/app-keys/APP_ID`);
  });

  test('--rotate keeps the old hash beside the new one', async () => {
    const old = 'AB'.repeat(32);
    const { stdout } = await run('secret', ['--stage', 'dev', '--rotate', old, '--json']);
    const { query, WEBHOOK_TOKEN_SHA256 } = JSON.parse(stdout);
    const hash = createHash('sha256').update(query.replace('token=', '')).digest('hex');
    expect(WEBHOOK_TOKEN_SHA256).toBe(`${hash},${old.toLowerCase()}`);
    expect(await run('secret', ['--stage', 'dev', '--rotate', 'x'])).toMatchObject({ code: 2 });
  });
});

describe('groups', () => {
  beforeEach(async () => {
    await member(documented.join);
    await member(documented.at);
    await member(inGroup(documented.at, 'another', 'p'));
  });

  test.each([
    [[], ['8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2', 'another', 'hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp']],
    [
      ['--robot', documented.at.data.robot.open_id],
      ['8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2', 'another'],
    ],
    [['--session', 'another'], ['another']],
    [['--session', 'nowhere'], []],
  ])('%j lists the sessions %j', async (args, sessions) => {
    const { code, stdout } = await local('groups', ...args, '--json');
    expect(code).toBe(0);
    const rows: { session_open_id: string }[] = JSON.parse(stdout);
    expect(rows.map(({ session_open_id }) => session_open_id).sort()).toEqual(sessions);
  });

  test('it prints a table for people, and a note when there are more rows', async () => {
    const { stdout, stderr } = await local('groups', '--limit', '2');
    expect(stdout).toMatch(/session_open_id.*robot_no/);
    expect(stdout.match(/xds/g)).toHaveLength(2);
    expect(stderr).toBe('There are more than 2 rows; list more with --limit 20.\n');
  });

  test('it rejects --robot together with --session', async () => {
    expect(await local('groups', '--robot', 'x', '--session', 'y')).toMatchObject({
      code: 2,
      stderr: 'Give either --robot or --session.\n',
    });
  });
});

describe('redrive', () => {
  const failed = async (text: string, last_error = 'VVChat answered 400') => {
    const item = await put(saying(text));
    await inbox.fail(engine.table('inbox', Date), inbox.unclaimed(item), last_error);
    return item;
  };

  test('it lists failed rows and changes nothing until --put-back is given', async () => {
    const item = await failed('1');
    const gaveUp = await failed('2', 'gave up: no token');
    const listed = await local('redrive', '--json');
    expect(JSON.parse(listed.stdout)).toMatchObject({
      found: 2,
      rows: [
        { event_id: item.event_id, last_error: 'VVChat answered 400' },
        { event_id: gaveUp.event_id },
      ],
      may_be_more: false,
    });
    expect(listed.stderr).toBe('2 rows can be put back. Add --put-back to do so.\n');
    expect(await read(item)).toMatchObject({ status: 'failed' });
    const done = await local('redrive', '--put-back', '--last-error', 'gave up');
    expect(done).toMatchObject({ code: 0 });
    expect(done.stderr).toMatch(/^1 row put back/);
    expect(await read(gaveUp)).toMatchObject({ status: 'pending' });
    expect(await read(item)).toMatchObject({ status: 'failed' });
  });

  test('it continues page after page', async () => {
    for (let i = 0; i < 30; i++) await failed(`${i}`);
    expect((await local('redrive', '--limit', '20')).stderr).toBe(
      '20 rows can be put back. Add --put-back to do so.\nThere may be more; examine more with --limit 200.\n',
    );
    expect(JSON.parse((await local('redrive', '--put-back', '--json')).stdout)).toEqual({
      put_back: 30,
      outcome_unknown: 0,
      others: 0,
      may_be_more: false,
    });
  });

  test('it names the option that makes no sense', async () => {
    expect(await local('redrive', '--from', 'yesterday')).toMatchObject({
      code: 2,
      stderr: '--from must be a time such as "2026-03-14T09:00:00Z".\n',
    });
  });
});

describe('erase', () => {
  const memberships = async () =>
    JSON.parse((await local('groups', '--json')).stdout) as Record<string, string>[];

  beforeEach(async () => {
    await member(inGroup(documented.join, 'group', 'anna'));
    await member(inGroup(documented.at, 'group', 'ben'));
    await member(inGroup(documented.at, 'other group', 'ben'));
    await member(inGroup(documented.at, 'anna', 'anna', '1'));
  });

  test('it lists the rows of a group, and erases them with --yes', async () => {
    const item = await put(inGroup(saying('1'), 'group', 'ben'));
    const other = await put(inGroup(saying('2'), 'other group', 'ben'));
    const dry = await local('erase', '--session', 'group');
    expect(dry).toMatchObject({ code: 0, stderr: '3 rows found. Add --yes to erase them.\n' });
    expect(await memberships()).toHaveLength(4);
    const done = await local('erase', '--session', 'group', '--yes');
    expect(done.stderr).toMatch(
      /^3 rows erased\. Point-in-time recovery keeps their former contents until \d{4}-\d\d-\d\d\./,
    );
    expect((await memberships()).map((it) => it.session_open_id).sort()).toEqual([
      'anna',
      'other group',
    ]);
    expect(await read(item)).toBeUndefined();
    expect(await read(other)).toBeDefined();
  });

  test('--person erases their messages, their chats and their name, and keeps everything else', async () => {
    const message = await put(inGroup(saying('1'), 'group', 'anna'));
    const alone = await put(inGroup(saying('2'), 'anna', 'anna', '1'));
    const ofBen = await put(inGroup(saying('3'), 'group', 'ben'));
    const { stdout, code } = await local('erase', '--person', 'anna', '--yes', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toHaveLength(4);
    const left = await memberships();
    expect(JSON.stringify(left)).not.toMatch(/anna/);
    expect(left.map((it) => it.session_open_id).sort()).toEqual(['group', 'group', 'other group']);
    expect(left.filter((it) => it.last_mentioned_by === 'ben')).toHaveLength(2);
    expect(await read(message)).toBeUndefined();
    expect(await read(alone)).toBeUndefined();
    expect(await read(ofBen)).toBeDefined();
  });

  test('--person erases a one-to-one chat that a later event called a group', async () => {
    await member(inGroup(documented.at, 'anna', 'ben', '2'));
    await local('erase', '--person', 'anna', '--yes');
    expect(JSON.stringify(await memberships())).not.toMatch(/anna/);
  });

  test('it reports what it erased before a failure', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    for (let i = 0; i < 5; i++) await put(inGroup(saying(`${i}`), 'group', 'ben'));
    proxy.fault(
      'DeleteItem',
      passing,
      passing,
      passing,
      ...Array(9).fill(failing(400, 'AccessDeniedException')),
    );
    const args = ['--stage', 'local', '--session', 'group', '--yes', '--json'];
    const done = await run('erase', args, new URL(proxy.url).port);
    expect(done.code).toBe(1);
    expect(JSON.parse(done.stdout)).toHaveLength(3);
    expect(done.stderr).toMatch(/^Stopped after 3 rows\. Run the same command again/);
    expect((await local('erase', '--session', 'group')).stderr).toMatch(/^4 rows found/);
  });

  test.each([[[]], [['--session', 'x', '--person', 'y']]])('it rejects %j', async (args) => {
    expect(await local('erase', ...args)).toMatchObject({
      code: 2,
      stderr: 'Give either --session or --person.\n',
    });
  });
});
