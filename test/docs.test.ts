import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { type Block, faultInDiagram, parseMarkdown, withoutComments } from './markdown.ts';
import { copyProject } from './project.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const parse = (file: string) => parseMarkdown(read(file));

/** An author may replace the README. One with another title is theirs, and not checked. */
const isOurs = (file: string) =>
  existsSync(join(ROOT, file)) &&
  (dirname(file) !== '.' || !/^README/.test(file) || hasTitle(file));
const hasTitle = (file: string) => read(file).startsWith('# vvchat-robot\n');

const DOCUMENTS = globSync('{*,docs/**/*}.md', { cwd: ROOT })
  .map((file) => file.replaceAll('\\', '/'))
  .filter(isOurs)
  .sort();
const PAIRS = [
  ['README.md', 'README.zh-CN.md'],
  ['docs/replies.md', 'docs/replies.zh-CN.md'],
].filter((pair) => pair.every(isOurs)) as [string, string][];

test('the checks cover the documents', () => {
  expect(DOCUMENTS).toEqual(expect.arrayContaining(['docs/replies.md', 'docs/architecture.md']));
});

test.each(['README.md'].filter(isOurs))('%s has at most 700 words', (file) => {
  expect(read(file).split(/\s+/).filter(Boolean).length).toBeLessThanOrEqual(700);
});

test('parseMarkdown reads headings, code, links, terms, rows and items', () => {
  const text = [
    '# A title',
    'See [`a`](b.md#c), <img src="d.png">, and `e](f)`.',
    '- one',
    '  ```sh',
    '  # no heading [nor](link)',
    '  npm ci   # a comment',
    '  ```',
    '| a | b |',
    '# A title',
  ];
  const { blocks, ...rest } = parseMarkdown(text.join('\n'));
  expect(rest).toEqual({
    headings: [
      { level: 1, anchor: 'a-title' },
      { level: 1, anchor: 'a-title-1' },
    ],
    links: ['b.md#c', 'd.png'],
    terms: ['a', 'e](f)'],
    rows: 1,
    items: 1,
  });
  const code = '# no heading [nor](link)\nnpm ci   # a comment';
  expect(blocks).toEqual([{ language: 'sh', code, line: 5 }]);
  expect(blocks.map(withoutComments)).toEqual(['npm ci']);
});

test.each(PAIRS)('%s and %s have the same sections, commands, code and links', (one, other) => {
  expect(skeletonOf(other)).toEqual(skeletonOf(one));
});

/** Code that is the same in both languages of a document. Other blocks hold prose. */
const CODE = new Set(['sh', 'ts', 'yaml', 'json']);

function skeletonOf(file: string) {
  const { headings, blocks, links, terms, rows, items } = parse(file);
  const sameInAll = (link: string) => link.replace('.zh-CN.md', '.md').replace(/#.*/, '');
  return {
    headings: headings.map(({ level }) => level),
    blocks: blocks.map(({ language }) => language),
    code: blocks.filter(({ language }) => CODE.has(language)).map(withoutComments),
    links: [...new Set(links.map(sameInAll))].sort(),
    terms: [...new Set(terms)].sort(),
    rows,
    items,
  };
}

/** From a file of the root, to a page that GitHub has beside the files. */
const ON_GITHUB = '../../actions/';

describe('links', () => {
  test.each(DOCUMENTS)('%s has no broken link', (file) => {
    expect(parse(file).links.filter((link) => !leadsSomewhere(file, link))).toEqual([]);
  });

  test('a broken link is found', () => {
    const leads = (link: string) => leadsSomewhere('docs/replies.md', link);
    expect(leads('operations.md')).toBe(true);
    expect(leads('#routes')).toBe(true);
    expect(leads('../CONTRIBUTING.md#contributing')).toBe(true);
    expect(leads('missing.md')).toBe(false);
    expect(leads('#missing')).toBe(false);
    expect(leads('../CONTRIBUTING.md#missing')).toBe(false);
  });
});

function leadsSomewhere(file: string, link: string): boolean {
  if (/^(?:https?|mailto):/.test(link) || link.startsWith(ON_GITHUB)) return true;
  const [path = '', anchor] = link.split('#', 2);
  const target = path === '' ? file : normalize(join(dirname(file), decodeURIComponent(path)));
  if (!existsSync(join(ROOT, target))) return false;
  if (anchor === undefined) return true;
  return parse(target).headings.some((it) => it.anchor === decodeURIComponent(anchor));
}

describe('names', () => {
  test.each(DOCUMENTS)('%s names only files and commands that exist', (file) => {
    const { terms, blocks } = parse(file);
    const paths = terms.filter((term) => PATH.test(term) && !existsSync(join(ROOT, term)));
    const commands = [...terms, ...blocks.map(({ code }) => code)]
      .flatMap((text) => [...text.matchAll(/\bnpm run ([\w:-]+)/g)])
      .map(([, name]) => `${name}`)
      .filter((name) => !Object.hasOwn(SCRIPTS, name));
    expect([...paths, ...commands]).toEqual([]);
  });
});

/** A file or folder of the project's; robot/ is the author's. */
const PATH = /^(?:bench|docs|events|functions|lib|local|ops|plugins|resources|test)\/[\w./-]*$/;
const SCRIPTS: object = JSON.parse(read('package.json')).scripts;

describe('alarms', () => {
  const { Resources } = parseYaml(read('resources/alarms.yml'), { logLevel: 'silent' });
  const alarms = (Object.values(Resources) as Resource[])
    .filter(({ Type }) => Type === 'AWS::CloudWatch::Alarm')
    .map(({ Properties: { AlarmName, AlarmDescription } }) => ({
      name: AlarmName.replace(/^.*\}-/, ''),
      description: AlarmDescription,
    }));
  const runbooks = read('docs/runbooks.md');

  test('the checks cover the alarms', () => {
    expect(alarms.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['failures', 'robot-errors']),
    );
  });

  test.each(alarms)('the description of $name leads to a runbook', ({ description }) => {
    const [, name] = /Runbook "([^"]+)" in docs\/runbooks\.md\.$/.exec(description) ?? [];
    expect(runbooks).toContain(`\n## ${name}\n`);
  });

  const [start] = /\n## Start here\n.*?(?=\n## )/s.exec(runbooks) ?? [];

  test.each(alarms)('the start of the runbooks has a place for $name', ({ name }) => {
    expect(start).toContain(`\`${name}\``);
  });
});

