import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyProject, type Project } from '../test/project.ts';

const SETTINGS = {
  VVCHAT_API_URL: 'https://vvchat.example',
  VVCHAT_APP_IDS: 'test',
  WEBHOOK_TOKEN_SHA256: '25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6',
};

const TEMPLATE = 'cloudformation-template-update-stack.json';

let project: Project;

beforeAll(async () => {
  project = await copyProject();
});
afterAll(() => project[Symbol.asyncDispose]());

const serverless = async (command: string, env = {}) => {
  const run = project.start(['serverless', ...command.split(' ')], env);
  return { code: await run.ends(), output: run.output() };
};

test.concurrent.each(['deploy', 'remove'])('stage local refuses %s', async (command) => {
  const { code, output } = await serverless(command, SETTINGS);
  expect(code).toBe(1);
  expect(output).toContain(
    `Stage local exists on this machine only. Run: npx serverless ${command} --stage dev`,
  );
});

describe.concurrent('a stage on AWS', () => {
  test('is not packaged without its settings, and names them', async () => {
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

  test('is packaged with its settings: a zip for each function, with its bundle, licences and map alone', async () => {
    const { code, output } = await serverless('package --stage dev --package package', SETTINGS);
    expect(code, output).toBe(0);
    const folder = join(project.folder, 'package');
    const zips = (await readdir(folder)).filter((name) => name.endsWith('.zip'));
    expect(zips).toContain('webhook.zip');
    for (const zip of zips) {
      const listing = project.start(['unzip', '-Z1', join(folder, zip)]);
      expect(await listing.ends()).toBe(0);
      const bundle = `functions/${zip.replace('.zip', '.cjs')}`;
      expect(listing.output().trim().split('\n').sort()).toEqual([
        'LICENSE',
        'THIRD-PARTY-LICENSES.txt',
        bundle,
        ...(zip === 'webhook.zip' ? [] : [`${bundle}.map`]),
      ]);
    }
    const template = await readFile(join(folder, TEMPLATE), 'utf8');
    const functions = Object.values(JSON.parse(template).Resources as Record<string, Resource>)
      .filter(({ Type }) => Type === 'AWS::Lambda::Function')
      .map(({ Properties }) => Properties);
    expect(functions).toHaveLength(zips.length);
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

describe('a robot that answers nothing', () => {
  test('is packaged, and the webhook queues nothing', async () => {
    await using silent = await copyProject();
    await silent.change(
      'robot/robot.ts',
      () => "import { defineRobot } from 'vvchat-robot'; export const robot = defineRobot({});",
    );
    const run = silent.start(['serverless', 'package', '--package', 'package']);
    expect(await run.ends(), run.output()).toBe(0);
    const template = await readFile(join(silent.folder, 'package', TEMPLATE), 'utf8');
    expect(template).toContain('"ROUTED_EVENTS": "none"');
  });
});

describe("a robot with packages of its author's", () => {
  test('is packaged with their licences, and with a warning about one that states none', async () => {
    await using project = await copyProject();
    const add = async (name: string, fields: object, files: Record<string, string> = {}) => {
      const all = {
        'package.json': JSON.stringify({ name, version: '1.2.3', main: 'index.js', ...fields }),
        'index.js': `module.exports = '${name}';`,
        ...files,
      };
      for (const [file, text] of Object.entries(all)) {
        await project.write(`node_modules/${name}/${file}`, text);
      }
    };
    await add('with-a-file', {}, { LICENSE: 'Copyright of the file' });
    await add('with-a-field', { license: 'ISC' });
    await add('with-neither', {});
    await project.change(
      'robot/robot.ts',
      (source) =>
        `${source}\nvoid [require('with-a-file'), require('with-a-field'), require('with-neither')];\n`,
    );
    const run = project.start(['serverless', 'package', '--package', 'package']);
    expect(await run.ends(), run.output()).toBe(0);
    expect(run.output()).toMatch(/with-neither 1\.2\.3 is bundled and states no licence/);
    const licences = async (name: string) => {
      const zip = join(project.folder, 'package', `${name}.zip`);
      const shown = project.start(['unzip', '-p', zip, 'THIRD-PARTY-LICENSES.txt']);
      expect(await shown.ends()).toBe(0);
      return shown.output();
    };
    for (const name of ['reply', 'retry']) {
      const text = await licences(name);
      expect(text).toContain('with-a-file 1.2.3\n\nCopyright of the file');
      expect(text).toContain('with-a-field 1.2.3\n\nLicense: ISC');
      expect(text).toContain('with-neither 1.2.3\n\nIt states no licence');
      for (const ours of ['valibot', '@aws-sdk/client-dynamodb']) expect(text).toContain(ours);
    }
    expect(await licences('webhook')).not.toMatch(/with-/);
  });
});

describe('a robot that cannot be loaded', () => {
  let broken: Project;

  beforeAll(async () => {
    broken = await copyProject();
    await broken.change('robot/robot.ts', (source) => `${source}\nmissing.trim();\n`);
  });
  afterAll(() => broken[Symbol.asyncDispose]());

  test.each([
    'package',
    'invoke local -f webhook -p events/at.json',
    'deploy --stage dev',
    'deploy function -f webhook --stage dev',
  ])('stops %s with the line and no stack of the framework', async (command) => {
    const run = broken.start(['serverless', ...command.split(' ')], SETTINGS);
    expect(await run.ends()).toBe(1);
    expect(run.output()).toMatch(
      /Error:\nrobot\/robot\.ts:\d+:1: ReferenceError: missing is not defined\n/,
    );
    expect(run.output()).not.toMatch(/plugins\/|node_modules|node:internal/);
  });

  test('stops no command that does not need it', async () => {
    const run = broken.start(['serverless', 'print']);
    expect(await run.ends(), run.output()).toBe(0);
  });
});
