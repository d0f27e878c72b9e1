import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyProject, type Project } from '../test/project.ts';
import StageGuard, { faultOf, routingFault } from './validate.ts';

const SETTINGS = {
  VVCHAT_API_URL: 'https://vvchat.example',
  VVCHAT_APP_IDS: 'test',
  WEBHOOK_TOKEN_SHA256: '25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6',
};

let project: Project;

beforeAll(async () => {
  project = await copyProject();
});
afterAll(() => project[Symbol.asyncDispose]());

const serverless = async (command: string, env = {}) => {
  const run = project.start(['serverless', ...command.split(' ')], env);
  return { code: await run.ends(), output: run.output() };
};

test.concurrent.each(['deploy', 'remove'])(
  'stage local stays on this machine: %s',
  async (command) => {
    const { code, output } = await serverless(command, SETTINGS);
    expect(code).toBe(1);
    expect(output).toContain(
      `Stage local is for this machine. Type: npx serverless ${command} --stage dev`,
    );
  },
);

test.each([
  ['local', 'deploy function', true],
  ['local', 'deploy list', true],
  ['local', 'rollback', true],
  ['local', 'package', false],
  ['local', 'invoke local', false],
  ['local', 'offline start', false],
  ['dev', 'deploy', false],
  ['dev', 'remove', false],
])('in stage %s, that %s is refused: %s', (stage, command, isRefused) => {
  const environment = {};
  const { hooks } = new StageGuard({
    processedInput: { commands: command.split(' ') },
    service: {
      provider: { stage, environment },
      functions: { webhook: { environment }, reply: { environment }, retry: { environment } },
    },
    classes: { Error },
  });
  const start = () => hooks.initialize?.();
  if (isRefused) expect(start).toThrow(`Type: npx serverless ${command} --stage dev`);
  else expect(start).not.toThrow();
});

describe.concurrent('another stage', () => {
  test('is not packaged without its settings, which are named', async () => {
    const { code, output } = await serverless('package --stage dev');
    expect(code).toBe(1);
    for (const name of Object.keys(SETTINGS)) expect(output).toContain(name);
  });

  test('is not packaged with settings that could not work', async () => {
    const { code, output } = await serverless('package --stage dev', {
      ...SETTINGS,
      VVCHAT_API_URL: 'http://vvchat.example',
      WEBHOOK_TOKEN_SHA256: 'my-secret',
    });
    expect(code).toBe(1);
    expect(output).toMatch(/VVCHAT_API_URL must be an https address/);
    expect(output).toMatch(/WEBHOOK_TOKEN_SHA256 must be one or two SHA-256 hashes/);
    expect(output).not.toMatch(/my-secret/);
  });

  test('is packaged with them: a zip for each function, with that function alone', async () => {
    const { code, output } = await serverless('package --stage dev --package package', SETTINGS);
    expect(code, output).toBe(0);
    const folder = join(project.folder, 'package');
    const zips = (await readdir(folder)).filter((name) => name.endsWith('.zip'));
    expect(zips.sort()).toEqual(['reply.zip', 'retry.zip', 'webhook.zip']);
    for (const zip of zips) {
      const listing = project.start(['unzip', '-Z1', join(folder, zip)]);
      expect(await listing.ends()).toBe(0);
      expect(listing.output()).toBe(`functions/${zip.replace('.zip', '.cjs')}\n`);
    }
    const template = await readFile(
      join(folder, 'cloudformation-template-update-stack.json'),
      'utf8',
    );
    const functions = Object.values(JSON.parse(template).Resources as Record<string, Resource>)
      .filter(({ Type }) => Type === 'AWS::Lambda::Function')
      .map(({ Properties }) => Properties);
    for (const { Runtime, Architectures, Environment } of functions) {
      expect([Runtime, Architectures]).toEqual(['nodejs24.x', ['arm64']]);
      expect(Object.keys(Environment.Variables)).not.toContain('AWS_ENDPOINT_URL');
      expect(Object.keys(Environment.Variables)).not.toContain('APP_KEYS');
    }
  });
});

interface Resource {
  Type: string;
  Properties: {
    Runtime: string;
    Architectures: string[];
    Environment: { Variables: Record<string, string> };
  };
}

test('events that are queued for nobody, or not queued, stop packaging with the line to change', async () => {
  await using other = await copyProject();
  await other.change('serverless.yml', (text) => text.replace(/(ROUTED_EVENTS:) .*/, '$1 at'));
  const run = other.start(['serverless', 'package']);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toContain('ROUTED_EVENTS: at,join-group-for-invite');
});

test('the order of routed events does not matter', () => {
  expect(routingFault(new Set(['session-open', 'at']), ['at', 'session-open'])).toBeUndefined();
  expect(routingFault(new Set(['at']), ['at', 'session-open'])).toMatch(
    /change the line to:\n {2}ROUTED_EVENTS: at,session-open$/,
  );
});

test('the events that serverless.yml queues are those that the robot answers', async () => {
  const text = await readFile(new URL('../serverless.yml', import.meta.url), 'utf8');
  const [, routed = ''] = /ROUTED_EVENTS: (.*)/.exec(text) ?? [];
  expect(routingFault(new Set(routed.split(',')))).toBeUndefined();
});

test('every fault of every function is told at once', () => {
  const none = { environment: {} };
  expect(faultOf({}, { webhook: none, reply: none, retry: none })).toBe(
    [
      'MEMBERSHIPS_TABLE is missing; INBOX_TABLE is missing; WEBHOOK_TOKEN_SHA256 is missing.',
      'INBOX_TABLE is missing; TOKENS_TABLE is missing; VVCHAT_API_URL is missing.',
      'Stages but local take these from the environment or from .env.',
    ].join('\n'),
  );
});