interface Resource {
  readonly Type: string;
  readonly Properties: { readonly AlarmName: string; readonly AlarmDescription: string };
}

describe('the options of the commands', () => {
  test.each(['docs/runbooks.md', 'docs/operations.md'])(
    '%s types only those that exist',
    (file) => {
      const { terms, blocks } = parse(file);
      const typed = [...terms, ...blocks.map(withoutComments)].flatMap((text) => [
        ...text.matchAll(/npm run (\w+) --( [^\n;&|]*)/g),
      ]);
      expect(typed.length).toBeGreaterThan(0);
      const unknown = typed.flatMap(([, name, options]) => {
        const known = `${read(`ops/${name}.ts`)}${read('ops/command-line.ts')}`;
        return [...`${options}`.matchAll(/ (--[a-z-]+)/g)]
          .filter(([, option]) => !new RegExp(`'${option}[ ']`).test(known))
          .map(([, option]) => `${name} ${option}`);
      });
      expect(unknown).toEqual([]);
    },
  );
});

describe('diagrams', () => {
  const diagrams = DOCUMENTS.flatMap((file) =>
    parse(file)
      .blocks.filter(({ language }) => language === 'mermaid')
      .map(({ code, line }) => ({ place: `${file}:${line}`, code })),
  );

  test.each(diagrams)('$place is well formed', ({ code }) => {
    expect(faultInDiagram(code)).toBeUndefined();
  });

  test.each([
    ['graf LR\n a --> b', '"graf" is no type of diagram.'],
    ['flowchart LR\n a[b --> c', 'A "[" is not closed.'],
    ['flowchart LR\n a[(b]) --> c', 'A "]" closes nothing.'],
    ['flowchart LR\n a["b] --> c', 'A quote is not closed.'],
    ['flowchart LR\n a["(b"] -->|c| d([e])', undefined],
  ])('the fault in %j is: %s', (code, fault) => {
    expect(faultInDiagram(code)).toBe(fault);
  });
});

describe('TypeScript in the documents', () => {
  const sources = ['README*.md', 'docs/replies*.md']
    .flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
    .filter(isOurs)
    .map((file) => ({
      file,
      blocks: parse(file).blocks.filter(({ language }) => language === 'ts'),
    }));

  test('every block compiles when it is pasted', async () => {
    expect(sources.flatMap(({ blocks }) => blocks).length).toBeGreaterThan(0);
    expect(await compile(sources)).toBe('');
  });

  test('an error is reported with its place in the document', async () => {
    const code = "import { sendText } from 'vvchat-robot';\nsendText(1);";
    const block = { language: 'ts', code, line: 10 };
    expect(await compile([{ file: 'a.md', blocks: [block] }])).toMatch(
      /^a\.md:11:10: error TS2345/,
    );
  });
});

interface Source {
  readonly file: string;
  readonly blocks: readonly Block[];
}

/**
 * Compiles every block as a module of its own, by the project's settings, in a copy of the project: there the
 * package's own name leads to lib/, and nothing is left behind in the project itself. Blocks of one document can
 * import each other: a block that begins with `// robot/weather.ts` is `./weather.ts` to the others.
 *
 * @returns the compiler's errors, with their places in the documents
 */
async function compile(sources: readonly Source[]): Promise<string> {
  await using project = await copyProject();
  const places = new Map<string, { file: string; line: number }>();
  for (const { file, blocks } of sources) {
    const folder = `blocks/${file.replace(/\W/g, '-')}`;
    await mkdir(join(project.folder, folder), { recursive: true });
    for (const { code, line } of blocks) {
      const [, name = ''] = /^\/\/ robot\/([\w.-]+\.ts)\n/.exec(code) ?? [];
      const isTaken = name === '' || places.has(`${folder}/${name}`);
      const path = `${folder}/${isTaken ? `line-${line}.ts` : name}`;
      places.set(path, { file, line });
      await writeFile(join(project.folder, path), `${code}\n`);
    }
  }
  const settings = { extends: '../tsconfig.json', include: ['.'], exclude: [] };
  await writeFile(join(project.folder, 'blocks/tsconfig.json'), JSON.stringify(settings));
  const run = project.start(['tsc', '-p', 'blocks', '--pretty', 'false']);
  await run.ends();
  return run
    .output()
    .trim()
    .replace(/^(\S+)\((\d+),(\d+)\)/gm, (all, path, line, column) => {
      const place = places.get(path);
      return place ? `${place.file}:${place.line + Number(line) - 1}:${column}` : all;
    });
}
