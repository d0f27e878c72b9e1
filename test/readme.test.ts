import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = (file: string) => fileURLToPath(new URL(`../${file}`, import.meta.url));
const read = (file: string) => readFileSync(root(file), 'utf8');

/** What has to be the same in every language. */
function skeleton(text: string) {
  const prose = text.replace(/^```.*?^```/gms, '');
  const all = (pattern: RegExp, of = prose) => [...of.matchAll(pattern)].map(([, it]) => it);
  return {
    headings: all(/^(#+) /gm),
    // Comments and the diagram have words.
    code: all(/^```(?:sh|ts)\n(.*?)^```/gms, text).map((it) => it?.replace(/ +#.*$/gm, '')),
    terms: all(/`([^`]+)`/g).sort(),
    links: all(/\]\(([^)#]+)/g)
      .filter((link) => !link?.startsWith('README'))
      .sort(),
    rows: all(/^(\|)/gm).length,
    items: all(/^(-) /gm).length,
  };
}

test('the Chinese README has what the English one has', () => {
  expect(skeleton(read('README.zh-CN.md'))).toEqual(skeleton(read('README.md')));
});

test.each([
  'README.md',
  'README.zh-CN.md',
  'CONTRIBUTING.md',
  'docs/operations.md',
  'docs/reliability.md',
])('what %s points to is there', (file) => {
  const folder = file.startsWith('docs/') ? 'docs/' : '';
  const files = [...read(file).matchAll(/(?:\]\(|src=")([^)#":]+)[#")]/g)].map(([, it]) => it);
  expect(files.filter((it) => !existsSync(root(`${folder}${it}`)))).toEqual([]);
  const headings = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, it = '']) =>
    it
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
  const anchors = [...read(file).matchAll(/\]\(#([^)]+)\)/g)].map(([, it]) => it);
  expect(anchors.filter((it) => !headings.includes(`${it}`))).toEqual([]);
});
