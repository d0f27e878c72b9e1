import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildResult, build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { esbuildSettings } from '../bench/bundling.ts';
import { copyProject } from '../test/project.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CLIENT = 'node_modules/@aws-sdk/client-dynamodb';

const { version } = JSON.parse(await readFile(join(ROOT, CLIENT, 'package.json'), 'utf8'));

/** A folder whose client of DynamoDB a test can change; all other packages are the installed ones. */
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-sdk-'));
  await mkdir(join(folder, 'node_modules/@aws-sdk'), { recursive: true });
  for (const name of ['@aws-sdk/core', '@aws-sdk/middleware-endpoint-discovery', '@smithy']) {
    await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
  }
  await cp(join(ROOT, CLIENT, 'package.json'), join(folder, CLIENT, 'package.json'), {
    recursive: true,
  });
  await cp(join(ROOT, CLIENT, 'dist-es'), join(folder, CLIENT, 'dist-es'), { recursive: true });
});
afterEach(() => rm(folder, { recursive: true }));

const change = async (module: string, edit: (source: string) => string) => {
  const file = join(folder, CLIENT, 'dist-es', module);
  await writeFile(file, edit(await readFile(file, 'utf8')));
};

async function useInstalledPackages(): Promise<void> {
  await rm(join(folder, 'node_modules'), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
}

/** Bundles a module as if it stood in a file of the project. */
const bundle = async (file: string, contents: string): Promise<BuildResult> =>
  build({
    ...(await esbuildSettings()),
    // Nothing is written, so that there is no place for a map.
    sourcemap: false,
    absWorkingDir: ROOT,
    stdin: { contents, sourcefile: join(ROOT, file), resolveDir: folder },
    write: false,
    logLevel: 'silent',
  });

const USE = `
  import { DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
  export const get = () => new DynamoDBClient().send(new GetItemCommand({}));
`;

const faultOf = (contents = USE) =>
  bundle('lib/aws/made-up.ts', contents).then(
    () => undefined,
    ({ errors: [error] }) => error.text as string,
  );

describe('a build', () => {
  test('passes with the SDK as it is pinned', async () => {
    expect(await faultOf()).toBeUndefined();
  });

  test('fails when a module has another name', async () => {
    const dist = join(folder, CLIENT, 'dist-es');
    await rename(join(dist, 'runtimeExtensions.js'), join(dist, 'extensions.js'));
    await change('DynamoDBClient.js', (it) =>
      it.replace('"./runtimeExtensions"', '"./extensions"'),
    );
    const fault = await faultOf();
    expect(fault).toContain(
      `@aws-sdk/client-dynamodb ${version}: dist-es/DynamoDBClient.js no longer imports ./runtimeExtensions\n`,
    );
    expect(fault).toMatch(/client-dynamodb [\d.]+: \d+ bytes .*dist-es\/extensions\.js/);
  });

  test('fails when the shapes of the commands have moved', async () => {
    const dist = join(folder, CLIENT, 'dist-es');
    await cp(join(dist, 'schemas/schemas_0.js'), join(dist, 'schemas/shapes.js'));
    for (const command of ['GetItem', 'DescribeEndpoints']) {
      await change(`commands/${command}Command.js`, (it) => it.replace('schemas_0', 'shapes'));
    }
    const fault = await faultOf();
    expect(fault).toContain(
      `${version}: dist-es/commands/GetItemCommand.js no longer imports ../schemas/schemas_0\n`,
    );
    expect(fault).toContain('dist-es/schemas/shapes.js');
  });

  test('fails when a client needs one more module', async () => {
    await change(
      'DynamoDBClient.js',
      (it) =>
        `import { sha256 } from 'a-new-package';\n${it.replace('super(', 'sha256(); super(')}`,
    );
    await mkdir(join(folder, 'node_modules/a-new-package'));
    const write = (file: string, text: string) =>
      writeFile(join(folder, 'node_modules/a-new-package', file), text);
    await write('package.json', '{"name":"a-new-package","version":"1.2.3"}');
    await write('index.js', 'export const sha256 = () => { throw new Error("no"); };');
    expect(await faultOf()).toMatch(/\n {2}a-new-package 1\.2\.3: \d+ bytes .*: index\.js\n/);
  });

  test('fails when lib/ imports a client past the plugin', async () => {
    await useInstalledPackages();
    const fault = await faultOf(USE.replace('client-dynamodb', 'client-dynamodb/dist-es/index.js'));
    expect(fault).toContain(
      '\n  lib/aws/made-up.ts imports a client of which no part was replaced\n',
    );
  });

  test('fails when a client imports something that the stubs lack', async () => {
    await change('DynamoDBClient.js', (it) =>
      it
        .replace('import { resolveRegionConfig }', 'import { resolveRegionConfig, resolveMore }')
        .replace('resolveRegionConfig(_config_4)', 'resolveMore(resolveRegionConfig(_config_4))'),
    );
    expect(await faultOf()).toMatch(/No matching export in .*stubs\.ts" for import "resolveMore"/);
  });
});

test("a robot's own client is the SDK's as it comes, beside the reduced one", async () => {
  await useInstalledPackages();
  const own = `
    import { DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
    import { S3Client } from '@aws-sdk/client-s3';
    export const s3 = new S3Client({});
    export const put = () => new DynamoDBClient({}).send(new PutItemCommand({}));
  `;
  await writeFile(join(folder, 'own.js'), own);
  const { metafile } = await bundle('lib/aws/made-up.ts', `${USE}export * from './own.js';`);
  const inputs = Object.values(metafile?.outputs ?? {}).flatMap((it) => Object.entries(it.inputs));
  const clients = inputs
    .filter(([path, it]) => it.bytesInOutput > 0 && /\w+Client\.js$/.test(path))
    .map(([path]) => path.replace(/(^[\w-]+:)?.*\//, '$1'));
  expect(clients.filter((it) => !/sso|sts|signin|cognito/i.test(it)).sort()).toEqual([
    'DynamoDBClient.js',
    'S3Client.js',
    'aws-sdk-reduced:DynamoDBClient.js',
  ]);
});

test.each([
  ['packaging', ['serverless', 'package']],
  ['invoke local', ['serverless', 'invoke', 'local', '-f', 'retry', '-p', 'events/retry.json']],
  ['npm start', ['npm', 'start']],
])('%s ends with the message and exit code 1 when the SDK has moved', async (_, command) => {
  await using project = await copyProject();
  // The plugin and the SDK differ, whichever of the two has moved.
  await project.change('plugins/esbuild.ts', (it) =>
    it.replace("'./runtimeExtensions'", "'./runtimeAdditions'"),
  );
  const run = project.start(command);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toContain(
    `client-dynamodb ${version}: dist-es/DynamoDBClient.js no longer imports ./runtimeAdditions`,
  );
});
