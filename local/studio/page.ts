import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** The files of the page, as text. */
export interface Page {
  readonly html: string;
  readonly script: string;
  readonly style: string;
}

const FOLDER = fileURLToPath(new URL('page', import.meta.url));

/** Builds the page. */
export async function buildPage(): Promise<Page> {
  const [html, { outputFiles }] = await Promise.all([
    readFile(`${FOLDER}/index.html`, 'utf8'),
    build({
      entryPoints: [`${FOLDER}/main.tsx`, `${FOLDER}/style.css`],
      outdir: FOLDER,
      bundle: true,
      minify: true,
      write: false,
      format: 'esm',
      target: 'es2022',
      jsx: 'automatic',
      jsxImportSource: 'preact',
      logLevel: 'silent',
    }),
  ]);
  const built = (suffix: string) =>
    outputFiles.find(({ path }) => path.endsWith(suffix))?.text ?? '';
  return { html, script: built('.js'), style: built('.css') };
}
