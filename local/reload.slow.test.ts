import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { documented, saying } from '../test/fixtures.ts';
import { npmStart, type Running } from '../test/npm-start.ts';
import { until } from '../test/project.ts';

/** A robot whose replies come from a module of its own. */
const ROBOT = `import { defineRobot, sendText } from 'vvchat-robot';
import { reply } from './replies/reply.ts';

export const robot = defineRobot({
  at: [[/^/, () => sendText(reply)]],
});
`;

let running: Running;
let number = 0;

beforeAll(async () => {
  running = await npmStart();
}, 90_000);
afterAll(() => running[Symbol.asyncDispose]());

/** Every test begins with this robot. */
beforeEach(async () => {
  await write('replies/reply.ts', `export const reply = 'robot ${++number}';`);
  await write('robot.ts', ROBOT);
  await running.answersWith(`robot ${number}`, mention);
});

const mention = () => saying(`${Math.random()}`);

const write = (name: string, content: string) => running.project.write(`robot/${name}`, content);

/** The robot with another handler of all @-mentions. */
const robotThat = (handler: string) => ROBOT.replace('() => sendText(reply)', handler);

const textOf = (row: { commands?: unknown }) => JSON.parse(`${row.commands}`)[0].params.text;

test('a save of the robot is live at once', async () => {
  await write('robot.ts', robotThat("() => sendText('changed')"));
  await running.answersWith('changed', mention);
});

test('a save of a module of the robot is live at once', async () => {
  await write('replies/reply.ts', "export const reply = 'changed in the module';");
  await running.answersWith('changed in the module', mention);
});

test.each(['first', 'second'])(
  'a save by an editor that replaces the file is live, a %s time',
  async (text) => {
    const file = join(running.project.folder, 'robot/robot.ts');
    await writeFile(`${file}~`, robotThat(`() => sendText('${text}')`));
    await rename(`${file}~`, file);
    await running.answersWith(text, mention);
  },
);

test('a handler that is added gets its events without a restart, and gets none once it is removed', async () => {
  const open = async () => (await running.post(documented.open)).body.status;
  expect(await open()).toBe('recorded');
  await write(
    'robot.ts',
    ROBOT.replace('\n});', "\n  'session-open': () => sendText('welcome'),\n});"),
  );
  await running.answersWith('welcome', () => documented.open);
  await write('robot.ts', ROBOT);
  await until(async () => (await open()) === 'recorded');
});

test('a save in the middle of a reply costs nothing: the reply arrives within 5 s', async () => {
  await write(
    'robot.ts',
    robotThat(`async ({ attempt }) => {
      console.log('thinking ${number}', attempt);
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      return sendText('never');
    }`),
  );
  const { body } = await until(async () => {
    const answer = await running.post(mention());
    return running.run.prints(new RegExp(`thinking ${number} 1`), 1_000).then(
      () => answer,
      () => undefined,
    );
  });
  await write('robot.ts', robotThat("() => sendText('quick')"));
  expect(textOf(await running.replied(body.event_id, 5_000))).toBe('quick');
});

test.each([
  [
    'a syntax error',
    'export konst x = 1;',
    /The robot does not build\. Fix this:\s+✘ [\s\S]*robot\/robot\.ts:7:7:/,
  ],
  ['a throw', 'missing.trim();', /robot\/robot\.ts:7:1: ReferenceError: missing is not defined/],
  [
    'a mistake in defineRobot',
    'defineRobot({ at: [[/x/g, () => null]] });',
    /robot\/robot\.ts:7:1: defineRobot: at\[0\]: remove the flag g/,
  ],
])(
  'messages wait while the robot has %s, and are answered within 5 s of the fix',
  async (_, mistake, shown) => {
    const printed = running.run.output().length;
    await write('robot.ts', `${ROBOT}${mistake}`);
    await until(async () => shown.test(running.run.output().slice(printed)));
    await until(async () =>
      running.run.output().slice(printed).includes('Messages wait until this is fixed.'),
    );
    const { status, body } = await running.post(mention());
    expect(status).toBe(200);
    await write('robot.ts', robotThat("() => sendText('fixed')"));
    expect(textOf(await running.replied(body.event_id, 5_000))).toBe('fixed');
  },
);

test('a handler that throws is shown with its place', async () => {
  await write('robot.ts', robotThat("() => { throw new RangeError('for the author'); }"));
  await until(async () => {
    await running.post(mention());
    const failure = /error=RangeError detail=for the author\n.*robot\/robot\.ts:5:\d+/;
    return running.run.prints(failure, 1_000).catch(() => undefined);
  });
});
