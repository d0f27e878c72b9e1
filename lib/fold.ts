/**
 * What is left of words and texts when they are compared: no case, no width, no white space around. Upper-casing first
 * unites what lower-casing alone keeps apart, such as ß and ss.
 */
export const fold = (text: string): string =>
  text.normalize('NFKC').toUpperCase().toLowerCase().trim();

/**
 * Folds a text that could equal one of some words. Normalising takes time by the square of a text's length (0.3 s for
 * 64 KiB of combining marks), so a text that is too long for all of them is left alone.
 *
 * @param longest the length of the longest of the words, folded
 * @returns `undefined` for a text that is longer than any that folds to `longest` characters
 */
export function foldUpTo(longest: number, text: string): string | undefined {
  const trimmed = text.trim();
  return trimmed.length > MAX_SHRINKING * (longest + MAX_EDGES) ? undefined : fold(trimmed);
}

/**
 * By how much a text may shrink, in UTF-16 units: by 2, where a pair of surrogates becomes a letter (𝐀 to A), and by 4,
 * where a letter and its marks become one character (ᾂ). A change of case never shrinks. lib/fold.test.ts proves these
 * for each code point.
 */
const MAX_SHRINKING = 8;

/** What the last trim may take away: the spaces with which characters such as ¨ begin, or end, once normalised. */
const MAX_EDGES = 2;
