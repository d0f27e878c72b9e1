import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { updateIf } from '../lib/aws/table.ts';
import { noteDuplicate } from '../lib/inbox/duplicate.ts';
import { enqueue } from '../lib/inbox/enqueue.ts';
import { type Item, keyOf } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import { recordMembership } from '../lib/membership.ts';
import { MUTED } from '../lib/mute.ts';
import { sendText } from '../lib/vvchat/command.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { serviceName } from '../local/names.ts';
import { visible } from '../local/terminal.ts';
import packageJson from '../package.json' with { type: 'json' };
import { type Engine, startEngine } from '../test/engine.ts';
import { documented, newArrival, saying } from '../test/fixtures.ts';
import { failing, passing, startDynamoDBProxy } from '../test/proxy.ts';
import type { Timeline } from './timeline.ts';

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

  test.each([[], ['--json']])(
    'groups shows escapes in an id instead of printing them, %j',
    async (...args) => {
      const id = '\u001b]52;c;cm0gLXJm\u0007\u009b2J\u202egnp.';
      await member(inGroup(documented.open, id, 'anna'));
      const { stdout } = await local('groups', ...args);
      expect(stdout).toContain('52;c;cm0gLXJm');
      expect(stdout).toContain('\\u202egnp.');
      expect(stdout).toBe(visible(stdout));
      if (args.length > 0) expect(JSON.parse(stdout)[0].session_open_id).toBe(id);
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

describe('mute', () => {
  const muted = async () => JSON.parse((await local('mute', '--json')).stdout);

  test('it mutes a session and an app, lists them, and ends a mute', async () => {
    expect(await local('mute')).toMatchObject({ code: 0, stderr: 'Nothing is muted.\n' });
    const group = await local('mute', '--session', 'group', '--for', '2h');
    expect(group.stderr).toMatch(/^Muted until \d{4}-.*Z\. Replies stop within a minute/);
    await local('mute', '--app', 'test');
    expect(await muted()).toEqual([
      { kind: 'app', id: 'test', muted_at: expect.any(String) },
      { kind: 'session', id: 'group', muted_at: expect.any(String), until: expect.any(String) },
    ]);
    expect((await local('mute', '--session', 'group', '--end')).stderr).toMatch(/^Unmuted\./);
    expect((await local('mute', '--session', 'group', '--end')).stderr).toBe('It was not muted.\n');
    expect(await muted()).toMatchObject([{ kind: 'app', id: 'test' }]);
  });

  test.each([
    ['--session', 'x', '--app', 'y'],
    ['--for', '2h'],
    ['--end'],
    ['--app', 'x', '--for', 'long'],
    ['--app', 'x', '--for', '2h', '--end'],
  ])('it rejects %s %s %s %s', async (...args) => {
    expect(await local('mute', ...args.filter(Boolean))).toMatchObject({ code: 2, stdout: '' });
  });

  test('a mute is erased with its session', async () => {
    await local('mute', '--session', 'anna');
    await local('mute', '--session', 'ben');
    const { stdout } = await local('erase', '--person', 'anna', '--yes', '--json');
    expect(JSON.parse(stdout)).toEqual([{ table: 'mutes', session: 'anna', erased: 'the row' }]);
    expect(await muted()).toMatchObject([{ id: 'ben' }]);
  });
});

describe('redrive of pending rows', () => {
  const table = () => engine.table('inbox', Date);

  const postponed = async (text: string, last_error = 'VVChat answered 503') => {
    const item = await put(saying(text));
    const hour = { atLeastMs: 3_600_000 };
    return (await inbox.postponeSending(table(), inbox.unclaimed(item), last_error, hour)).item;
  };

  test('--pending lists them by app and reason', async () => {
    await postponed('1');
    await postponed('2');
    await postponed('3', 'no token: app test has no key in /x/');
    await put(saying('4'));
    const { stdout, stderr } = await local('redrive', '--pending', '--json');
    const { groups, ...counts } = JSON.parse(stdout);
    expect(counts).toEqual({ pending: 4, due_now: 0, due_later: 4, may_be_more: false });
    const countsOf = (it: Record<string, unknown>) => [it.last_error, it.rows, it.at_work];
    expect(groups.map(countsOf)).toEqual([
      ['VVChat answered 503', 2, 0],
      // In the order in which they come due.
      ['none yet', 1, 1],
      ['no token: app test has no key in /x/', 1, 0],
    ]);
    expect(stderr).toMatch(/^4 rows pending: 0 due now, 4 later\./);
  });

  test('--now makes them due, and leaves what a worker has', async () => {
    const waiting = await postponed('1');
    const other = await postponed('2', 'no token: x');
    const working = await put(saying('3'));
    const done = await local('redrive', '--now', '--last-error', 'VVChat', '--json');
    expect(JSON.parse(done.stdout)).toEqual({ done: 1, may_be_more: false });
    expect(Date.parse(`${(await read(waiting))?.next_attempt_at}`)).toBeLessThanOrEqual(Date.now());
    expect(await read(other)).toEqual(other);
    const { stderr } = await local('redrive', '--now');
    expect(stderr).toBe(
      '1 row made due. The function retry processes them within two minutes.\n1 row left: due already.\n1 row left: at work.\n',
    );
    expect(await read(working)).toEqual(working);
  });

  test('--give-up fails what was received before a time, and it can be put back', async () => {
    const old = await postponed('1');
    const working = await put(saying('2'));
    const before = new Date(Date.now() + 1).toISOString();
    const fresh = { ...saying('3') };
    const done = await local('redrive', '--give-up', '--before', before, '--json');
    expect(JSON.parse(done.stdout)).toEqual({ done: 1, at_work: 1, may_be_more: false });
    const later = await put(fresh);
    await inbox.postponeSending(table(), inbox.unclaimed(later), 'VVChat answered 503');
    expect(
      JSON.parse((await local('redrive', '--give-up', '--before', before, '--json')).stdout),
    ).toEqual({ at_work: 1, may_be_more: false });
    expect(await read(old)).toMatchObject({
      status: 'failed',
      last_error: 'given up by an operator: VVChat answered 503',
    });
    expect(await read(working)).toEqual(working);
    expect((await local('redrive', '--put-back')).stderr).toMatch(/^1 row put back/);
  });

  test('it continues page after page, up to its limit', async () => {
    for (let i = 0; i < 30; i++) await postponed(`${i}`);
    const { stdout, stderr } = await local('redrive', '--now', '--limit', '20', '--json');
    expect(JSON.parse(stdout)).toEqual({ done: 20, may_be_more: true });
    expect(stderr).toContain('There may be more; examine more with --limit 200.');
    expect(JSON.parse((await local('redrive', '--now', '--json')).stdout)).toEqual({
      done: 10,
      due_already: 20,
      may_be_more: false,
    });
  });

  test.each([
    [['--now', '--put-back'], 'Give one of'],
    [['--give-up'], '--give-up needs --before.'],
    [['--before', '2026-03-14T09:00Z'], '--before needs'],
    [['--pending', '--from', '2026-03-14T09:00Z'], '--from, --to'],
  ])('it rejects %j', async (args, message) => {
    const done = await local('redrive', ...args);
    expect(done).toMatchObject({ code: 2, stdout: '' });
    expect(done.stderr).toContain(message);
  });
});

describe('redrive of failed rows', () => {
  test('--acknowledge takes them off the list, and --acknowledged lists them', async () => {
    const item = await put(saying('1'));
    await inbox.fail(engine.table('inbox', Date), inbox.unclaimed(item), 'VVChat answered 404');
    const done = await local('redrive', '--acknowledge', '--json');
    expect(JSON.parse(done.stdout)).toMatchObject({ acknowledged: 1 });
    expect(done.stderr).toBe('1 row acknowledged. --acknowledged lists them.\n');
    expect(JSON.parse((await local('redrive', '--json')).stdout)).toMatchObject({ found: 0 });
    expect(JSON.parse((await local('redrive', '--acknowledged', '--json')).stdout)).toMatchObject({
      found: 1,
      rows: [{ event_id: item.event_id }],
    });
  });

  test('--ask-again discards an answer of which nothing was sent', async () => {
    const table = engine.table('inbox', Date);
    const unsent = await inbox.storeReply(table, inbox.unclaimed(await put(saying('1'))), [
      sendText('old'),
    ]);
    await inbox.fail(table, unsent, 'VVChat answered 404');
    const two = [sendText('1'), sendText('2')];
    const stored = await inbox.storeReply(table, inbox.unclaimed(await put(saying('2'))), two);
    await inbox.fail(table, await inbox.markSent(table, stored), 'VVChat answered 404');
    const done = await local('redrive', '--ask-again', '--json');
    expect(JSON.parse(done.stdout)).toMatchObject({ put_back: 1, partly_sent: 1 });
    expect(await read(unsent.item)).toMatchObject({ status: 'pending' });
    expect(await read(unsent.item)).not.toHaveProperty('commands');
    expect(await read(stored.item)).toMatchObject({ status: 'failed', sent: 1 });
  });
});

describe('secret --app', () => {
  test('it prints what stores the key, forgets the token and retries, and no new token', async () => {
    const { stdout, code } = await run('secret', ['--stage', 'dev', '--app', 'test', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      store_key: expect.stringContaining(`--name /${serviceName}/dev/app-keys/test --value`),
      forget_token: `aws dynamodb delete-item --table-name ${serviceName}-dev-tokens --key '{"app_id":{"S":"test"}}'`,
      retry_now: 'npm run redrive -- --stage dev --now --app test',
    });
    const plain = await run('secret', ['--stage', 'dev', '--app', 'test']);
    for (const command of Object.values(JSON.parse(stdout)))
      expect(plain.stdout).toContain(command);
    expect(plain.stdout).not.toContain('WEBHOOK_TOKEN_SHA256');
    expect(await run('secret', ['--stage', 'dev', '--app', "a'; rm"])).toMatchObject({ code: 2 });
  });
});

describe('why', () => {
  const GROUP = documented.at.data.session.session_open_id;
  const PERSON = `${documented.at.data.trigger.open_id}`;
  const table = () => engine.table('inbox', Date);

  const postponed = async (text: string) => {
    const item = await put(saying(text));
    await inbox.postponeSending(table(), inbox.unclaimed(item), 'VVChat answered 503', {
      atLeastMs: 180_000,
    });
    return item;
  };

  /** One event of each kind, from the group of the samples. */
  async function putAll() {
    const answered = await put(saying('answered'));
    const stored = await inbox.storeReply(table(), inbox.unclaimed(answered), [sendText('x')]);
    await inbox.complete(table(), stored);
    await noteDuplicate(table(), answered);
    const muted = await put(saying('muted'));
    await inbox.completeWithoutReply(table(), inbox.unclaimed(muted), MUTED);
    const refused = await put(saying('refused'));
    await inbox.fail(table(), inbox.unclaimed(refused), 'VVChat answered 404: no such session');
    const crashed = await put(saying('crashed'));
    const hourAgo = { ...table(), now: () => Date.now() - 3_600_000 };
    await updateIf(hourAgo, keyOf(crashed), { next_attempt_at: '2026-01-01T00:00:00.000Z' }, [
      'attribute_exists(event_id)',
    ]);
    await inbox.claim(hourAgo, (await read(crashed)) as Item);
    const waiting = await postponed('waiting');
    const working = await put(saying('working'));
    return { answered, muted, refused, crashed, waiting, working };
  }

  test('it shows what became of each event, from a group and a minute alone', async () => {
    const items = await putAll();
    const near = new Date().toISOString();
    const done = await local('why', '--session', GROUP, '--near', near, '--json');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    const timelines: Timeline[] = JSON.parse(done.stdout);
    const of = (item: Item) => {
      const it = timelines.find(({ event_id }) => event_id === item.event_id);
      return {
        outcome: it?.outcome,
        steps: it?.steps.map(({ text }) => text).join('\n'),
        next: it?.next,
        commands: it?.commands.join('\n'),
      };
    };
    const received = `received: at by ${PERSON}, for robot xds2323 of app test`;
    expect(of(items.answered)).toEqual({
      outcome: 'replied',
      steps: expect.stringMatching(
        new RegExp(
          `^${received}\\nanswered: the robot's reply of 1 command was stored\\nsent: 1 command, \\d\\.\\d s after receipt\\nduplicate: 1 equal event within the window`,
        ),
      ),
      next: 'Nothing: it is settled.',
      commands: '',
    });
    expect(of(items.muted)).toMatchObject({
      outcome: 'muted',
      commands: expect.stringContaining(`mute -- --stage local --session ${GROUP} --end`),
    });
    expect(of(items.refused)).toMatchObject({
      outcome: 'failed',
      steps: expect.stringContaining(
        'failed: VVChat answered 404: no such session (VVChat refused the command, for example',
      ),
      next: 'Nothing, until it is put back.',
      commands: expect.stringContaining(
        `npm run redrive -- --stage local --put-back --session ${GROUP}`,
      ),
    });
    expect(of(items.crashed)).toMatchObject({
      outcome: 'crashed',
      steps: expect.stringContaining('the function crashed while the robot answered'),
      next: expect.stringMatching(/^retry attempts it within two minutes, and gives up at /),
    });
    expect(of(items.waiting)).toMatchObject({
      outcome: 'waiting',
      steps: expect.stringContaining('the latest attempt: VVChat answered 503'),
      next: expect.stringMatching(/^retry attempts it at \d{4}-/),
      commands: expect.stringContaining(`redrive -- --stage local --now --session ${GROUP}`),
    });
    expect(of(items.working)).toMatchObject({
      outcome: 'at work',
      next: expect.stringMatching(/^A worker has it until \d{4}-/),
    });
    expect(done.stdout).not.toContain('working"');
  });

  test('it prints a line for each step, and what comes from outside as escapes', async () => {
    const event = saying('x');
    event.data.robot.robot_no = '\u001b]52;c;evil\u0007\u202e';
    await put(event);
    const { stdout } = await local('why', '--session', GROUP);
    expect(stdout).toMatch(/^[\da-f]{32}-0000000001: at work\n {2}\d{4}-\S+Z {2}received: at by /);
    expect(stdout).toContain('\\u{1b}]52;c;evil\\u{7}\\u{202e}');
    expect(stdout).not.toContain('\u001b');
  });

  test('it selects by person, text and time, and shows the latest', async () => {
    await postponed('Hello there');
    await put(inGroup(saying('hello'), GROUP, 'ben'));
    await put(saying('something else'));
    const count = async (...args: string[]) =>
      JSON.parse((await local('why', '--session', GROUP, '--json', ...args)).stdout).length;
    expect(await count()).toBe(3);
    expect(await count('--text', 'HELLO')).toBe(2);
    expect(await count('--person', 'ben')).toBe(1);
    expect(await count('--limit', '2')).toBe(2);
    expect(await count('--from', '2126-03-14T09:00Z')).toBe(0);
    expect(await count('--near', '2026-01-01T09:00Z')).toBe(0);
  });

  test('it finds one event by its id: pending and failed ones by that alone', async () => {
    const { answered, refused, waiting } = await putAll();
    await member(documented.at);
    const outcomes = async (...args: string[]) =>
      JSON.parse((await local('why', '--json', ...args)).stdout).map(
        ({ outcome }: Timeline) => outcome,
      );
    expect(await outcomes('--event', refused.event_id)).toEqual(['failed']);
    expect(await outcomes('--event', waiting.event_id)).toEqual(['waiting']);
    const settled = await local('why', '--event', answered.event_id);
    expect(settled.stderr).toMatch(
      /^No pending or failed event has this id\. .*--session or --robot/,
    );
    const robot = documented.at.data.robot.open_id;
    expect(await outcomes('--event', answered.event_id, '--session', GROUP)).toEqual(['replied']);
    expect(await outcomes('--event', answered.event_id, '--robot', robot)).toEqual(['replied']);
  });

  test('--robot --near lists the sessions that were active then, the busiest first', async () => {
    for (const [text, session] of [
      ['1', 'quiet'],
      ['2', 'busy'],
      ['3', 'busy'],
    ] as const) {
      await put(inGroup(saying(text), session, 'ben'));
      await member(inGroup(documented.at, session, 'ben'));
    }
    const robot = documented.at.data.robot.open_id;
    const active = async (near: string) =>
      JSON.parse((await local('why', '--robot', robot, '--near', near, '--json')).stdout).map(
        (it: Record<string, unknown>) => [it.session_open_id, it.events],
      );
    expect(await active(new Date().toISOString())).toEqual([
      ['busy', 2],
      ['quiet', 1],
    ]);
    expect(await active('2026-01-01T00:00Z')).toEqual([]);
  });

  test('it says what is known when there is no event', async () => {
    await member(documented.open);
    const { stdout, stderr } = await local(
      'why',
      '--session',
      documented.open.data.session.session_open_id,
    );
    expect(stdout).toBe('');
    expect(stderr).toMatch(
      /^No event found\..*\nRobot \S+: latest event \d{4}\S+, latest mention never\./s,
    );
    expect((await local('why', '--session', 'nowhere')).stderr).toContain('No event ever came');
  });

  test('it scans no table', async () => {
    await using proxy = await startDynamoDBProxy(engine.endpoint);
    const { waiting } = await putAll();
    await member(documented.at);
    const port = new URL(proxy.url).port;
    const robot = documented.at.data.robot.open_id;
    for (const args of [
      ['--session', GROUP],
      ['--session', 'nowhere'],
      ['--event', waiting.event_id],
      ['--event', 'none', '--robot', robot],
      ['--robot', robot, '--near', new Date().toISOString()],
    ]) {
      expect(await run('why', ['--stage', 'local', ...args], port)).toMatchObject({ code: 0 });
    }
    expect(new Set(proxy.requests)).toEqual(new Set(['Query', 'GetItem', 'BatchGetItem']));
  });

  test.each([[[]], [['--robot', 'x']], [['--session', 'x', '--near', 'noon']]])(
    'it rejects %j',
    async (args) => {
      expect(await local('why', ...args)).toMatchObject({ code: 2, stdout: '' });
    },
  );
});
