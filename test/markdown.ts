/** What the tests of the documents look at in a Markdown file. */
export interface Markdown {
  readonly headings: readonly Heading[];
  readonly blocks: readonly Block[];
  /** Targets of links and images. */
  readonly links: readonly string[];
  /** What is set as code within the text. */
  readonly terms: readonly string[];
  readonly rows: number;
  readonly items: number;
}

export interface Heading {
  readonly level: number;
  /** Under which GitHub links to it. */
  readonly anchor: string;
}

/** Fenced code. */
export interface Block {
  readonly language: string;
  readonly code: string;
  /** The line of the file on which the code begins, from 1. */
  readonly line: number;
}

export function parseMarkdown(text: string): Markdown {
  const { blocks, prose } = split(text);
  const plain = prose.replace(/`[^`]*`/g, '');
  return {
    headings: headingsIn(prose),
    blocks,
    links: [...plain.matchAll(/\]\(([^)\s]+)|\bsrc="([^"]+)"/g)].map(([, a, b]) => `${a ?? b}`),
    terms: [...prose.matchAll(/`([^`]+)`/g)].map(([, term]) => `${term}`),
    rows: [...prose.matchAll(/^ *\|/gm)].length,
    items: [...prose.matchAll(/^ *(?:-|\d+\.) /gm)].length,
  };
}

/** Code without its comments, which are written in the language of the document. */
export const withoutComments = ({ language, code }: Block): string =>
  code
    .replace(language === 'ts' ? /(?:^|\s+)\/\/ .*$/gm : /(?:^|\s+)# .*$/gm, '')
    .replace(/^\s*\n/gm, '')
    .trim();

/** What is wrong with a diagram, if anything: its type is unknown, or brackets or quotes do not match. */
export function faultInDiagram(code: string): string | undefined {
  const [type = ''] = code.trim().split(/\s/, 1);
  if (!DIAGRAMS.has(type)) return `"${type}" is no type of diagram.`;
  const text = code.replace(ARROW, ' ');
  if ((text.match(/"/g) ?? []).length % 2 === 1) return 'A quote is not closed.';
  const open: string[] = [];
  for (const bracket of text.replace(/"[^"]*"/g, '').match(/[()[\]{}]/g) ?? []) {
    const opening = PAIRS.get(bracket);
    if (opening === undefined) open.push(bracket);
    else if (open.pop() !== opening) return `A "${bracket}" closes nothing.`;
  }
  return open.length > 0 ? `A "${open.at(-1)}" is not closed.` : undefined;
}

/** Some arrows of sequences end with a bracket. */
const ARROW = /--?(?:>>?|[x)])/g;

const DIAGRAMS = new Set(['flowchart', 'sequenceDiagram', 'stateDiagram-v2', 'gantt']);

const PAIRS = new Map([
  [')', '('],
  [']', '['],
  ['}', '{'],
]);

/** The code blocks, and what is left of the text without them. */
function split(text: string): { blocks: Block[]; prose: string } {
  const blocks = [...text.matchAll(FENCED)].map(
    ({ 1: indent = '', 2: language = '', 3: lines = '', index }) => ({
      language,
      code: lines.replace(new RegExp(`^${indent}`, 'gm'), '').trimEnd(),
      line: text.slice(0, index).split('\n').length + 1,
    }),
  );
  return { blocks, prose: text.replace(FENCED, '') };
}

const FENCED = /^( *)```(\w*)\n(.*?)^\1```$/gms;

/** Equal headings get a number each, as on GitHub. */
function headingsIn(prose: string): Heading[] {
  const seen = new Map<string, number>();
  return [...prose.matchAll(/^(#+) (.*)$/gm)].map(([, hashes = '', text = '']) => {
    const slug = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return { level: hashes.length, anchor: count === 0 ? slug : `${slug}-${count}` };
  });
}
