import type { Spread } from './statistics.ts';

/** A part of the report. */
export interface Section {
  readonly markdown: string;
  readonly verdicts: readonly Verdict[];
}

/** Whether something that is aimed at was reached. */
export interface Verdict {
  readonly what: string;
  readonly holds: boolean;
  /** The run fails by it. */
  readonly isRule?: boolean;
}

/** A table in Markdown; columns whose name begins with `>` are aligned to the right. */
export function table(names: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = names.map((name) => name.replace(/^>/, ''));
  const widths = head.map((_, i) =>
    Math.max(3, ...[head, ...rows].map((row) => row[i]?.length ?? 0)),
  );
  const isRight = (i: number) => names[i]?.startsWith('>');
  const line = (row: readonly string[]) => {
    const cells = widths.map((width, i) => {
      const cell = row[i] ?? '';
      return isRight(i) ? cell.padStart(width) : cell.padEnd(width);
    });
    return `| ${cells.join(' | ')} |`;
  };
  const rule = widths.map((width, i) =>
    isRight(i) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** The median, and the quartiles in brackets. */
export const shown = ({ q1, median, q3 }: Spread, digits: number): string =>
  `${median.toFixed(digits)} [${q1.toFixed(digits)}–${q3.toFixed(digits)}]`;

/** Bytes in kilobytes of 1000. */
export const kilobytes = (bytes: number): string => `${(bytes / 1_000).toFixed(1)} KB`;

const BEGIN = '<!-- figures -->';
const END = '<!-- /figures -->';

/**
 * A document with other figures between its two comments.
 *
 * @throws {Error} when it does not have them, once each and in this order
 */
export function withFigures(document: string, figures: string): string {
  const [before = '', rest, ...more] = document.split(BEGIN);
  const [, after, ...others] = rest?.split(END) ?? [];
  if (after === undefined || more.length > 0 || others.length > 0) {
    throw new Error(`The document needs ${BEGIN} and, after it, ${END}, once each.`);
  }
  return `${before}${BEGIN}\n\n${figures.trim()}\n\n${END}${after}`;
}
