import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fold, foldUpTo } from './fold.ts';

/** Every code point that a well-formed text can have. */
function* codePoints(): Generator<string> {
  for (let it = 0; it <= 0x10ffff; it++) {
    if (it < 0xd800 || it > 0xdfff) yield String.fromCodePoint(it);
  }
}

/** The plain definition, which has no bound. */
const isEqual = (text: string, word: string) => fold(text) === fold(word);

/** The same by {@link foldUpTo}, as a route whose only word this is decides it. */
const isFound = (text: string, word: string) => foldUpTo(fold(word).length, text) === fold(word);

describe('for every code point of Unicode', () => {
  const all = [...codePoints()];

  test('the bound finds it repeated in white space, and between a letter and a mark', () => {
    const isMissed = (text: string) => {
      const folded = fold(text);
      return foldUpTo(folded.length, text) !== folded;
    };
    const missed = all.filter(
      (it) => isMissed(`\u3000${it.repeat(5)}\ufeff`) || isMissed(`a${it}\u0345`),
    );
    expect(missed).toEqual([]);
  });

  // A text shrinks by 2 × 4 at most, because the canonical decomposition of its NFKC is its NFKD.
  test('its compatible decomposition has half of its length at least', () => {
    expect(all.filter((it) => it.normalize('NFKD').length < it.length / 2)).toEqual([]);
  });

  test('it is made of at most four times its length', () => {
    expect(all.filter((it) => it.normalize('NFD').length > 4 * it.length)).toEqual([]);
  });

  test('a change of case leaves it as long as it is, or longer', () => {
    expect(all.filter((it) => it.toUpperCase().length < it.length)).toEqual([]);
    expect(all.filter((it) => it.toLowerCase().length < it.length)).toEqual([]);
  });

  test('if it is no white space, it has at most one space at either end once it is normalised', () => {
    const edges = (it: string) => {
      const normalised = it.normalize('NFKC');
      const [before, after] = [normalised.trimStart(), normalised.trimEnd()];
      return Math.max(normalised.length - before.length, normalised.length - after.length);
    };
    expect(all.filter((it) => it.trim() !== '' && edges(it) > 1)).toEqual([]);
    expect(all.filter((it) => it.trim() !== '' && fold(it) === '')).toEqual([]);
  });

  test('if it is white space, it changes nothing beyond itself', () => {
    const spaces = all.filter((it) => it.trim() === '');
    expect(spaces.length).toBeGreaterThan(20);
    for (const it of spaces) {
      for (const text of ['\u0308', 'ΑΣ', 'Σ', 'a', '\u00a8', '\u1100\u1161']) {
        expect(fold(`${it}${text}${it}`), JSON.stringify(it)).toBe(fold(text));
      }
    }
  });
});

describe('foldUpTo', () => {
  /** What shrinks, grows, composes, is reordered or trimmed. */
  const odd = fc.constantFrom(
    ...[...'aAß ΣςσİıǅﬁµK\u00a8\u00b4\u1f82\ufdfa\u3000\ufeff\u00a0\u0301\u0316\u0345\u0313\u03b1'],
    '\u1100\u1161\u11a8',
    '\u03b1\u0313\u0300\u0345',
    '\u{1d400}',
    '\u{1d160}',
    '\ud800',
    '\n',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.array(odd, { maxLength: 40 }).map((all) => all.join('')),
  );

  test('finds equal what the plain definition finds equal, and nothing else', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        for (const word of [other, one, fold(one), one.normalize('NFD'), one.toUpperCase()]) {
          expect(isFound(one, word)).toBe(isEqual(one, word));
        }
      }),
      { numRuns: 5_000, seed: 1 },
    );
  });

  test.each([
    ['\u{1d400}\u030a\u0301', '\u01fa'],
    ['\u1100\u1161\u11a8', '\uac01'],
  ])('reaches a text that shrinks as far as %j', (long, short) => {
    const text = `${' '.repeat(1_000)}\u00a8${long.repeat(50)}\n`;
    expect(isFound(text, `\u00a8${short.repeat(50)}`)).toBe(true);
  });

  test('does not normalise a text that is longer than any that could equal the words', () => {
    expect(foldUpTo(4, `\u0301\u0316${'\u0301\u0316'.repeat(4_000)}`)).toBeUndefined();
    expect(foldUpTo(4, 'x'.repeat(100))).toBeUndefined();
    expect(foldUpTo(4, ` ${'x'.repeat(40)} `)).toBe('x'.repeat(40));
  });
});
