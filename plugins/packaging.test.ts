import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type BuildResult, build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import packaging, { THIRD_PARTY } from './packaging.ts';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'vvchat-robot-'));
  await write({
    'package.json': '{"name":"the-project"}',
    LICENSE: 'the licence of the project',
    'functions/reply.ts': "import '../robot/robot.ts'; import 'a';",
    'functions/webhook.ts': "import 'a';",
    'robot/robot.ts': "import '@scope/b/modules/b.js'; console.log('robot');",
    ...packageOf('a', '{"version":"1.0.0","license":"MIT"}', { LICENSE: 'Copyright A' }),
  });
});
afterEach(() => rm(root, { recursive: true }));

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
}

function packageOf(name: string, json: string, files: Readonly<Record<string, string>> = {}) {
  const all = {
    'package.json': JSON.stringify({ name, ...JSON.parse(json) }),
    'index.js': `console.log('${name}');`,
    ...files,
  };
  return Object.fromEntries(
    Object.entries(all).map(([file, text]) => [`node_modules/${name}/${file}`, text]),
  );
}

const B = (json: string, files = {}) =>
  packageOf('@scope/b', json, {
    'modules/b.js': "console.log('b');",
    // Of this kind are those that say how modules are loaded.
    'modules/package.json': '{"type":"commonjs"}',
    ...files,
  });

const bundle = (name: string): Promise<BuildResult> =>
  build({
    absWorkingDir: root,
    entryPoints: [`functions/${name}.ts`],
    outdir: join(root, 'work/build/functions'),
    outExtension: { '.js': '.cjs' },
    bundle: true,
    minify: true,
    platform: 'node',
    sourcemap: 'external',
    plugins: [packaging],
    logLevel: 'silent',
  });

const built = (name: string, file = THIRD_PARTY) =>
  readFile(join(root, `work/build/__only_${name}/${file}`), 'utf8');

describe('the licences in a zip', () => {
  test('are those of what is bundled, and of nothing else', async () => {
    await write({
      ...B('{"version":"2.0.0"}', { 'LICENCE.md': 'Copyright B' }),
      ...packageOf('c', '{}'),
    });
    await bundle('reply');
    await bundle('webhook');
    const reply = await built('reply');
    expect(reply).toMatch(/^@scope\/b 2\.0\.0\n\nCopyright B$/m);
    expect(reply).toMatch(/^a 1\.0\.0\n\nCopyright A$/m);
    expect(reply).not.toMatch(/the-project|^c /m);
    expect(await built('webhook')).not.toMatch(/@scope/);
    expect(await built('reply', 'LICENSE')).toBe('the licence of the project');
  });

  test('lack those of a package of which nothing is left in the bundle', async () => {
    const unused = { 'index.js': 'export const unused = 1;' };
    await write({
      ...B('{"license":"ISC"}'),
      ...packageOf('d', '{"version":"4.0.0","license":"ISC"}', unused),
      'robot/robot.ts': "import { unused } from 'd'; import '@scope/b/modules/b.js';",
    });
    await bundle('reply');
    expect(await built('reply')).not.toMatch(/^d 4/m);
  });

  test('are stated once where packages share a text', async () => {
    await write(B('{"version":"2.0.0"}', { LICENSE: 'Copyright A\n' }));
    await bundle('reply');
    expect(await built('reply')).toMatch(/^@scope\/b 2\.0\.0\na 1\.0\.0\n\nCopyright A$/m);
  });

  test('include notices', async () => {
    await write(
      B('{"version":"2.0.0"}', { LICENSE: 'Apache', NOTICE: 'by B', 'licensing.js': '' }),
    );
    await bundle('reply');
    expect(await built('reply')).toMatch(/^@scope\/b 2\.0\.0\n\nApache\n\nby B$/m);
  });

  test.each([
    ['{"version":"2.0.0","license":"ISC"}', 'ISC'],
    ['{"version":"2.0.0","license":{"type":"ISC"}}', 'ISC'],
    ['{"version":"2.0.0","licenses":[{"type":"MIT"},{"type":"ISC"}]}', 'MIT OR ISC'],
  ])('name the licence that %s states, where there is no file', async (json, license) => {
    await write(B(json));
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await bundle('reply');
    expect(await built('reply')).toContain(`@scope/b 2.0.0\n\nLicense: ${license} (it has no`);
    expect(warn).not.toHaveBeenCalled();
  });

  test('lack those of a package that states none, with one warning', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await write(B('{"version":"2.0.0"}'));
    await bundle('reply');
    await bundle('reply');
    expect(await built('reply')).toContain('@scope/b 2.0.0\n\nIt states no licence.');
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/^@scope\/b 2\.0\.0 is bundled and states no licence/)],
    ]);
  });

  test('lack that of the project if it has none', async () => {
    await write(B('{"license":"ISC"}'));
    await rm(join(root, 'LICENSE'));
    await bundle('reply');
    expect(await readdir(join(root, 'work/build/__only_reply'))).toEqual([THIRD_PARTY]);
  });

  test('include a package outside of node_modules, such as one that is linked', async () => {
    const linked = await mkdtemp(join(tmpdir(), 'linked-'));
    await writeFile(join(linked, 'package.json'), '{"name":"linked","version":"3.0.0"}');
    await writeFile(join(linked, 'LICENSE'), 'Copyright linked');
    await mkdir(join(linked, 'source'));
    await writeFile(join(linked, 'source/l.js'), "console.log('l');");
    await write({ 'robot/robot.ts': `import ${JSON.stringify(join(linked, 'source/l.js'))};` });
    await bundle('reply');
    await rm(linked, { recursive: true });
    expect(await built('reply')).toMatch(/^linked 3\.0\.0\n\nCopyright linked$/m);
  });
});

describe('the source map', () => {
  beforeEach(() => write(B('{"license":"ISC"}')));

  test('is beside a bundle with the robot, and names sources from the project', async () => {
    await bundle('reply');
    const text = await readFile(join(root, 'work/build/functions/reply.cjs.map'), 'utf8');
    expect(JSON.parse(text).sources.sort()).toEqual([
      'node_modules/@scope/b/modules/b.js',
      'node_modules/a/index.js',
      'robot/robot.ts',
    ]);
  });

  test('is not beside a bundle without the robot', async () => {
    await bundle('webhook');
    expect(await readdir(join(root, 'work/build/functions'))).toEqual(['webhook.cjs']);
  });
});

test.each([
  ['for npm start', { sourcemap: 'inline', outdir: 'work/build/functions' }],
  ['of one file', { sourcemap: 'external', outfile: 'work/build/functions/reply.cjs' }],
] as const)('a build %s gets neither', async (_, options) => {
  await write(B('{"license":"ISC"}'));
  await build({
    absWorkingDir: root,
    entryPoints: ['functions/reply.ts'],
    bundle: true,
    plugins: [packaging],
    logLevel: 'silent',
    ...options,
  });
  expect(await readdir(join(root, 'work/build'))).toEqual(['functions']);
});

test('a build that fails gets neither', async () => {
  await write({ 'robot/robot.ts': 'konst' });
  await write({ 'functions/reply.ts': "import './missing.ts';" });
  await expect(bundle('reply')).rejects.toThrow(/missing/);
  expect(await readdir(root)).not.toContain('work');
});
