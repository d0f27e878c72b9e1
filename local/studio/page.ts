import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** What a browser loads, each as text. */
export interface Page {
  readonly html: string;
  readonly script: string;
  readonly style: string;
}

const FOLDER = fileURLToPath(new URL('page', import.meta.url));

/** Builds the page. It takes a moment, and only who opens it needs it. */
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
