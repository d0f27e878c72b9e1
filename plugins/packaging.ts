import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import type { Metafile, Plugin } from 'esbuild';

/*
 * What goes into a function's zip beside its bundle: the licences of all that is bundled, the project's own, and, for
 * the functions with the author's robot, the source map. The functions read none of it when they start.
 */

export const THIRD_PARTY = 'THIRD-PARTY-LICENSES.txt';
const OWN = 'LICENSE';

/** serverless-esbuild puts what is in such a folder into the zip of the function of that name alone. */
const folderOf = (buildFolder: string, name: string) => join(buildFolder, `__only_${name}`);

const packaging: Plugin = {
  name: 'packaging',
  setup: (build) => {
    const {
      absWorkingDir: root = process.cwd(),
      outdir,
      entryPoints,
      sourcemap,
    } = build.initialOptions;
    // npm start and the check of the robot build with maps of other kinds, and zip nothing.
    if (sourcemap !== 'external' || outdir === undefined) return;
    const [entry] = entryPoints as string[];
    if (entry === undefined) return;
    build.initialOptions.metafile = true;
    build.onEnd(async ({ metafile, errors }) => {
      if (!metafile || errors.length > 0) return;
      const buildFolder = join(outdir, relative(dirname(resolve(root, entry)), root));
      const folder = folderOf(buildFolder, basename(entry, extname(entry)));
      await Promise.all([finishSourceMaps(metafile, root), writeLicences(metafile, root, folder)]);
    });
  },
};

export default packaging;

// ---- source maps

/** Keeps the maps of bundles with the robot, whose errors are logged, and names their sources from the project. */
async function finishSourceMaps({ outputs, inputs }: Metafile, root: string): Promise<void> {
  const hasRobot = Object.keys(inputs).some((path) => path.startsWith('robot/'));
  for (const path of Object.keys(outputs).filter((it) => it.endsWith('.map'))) {
    const file = resolve(root, path);
    if (!hasRobot) {
      await rm(file);
      continue;
    }
    const map: { sources: string[] } = JSON.parse(await readFile(file, 'utf8'));
    const sources = map.sources.map((it) => sourceName(it, dirname(file), root));
    await writeFile(file, JSON.stringify({ ...map, sources }));
  }
}

/** A source by its path from the project, without the folders of the machine that built it. */
function sourceName(source: string, folder: string, root: string): string {
  const path = resolve(folder, withoutNamespace(source)).replaceAll(sep, '/');
  const [, inPackages] = /.*\/(node_modules\/.*)$/.exec(path) ?? [];
  return inPackages ?? relative(root, path).replaceAll(sep, '/');
}

// ---- licences

/** A package of which something is in a bundle. */
interface Bundled {
  readonly name: string;
  readonly version: string;
  /** SPDX, from package.json. */
  readonly license?: string;
  /** The texts of its licence files. */
  readonly texts: readonly string[];
}

/** Warns of every package that states no licence. */
async function writeLicences({ outputs }: Metafile, root: string, folder: string): Promise<void> {
  // Those of which something is in the bundle; `metafile.inputs` also has those that were dropped.
  const paths = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const folders = new Set(
    paths.map((path) => packageFolder(resolve(root, withoutNamespace(path)), root)),
  );
  const packages = await Promise.all(
    [...folders].filter((it) => it !== undefined).map(readPackage),
  );
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, THIRD_PARTY), licencesOf(packages));
  if (existsSync(join(root, OWN))) await copyFile(join(root, OWN), join(folder, OWN));
  for (const { name, version, license, texts } of packages) {
    if (license === undefined && texts.length === 0) warnOf(`${name} ${version}`);
  }
}

/** One that is in several functions is warned of once. serverless-esbuild prints no warnings of esbuild's. */
const warnedOf = new Set<string>();

function warnOf(title: string): void {
  if (warnedOf.has(title)) return;
  warnedOf.add(title);
  console.warn(
    `${title} is bundled and states no licence: it has neither a licence file nor "license" in its package.json. Ask its author, or replace it.`,
  );
}

/** The folder of the package that a file is of; nothing for the project's own, and for what no file is behind. */
function packageFolder(file: string, root: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const isOwn = file.startsWith(join(root, sep)) && !file.includes(`${sep}node_modules${sep}`);
  if (isOwn) return undefined;
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    // Packages put a package.json without a name into folders of modules.
    if (basename(dirname(folder)) === 'node_modules') return folder;
    if (
      basename(dirname(dirname(folder))) === 'node_modules' &&
      basename(dirname(folder)).startsWith('@')
    ) {
      return folder;
    }
    if (!file.includes(`${sep}node_modules${sep}`) && existsSync(join(folder, 'package.json'))) {
      return folder;
    }
  }
  return undefined;
}

const LICENCE_FILE = /^(?:licen[cs]e|copying|notice|copyright)(?:[-._].*)?$/i;

async function readPackage(folder: string): Promise<Bundled> {
  const { name, version, license, licenses } = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  );
  const files = (await readdir(folder)).filter((file) => LICENCE_FILE.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
  // Old packages have an object, or a list of them.
  const stated = [license ?? licenses ?? []]
    .flat()
    .map((it: string | { type?: string }) => (typeof it === 'string' ? it : it.type))
    .join(' OR ');
  return {
    name: name ?? basename(folder),
    version: version ?? '',
    ...(stated && { license: stated }),
    texts: texts.map((text) => text.trim()),
  };
}

/** Each text once, under the names of all packages that have it. */
function licencesOf(packages: readonly Bundled[]): string {
  const sorted = packages.toSorted((a, b) => (titleOf(a) < titleOf(b) ? -1 : 1));
  const sections = [...Map.groupBy(sorted, bodyOf)].map(([body, of]) =>
    [...new Set(of.map(titleOf)), '', body].join('\n'),
  );
  return `${['This function contains the packages below, or parts of them.', ...sections].join(RULE)}\n`;
}

const RULE = `\n\n${'-'.repeat(80)}\n\n`;

const titleOf = ({ name, version }: Bundled) => `${name} ${version}`;

function bodyOf({ license, texts }: Bundled): string {
  if (texts.length > 0) return texts.join('\n\n');
  return license === undefined
    ? 'It states no licence.'
    : `License: ${license} (it has no licence file)`;
}

/** esbuild's name of a file, `namespace:path` unless the namespace is `file`. */
const withoutNamespace = (path: string): string => path.replace(/^[\w-]{2,}:/, '');
