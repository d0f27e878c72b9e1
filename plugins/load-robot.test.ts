import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRobotFolder, PING, type RobotFolder } from '../test/robot-folder.ts';
import { type Loading, loadRobot, RobotLoadError } from './load-robot.ts';

const SETTINGS = { bundle: true, minify: true, platform: 'node', format: 'cjs' } as const;

let project: RobotFolder;

beforeEach(async () => {
  project = await createRobotFolder();
});
afterEach(() => project[Symbol.asyncDispose]());

/** Loads a robot of these files of the folder robot/. */
async function load(files: Readonly<Record<string, string>>, more: Partial<Loading> = {}) {
  await project.write(files);
  const { folder } = project;
  return loadRobot({ folder, workFolder: 'work', settings: SETTINGS, environment: {}, ...more });
}

const messageOf = (source: string, more?: Partial<Loading>) =>
  load({ 'robot.ts': `${PING}${source}` }, more).then(
    (events) => expect.fail(`It was loaded and answers ${events}.`),
    (error: unknown) => {
      expect(error).toBeInstanceOf(RobotLoadError);
      return (error as Error).message;
    },
  );

test('a robot answers the events for which it has routes or a handler', async () => {
  expect(await load({ 'robot.ts': PING })).toEqual(['at']);
  expect(
    await load({
      'robot.ts': `import { defineRobot } from 'vvchat-robot';
        import { welcome } from './games/welcome.ts';
        export const robot = defineRobot({ 'session-open': welcome, at: [] });`,
      'games/welcome.ts': 'export const welcome = () => null;',
    }),
  ).toEqual(['at', 'session-open']);
});

test('a robot without routes and handlers answers nothing', async () => {
  const source = `import { defineRobot } from 'vvchat-robot'; export const robot = defineRobot({});`;
  expect(await load({ 'robot.ts': source })).toEqual([]);
});

test('loading leaves no file behind', async () => {
  await load({ 'robot.ts': PING });
  await messageOf('throw new Error();');
  expect(await readdir(join(project.folder, 'work'))).toEqual([]);
});

test('a robot sees the environment of its function and nothing of this process', async () => {
  const source = 'if (JSON.stringify(process.env) !== \'{"GREETING":"hello"}\') throw new Error();';
  expect(
    await load({ 'robot.ts': `${PING}${source}` }, { environment: { GREETING: 'hello' } }),
  ).toEqual(['at']);
  expect(await messageOf('process.env.GREETING.trim();')).toMatch(/^robot\/robot\.ts:3:22: Type/);
});

test('a syntax error is shown with its line', async () => {
  const message = await messageOf('konst x = 1;');
  expect(message).toMatch(/^The robot does not build\. Fix this:\n/);
  expect(message).toContain('robot/robot.ts:3:6:\n      3 │ konst x = 1;');
});

test('an import that leads nowhere is shown with its line', async () => {
  expect(await messageOf("import './missing.ts';")).toContain('robot/robot.ts:3:7:');
});

test('an await at the top of a module is shown with its line and its remedy', async () => {
  const message = await messageOf("await fetch('https://vvchat.example');");
  expect(message).toContain('robot/robot.ts:3:0:');
  expect(message).toMatch(/Await inside a handler instead\.$/);
});

test('an error of a module is shown with its trace from the line that threw', async () => {
  const robot = `import './games/quiz.ts';\n${PING}`;
  const quiz = 'const questions = JSON.parse("[]");\nquestions[0].text.trim();\n';
  await expect(load({ 'robot.ts': robot, 'games/quiz.ts': quiz })).rejects.toThrow(
    /^robot\/games\/quiz\.ts:2:14: TypeError: Cannot read .*\n {4}at robot\/games\/quiz\.ts:2:14\nFix this line/,
  );
});

test('a mistake in defineRobot is shown with the line of the call', async () => {
  expect(await messageOf('defineRobot({\n  // @ts-expect-error\n  leave: () => null });')).toMatch(
    /^robot\/robot\.ts:3:1: defineRobot: "leave" is unknown; the keys are/,
  );
});

test.each([
  ['no file', {}, /^robot\/robot\.ts is missing\. Create it/],
  [
    'no export of that name',
    { 'robot.ts': 'export const bot = 1;' },
    /^robot\/robot\.ts does not export `robot`: write/,
  ],
  [
    'an export that defineRobot did not make',
    { 'robot.ts': 'export const robot = { at: [] };' },
    /^The `robot` that robot\/robot\.ts exports was not made by defineRobot/,
  ],
])('%s is an error that shows the remedy', async (_, files, message) => {
  await expect(load(files)).rejects.toThrow(message);
});

test.each([
  "void fetch('https://vvchat.example');",
  "import net from 'node:net'; net.connect(1);",
  "import http from 'node:http'; http.get('http://vvchat.example');",
  "import https from 'node:https'; https.get('https://vvchat.example');",
  "import dns from 'node:dns'; dns.lookup('vvchat.example', (e) => { if (e) throw e; });",
  "import { lookup } from 'node:dns/promises'; void lookup('vvchat.example');",
  "import dgram from 'node:dgram'; dgram.createSocket('udp4').send('x', 53, '127.0.0.1');",
  "void (async () => { try { await fetch('http://a'); } catch (cause) { throw new Error('x', { cause }); } })();",
])('a robot that needs the network while it is loaded is refused: %s', async (source) => {
  expect(await messageOf(source)).toMatch(
    /^robot\/robot\.ts:3:\d+ uses the network while the robot is loaded\. The network may be used only while an event is answered\./,
  );
});

test('a robot that does without the network it asked for is loaded', async () => {
  const source = "fetch('https://vvchat.example').catch(() => {});";
  expect(await load({ 'robot.ts': `${PING}${source}` })).toEqual(['at']);
});

test('a robot that ends the process is shown with the line', async () => {
  expect(await messageOf('process.exit(3);')).toMatch(
    /^robot\/robot\.ts:3:\d+: Error: process\.exit\(3\) would end the whole function\./,
  );
});

test('a robot that throws something else than an error is refused', async () => {
  expect(await messageOf("throw 'no token';")).toContain('no token was thrown, not an Error.');
});

test.each(['for (;;);', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'])(
  'a robot that takes too long is refused: %s',
  async (source) => {
    expect(await messageOf(source, { timeoutMs: 500 })).toMatch(
      /^robot\/robot\.ts was still loading after 0\.5 s\. Move slow work/,
    );
  },
);
