import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sourcePlace } from './source-map.ts';

const folder = mkdtempSync(join(tmpdir(), 'vvchat-robot-maps-'));
const bundle = join(folder, 'bundle.cjs');
let column: number;

beforeAll(async () => {
  const source = join(folder, 'weather.ts');
  writeFileSync(source, '// 1\n\n  throw new Error("on line 3");');
  await build({ entryPoints: [source], outfile: bundle, minify: true, sourcemap: 'external' });
  column = 7;
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  'at fn (FILE:1:COLUMN)',
  'at async Object.fn [as x] (FILE:1:COLUMN)',
  'at FILE:1:COLUMN',
  'at async file://FILE:1:COLUMN',
])('the place %s is found in the source', (place) => {
  const it = place.replace('FILE', bundle).replace('COLUMN', `${column}`);
  expect(sourcePlace(it)).toBe('at weather.ts:3:9');
});

test.each([
  'at fn (/nowhere/bundle.cjs:1:7)',
  'at fn (node:internal/timers:1:7)',
  'at Array.map (<anonymous>)',
  'at new Promise (<anonymous>)',
  'a text',
])('the place %s stays as it is', (place) => {
  expect(sourcePlace(place)).toBe(place);
});

test('a place before all that the map knows stays as it is', () => {
  const place = `at fn (${bundle}:0:0)`;
  expect(sourcePlace(place)).toBe(place);
});

test('a map that cannot be read is none', () => {
  const broken = join(folder, 'broken.cjs');
  writeFileSync(`${broken}.map`, '{');
  expect(sourcePlace(`at ${broken}:1:1`)).toBe(`at ${broken}:1:1`);
});
