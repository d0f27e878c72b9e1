import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRobotFolder, PING, type RobotFolder } from '../test/robot-folder.ts';
import RobotPlugin, { bundleSettings, type Serverless } from './robot.ts';

class FrameworkError extends Error {}

let project: RobotFolder;

beforeEach(async () => {
  project = await createRobotFolder();
});
afterEach(() => project[Symbol.asyncDispose]());

const serverless = (): Serverless => ({
  serviceDir: project.folder,
  service: {
    provider: { region: 'eu-west-1', environment: { STAGE: 'dev', ROLE: { Ref: 'Role' } } },
    functions: {
      webhook: { name: 'a-webhook', environment: { WINDOW: '5' } },
      reply: { name: 'a-reply', environment: { API: 'https://vvchat.example', KEYS: null } },
    },
    custom: { esbuild: { bundle: true, platform: 'node', outputWorkFolder: 'work' } },
  },
  classes: { Error: FrameworkError },
});

const HOOKS = [
  'before:package:initialize',
  'before:deploy:function:initialize',
  'before:offline:start',
  'before:offline:start:init',
  'before:invoke:local:invoke',
];

test.each(HOOKS)('the webhook queues what the robot answers, from %s on', async (hook) => {
  await project.write({ 'robot.ts': PING });
  const framework = serverless();
  await new RobotPlugin(framework).hooks[hook]?.();
  expect(framework.service.functions.webhook.environment).toEqual({
    WINDOW: '5',
    ROUTED_EVENTS: 'at',
  });
  expect(framework.service.functions.reply.environment).not.toHaveProperty('ROUTED_EVENTS');
});

test('no other command loads the robot', () => {
  expect(Object.keys(new RobotPlugin(serverless()).hooks)).toEqual(HOOKS);
});

test('the webhook queues nothing for a robot that answers nothing', async () => {
  await project.write({
    'robot.ts': "import { defineRobot } from 'vvchat-robot'; export const robot = defineRobot({});",
  });
  const framework = serverless();
  await new RobotPlugin(framework).hooks['before:package:initialize']?.();
  expect(framework.service.functions.webhook.environment.ROUTED_EVENTS).toBe('none');
});

test('a robot that cannot be loaded stops the command with its place', async () => {
  await project.write({ 'robot.ts': `${PING}missing();` });
  const start = new RobotPlugin(serverless()).hooks['before:package:initialize'];
  await expect(start?.()).rejects.toThrow(FrameworkError);
  await expect(start?.()).rejects.toThrow(
    /^robot\/robot\.ts:3:1: ReferenceError: missing is not defined/,
  );
});

test('the robot is loaded with the environment that reply will have', async () => {
  await project.write({ 'robot.ts': `${PING}throw new Error(JSON.stringify(process.env));` });
  const start = new RobotPlugin(serverless()).hooks['before:package:initialize'];
  const { message } = await (start?.() ?? expect.fail()).catch((error) => error);
  const [, environment = ''] = /Error: (\{.*\})/.exec(message) ?? [];
  expect(JSON.parse(environment)).toEqual({
    AWS_REGION: 'eu-west-1',
    AWS_DEFAULT_REGION: 'eu-west-1',
    AWS_LAMBDA_FUNCTION_NAME: 'a-reply',
    STAGE: 'dev',
    API: 'https://vvchat.example',
  });
});

test('bundleSettings drops what is not for esbuild itself, and imports the plugins', async () => {
  const custom = {
    bundle: true,
    outputFileExtension: '.cjs',
    skipRebuild: true,
    watch: { pattern: [] },
    plugins: './plugins/esbuild.ts',
  };
  const settings = await bundleSettings(custom, process.cwd());
  expect(settings).toEqual({ bundle: true, plugins: expect.any(Array) });
  expect(settings.plugins?.map(({ name }) => name)).not.toEqual([]);
});
