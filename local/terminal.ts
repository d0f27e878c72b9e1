/*
 * What is printed may hold the text of a person, of VVChat or of a file's name. A terminal would obey the escapes in
 * it: write to the clipboard (OSC 52), hide or forge lines (ANSI), or reverse the reading order (bidi controls).
 */

/** Control characters but for line feed and tab, bidi controls, and the separators that start a line. */
const OBEYED = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** The text as it may be printed: what a terminal would obey is shown as JSON writes it. */
export const visible = (text: string): string =>
  text.replace(OBEYED, (it) =>
    it === '\n' || it === '\t' ? it : `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** Shows what this process prints from here on, instead of having the terminal obey it. */
export function printVisibly(
  streams: readonly NodeJS.WriteStream[] = [process.stdout, process.stderr],
): void {
  for (const stream of streams) {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (chunk: unknown, ...more: unknown[]) =>
      write(typeof chunk === 'string' ? visible(chunk) : chunk, ...more);
    // Otherwise Node's console colours what it prints, by escapes too.
    stream.hasColors = () => false;
    stream.getColorDepth = () => 1;
  }
}
