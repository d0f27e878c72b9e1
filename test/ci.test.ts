import { readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import packageJson from '../package.json' with { type: 'json' };
import lockfile from '../package-lock.json' with { type: 'json' };

/*
 * What runs on GitHub, as far as it can be checked here; and the Node version that all of it shares.
 */

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly environment?: string;
  readonly needs?: string;
  readonly steps: readonly Step[];
}

interface Workflow {
  // biome-ignore lint/suspicious/noExplicitAny: each event has its own
  readonly on: any;
  readonly permissions: Readonly<Record<string, string>>;
  readonly concurrency: Readonly<Record<string, unknown>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const root = (file: string) => fileURLToPath(new URL(`../${file}`, import.meta.url));
const read = (file: string) => readFileSync(root(file), 'utf8');
const workflow = (file: string): Workflow => parse(read(`.github/workflows/${file}`));
const commandsOf = ({ steps }: Job) => steps.flatMap(({ run }) => run ?? []);

describe.each(readdirSync(root('.github/workflows')))('the workflow %s', (file) => {
  const { permissions, jobs } = workflow(file);
  const steps = Object.values(jobs).flatMap((job) => job.steps);

  test('it may only read the repository unless a job says otherwise', () => {
    expect(permissions).toEqual({ contents: 'read' });
  });

  test('it puts no expression, and so no secret or input, into a shell command', () => {
    const commands = steps.flatMap(({ run }) => run ?? []);
    expect(commands).not.toEqual([]);
    expect(commands.filter((it) => it.includes('${{'))).toEqual([]);
  });

  test('it pins every action, and keeps no credentials in a checkout', () => {
    for (const step of steps.filter(({ uses }) => uses)) {
      expect(step.uses).toMatch(/^[\w-]+\/[\w-]+@(?:v\d+|[\da-f]{40})$/);
      if (step.uses?.startsWith('actions/checkout@')) {
        expect(step.with).toEqual({ 'persist-credentials': false });
      }
    }
  });
});

describe('ci.yml', () => {
  const { on, jobs } = workflow('ci.yml');

  test('it runs for pull requests, for pushes to main, and weekly', () => {
    expect(on).toMatchObject({ pull_request: null, push: { branches: ['main'] } });
    const [{ cron }] = on.schedule;
    expect(cron).toMatch(/^\d+ \d+ \* \* \d$/);
  });

  test('it calls .ci/run, which runs every test on a fresh installation', () => {
    expect(commandsOf(jobs.test as Job)).toEqual(['.ci/run']);
    expect(statSync(root('.ci/run')).mode & 0o111).not.toBe(0);
    expect(read('.ci/run').match(/^npm .*$/gm)).toEqual(['npm ci', 'npm test', 'npm run test:all']);
  });
});

describe('deploy.yml', () => {
  const { on, concurrency, jobs } = workflow('deploy.yml');
  const { test: tests, deploy } = jobs as { readonly test: Job; readonly deploy: Job };

  test('it starts by hand only, for a stage that must be given', () => {
    expect(Object.keys(on)).toEqual(['workflow_dispatch']);
    expect(on.workflow_dispatch.inputs.stage).toMatchObject({ required: true });
  });

  test('it never runs twice at once for a stage, and finishes what it began', () => {
    expect(concurrency).toEqual({
      // biome-ignore lint/suspicious/noTemplateCurlyInString: GitHub's
      group: 'deploy-${{ inputs.stage }}',
      'cancel-in-progress': false,
    });
  });

  test('it tests before it deploys', () => {
    expect(commandsOf(tests)).toEqual(['npm ci', 'npm test']);
    expect(deploy.needs).toBe('test');
    expect(commandsOf(deploy).at(-1)).toBe('npx serverless deploy --stage "$STAGE"');
  });

  test('it signs in to AWS by OIDC, in the job that deploys and for the environment of the stage', () => {
    expect(tests).not.toHaveProperty('permissions');
    expect(deploy).toMatchObject({
      permissions: { contents: 'read', 'id-token': 'write' },
      // biome-ignore lint/suspicious/noTemplateCurlyInString: GitHub's
      environment: '${{ inputs.stage }}',
    });
    const signIn = deploy.steps.find(({ uses }) =>
      uses?.startsWith('aws-actions/configure-aws-credentials@'),
    );
    expect(Object.keys(signIn?.with ?? {})).toEqual(['role-to-assume', 'aws-region']);
  });

  test('it hands every secret to one step alone, as an environment variable', () => {
    expect(read('.github/workflows/deploy.yml').match(/secrets\.\w+/g)).toEqual([
      'secrets.WEBHOOK_TOKEN_SHA256',
    ]);
    expect(deploy.steps.at(-1)?.env).toMatchObject({
      // biome-ignore lint/suspicious/noTemplateCurlyInString: GitHub's
      WEBHOOK_TOKEN_SHA256: '${{ secrets.WEBHOOK_TOKEN_SHA256 }}',
    });
  });
});

describe('Node', () => {
  const { provider, custom } = parse(read('serverless.yml'), { logLevel: 'silent' });
  const major = /^nodejs(\d+)\.x$/.exec(provider.runtime)?.[1];

  test('every tool uses the major version of the runtime on Lambda', () => {
    expect(read('.node-version').trim()).toBe(major);
    expect(custom.esbuild.target).toBe(`node${major}`);
    for (const range of Object.values(packageJson.optionalDependencies)) {
      expect(range).toMatch(new RegExp(`^\\^${major}\\.`));
    }
  });

  test('its binary comes with the lockfile for each platform, without an install script', () => {
    for (const name of Object.keys(packageJson.optionalDependencies)) {
      const entry = (lockfile.packages as Record<string, object>)[`node_modules/${name}`];
      expect(entry, name).toMatchObject({
        version: expect.stringMatching(new RegExp(`^${major}\\.`)),
        integrity: expect.stringMatching(/^sha512-/),
        os: expect.any(String),
        cpu: expect.any(String),
        bin: { node: expect.stringMatching(/^bin\/node/) },
      });
      expect(entry, name).not.toHaveProperty('hasInstallScript');
    }
  });

  test('allowScripts names only packages that have an install script', () => {
    const scripted = Object.entries(lockfile.packages)
      .filter(([, entry]) => 'hasInstallScript' in entry && entry.hasInstallScript)
      .map(([path]) => path.replace(/^.*node_modules\//, ''));
    expect(scripted).toEqual(expect.arrayContaining(Object.keys(packageJson.allowScripts)));
  });
});
