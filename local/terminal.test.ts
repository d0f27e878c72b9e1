import { expect, test } from 'vitest';
import { printVisibly, visible } from './terminal.ts';

test.each([
  ['a colour', 'a\u001b[31mb', 'a\\u001b[31mb'],
  ['a write to the clipboard', '\u001b]52;c;cm0=\u0007', '\\u001b]52;c;cm0=\\u0007'],
  ['an escape in one character', '\u009b2J\u009d52;c;x\u009c', '\\u009b2J\\u009d52;c;x\\u009c'],
  ['a return to the start of the line', 'a\rb', 'a\\u000db'],
  ['a deletion', 'a\u0008\u007f', 'a\\u0008\\u007f'],
  [
    'a change of the reading order',
    '\u202egnp.\u2066\u2069\u200f',
    '\\u202egnp.\\u2066\\u2069\\u200f',
  ],
  ['a line separator', 'a\u2028b\u2029c\u0085d', 'a\\u2028b\\u2029c\\u0085d'],
])('%s is shown', (_, text, shown) => {
  expect(visible(text)).toBe(shown);
});

test.each(['您好\n\t× 👩‍👩‍👧 naïve עברית नमस्ते', '\\u001b'])('%j is printed as it is', (text) => {
  expect(visible(text)).toBe(text);
});

test('JSON that is shown is still the same JSON', () => {
  const value = { text: '\u001b]52;\u009b\u202e\u2028\u007f' };
  expect(JSON.parse(visible(JSON.stringify(value, null, 2)))).toEqual(value);
});

test('all that a process prints is shown, without colours', () => {
  const written: unknown[][] = [];
  const stream = {
    write: (...args: unknown[]) => written.push(args) > 0,
    getColorDepth: () => 24,
    hasColors: () => true,
  };
  printVisibly([stream as unknown as NodeJS.WriteStream]);
  const done = () => {};
  expect(Reflect.apply(stream.write, undefined, ['a\u001b[2Jb\n', 'utf8', done])).toBe(true);
  stream.write(Buffer.from('c'));
  expect(written).toEqual([['a\\u001b[2Jb\n', 'utf8', done], [Buffer.from('c')]]);
  expect([stream.getColorDepth(), stream.hasColors()]).toEqual([1, false]);
});
