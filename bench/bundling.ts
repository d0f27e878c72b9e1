import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type BuildOptions, build } from 'esbuild';
import { parse } from 'yaml';
import { bundleSettings } from '../plugins/robot.ts';

const ROOT = new URL('../', import.meta.url);

/** A handler in one file. */
export interface Bundle {
  readonly file: string;
  readonly bytes: number;
  /** By gzip at its best, level 9. */
  readonly gzipBytes: number;
  /** The bytes that come from each package; this project's are those of `vvchat-robot`. */
  readonly byPackage: ReadonlyMap<string, number>;
  /** The files that it is made of, as paths from the project's folder; of the SDK's, their namespace comes first. */
  readonly files: readonly string[];
}

/** How a handler is bundled. */
export interface Bundling {
  /** Whether with the project's plugins. */
  readonly own: boolean;
  /** Expressions, such as `process.env.NAME`, and the JavaScript in their place. */
  readonly define?: Readonly<Record<string, string>>;
}

/**
 * How `serverless package` bundles the functions.
 *
 * @throws {Error} when serverless.yml or the file of the plugins cannot be read
 */
export async function esbuildSettings(): Promise<BuildOptions> {
  const text = await readFile(new URL('serverless.yml', ROOT), 'utf8');
  const { esbuild } = parse(text, { logLevel: 'silent' }).custom;
  return bundleSettings(esbuild, fileURLToPath(ROOT));
}

/**
 * Bundles a handler as `serverless package` does.
 *
 * @param entryPoint a path from the project's folder
 * @throws {Error} with esbuild's findings
 */
export async function bundled(
  entryPoint: string,
  outfile: string,
  { own, define = {} }: Bundling,
): Promise<Bundle> {
  const { plugins = [], ...settings } = await esbuildSettings();
  const { metafile } = await build({
    ...settings,
    plugins: own ? plugins : [],
    define,
    absWorkingDir: fileURLToPath(ROOT),
    entryPoints: [entryPoint],
    outfile,
    metafile: true,
    logLevel: 'warning',
  });
  const bytes = await readFile(pathToFileURL(outfile));
  const byPackage = new Map<string, number>();
  const files: string[] = [];
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      if (bytesInOutput > 0) files.push(path);
      const name = packageOf(path);
      byPackage.set(name, (byPackage.get(name) ?? 0) + bytesInOutput);
    }
  }
  return {
    file: outfile,
    bytes: bytes.length,
    gzipBytes: (await promisify(gzip)(bytes, { level: 9 })).length,
    byPackage,
    files,
  };
}

function packageOf(path: string): string {
  const [, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
  return name ?? 'vvchat-robot';
}
