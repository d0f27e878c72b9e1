import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Loader, Metafile, OnResolveResult, Plugin } from 'esbuild';
import packaging from './packaging.ts';

/*
 * lib/aws/ configures its clients of AWS's SDK by parts of its own. This plugin leaves out of the bundles what is
 * never called then: it puts stubs where the clients import it. It does so only for what lib/ and functions/
 * import. A robot that imports the same client gets a second one, the SDK's as it comes, and its bundle grows by
 * both.
 *
 * The SDK may move any of these imports in any version. Then the build fails and names what moved.
 */

/** The clients, by package, with the prefix of their file names. */
const CLIENTS = { '@aws-sdk/client-dynamodb': 'DynamoDB', '@aws-sdk/client-ssm': 'SSM' };
type Client = keyof typeof CLIENTS;

/** An import of a module, both as they stand in the package. */
interface Replaced {
  readonly package: string;
  readonly module: string;
  readonly imported: string;
}

/** The imports that become stubs whenever a client is in a bundle. */
const replacedOf = (client: Client): readonly Replaced[] => [
  ...[
    './runtimeConfig',
    './runtimeExtensions',
    '@aws-sdk/core/client',
    '@smithy/core',
    '@smithy/core/config',
    '@smithy/core/endpoints',
    ...(client === '@aws-sdk/client-dynamodb'
      ? ['@aws-sdk/core/account-id-endpoint', '@aws-sdk/middleware-endpoint-discovery']
      : []),
  ].map((imported) => ({
    package: client,
    module: `dist-es/${CLIENTS[client]}Client.js`,
    imported,
  })),
  {
    package: client,
    module: 'dist-es/auth/httpAuthSchemeProvider.js',
    imported: '@aws-sdk/core/httpAuthSchemes',
  },
  { package: client, module: 'dist-es/commandBuilder.js', imported: '@smithy/core/endpoints' },
  ...['retryMiddleware', 'parseRetryAfterHeader'].map((file) => ({
    package: '@smithy/core',
    module: `dist-es/submodules/retry/middleware-retry/${file}.js`,
    imported: '@smithy/core/serde',
  })),
];

const REPLACED = (Object.keys(CLIENTS) as Client[]).flatMap(replacedOf);

/** A command imports the shapes of all commands, of which it needs its own name. */
const COMMAND = /^dist-es\/commands\/(\w+)Command\.js$/;
const SHAPES = '../schemas/schemas_0';

/** The modules that may be in a bundle because a client needs them. */
const ALLOWED: Readonly<Record<string, RegExp>> = {
  '@aws-sdk/client-dynamodb':
    /^dist-es\/(?:DynamoDBClient|commandBuilder|auth\/httpAuthSchemeProvider|endpoint\/EndpointParameters|(?:commands|models|pagination)\/\w+)\.js$/,
  '@aws-sdk/client-ssm':
    /^dist-es\/(?:SSMClient|commandBuilder|auth\/httpAuthSchemeProvider|endpoint\/EndpointParameters|(?:commands|models|pagination)\/\w+)\.js$/,
  '@smithy/core':
    /^dist-es\/(?:legacy-root-exports\/pagination|submodules\/(?:client|protocols\/middleware-content-length|retry|schema|transport))\//,
  '@smithy/types': /^dist-es\//,
};

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** The folders whose imports of a client get the reduced one. */
const OURS = ['lib', 'functions'];
const STUBS = join(ROOT, 'lib/aws/replacements/stubs.ts');
/** The namespace of the modules that lib/ reaches through a client. */
const REDUCED = 'aws-sdk-reduced';
const OPERATION = 'aws-sdk-operation';

/** Where each import leads, for all builds of a process: esbuild takes half a second to resolve them. */
const resolutions = new Map<string, Promise<OnResolveResult>>();

const awsSdk: Plugin = {
  name: 'aws-sdk',
  setup: (build) => {
    const fired = new Set<string>();
    build.initialOptions.metafile = true;
    build.onStart(() => fired.clear());

    build.onResolve(
      { filter: /^@aws-sdk\/client-/ },
      async ({ path, importer, kind, resolveDir }) => {
        if (!isOurs(importer) || !(path in CLIENTS)) return undefined;
        return { ...(await build.resolve(path, { kind, resolveDir })), namespace: REDUCED };
      },
    );
    build.onResolve(
      { filter: /^/, namespace: REDUCED },
      async ({ path, importer, kind, resolveDir }) => {
        const { folder, name, module } = locate(importer);
        const [, operation] = COMMAND.exec(module) ?? [];
        if (operation !== undefined && path === SHAPES) {
          fired.add(keyOf({ package: name, module, imported: path }));
          return { path: operation, namespace: OPERATION };
        }
        const replaced = REPLACED.find(
          (it) => it.package === name && it.module === module && it.imported === path,
        );
        if (replaced) {
          fired.add(keyOf(replaced));
          return { path: STUBS };
        }
        // Nothing here streams. The mere chance of its import has esbuild wrap every module that it shares.
        if (path === '@smithy/core/event-streams') return { path, external: true };
        const key = `${path.startsWith('.') ? resolveDir : folder} ${path}`;
        const resolution =
          resolutions.get(key) ??
          build.resolve(path, { kind, resolveDir }).then((resolved) =>
            // Modules of Node stay what they are.
            resolved.external ? resolved : { ...resolved, namespace: REDUCED },
          );
        resolutions.set(key, resolution);
        return resolution;
      },
    );

    build.onLoad({ filter: /^/, namespace: REDUCED }, async ({ path }) => ({
      contents: await readFile(path),
      loader: (path.endsWith('.json') ? 'json' : 'js') satisfies Loader,
      resolveDir: dirname(path),
    }));
    build.onLoad({ filter: /^/, namespace: OPERATION }, ({ path: name }) => ({
      contents: `export const ${name}$ = [9, '', '${name}', 0, 'unit', 'unit'];`,
    }));

    build.onEnd(async ({ metafile }) => {
      const fault = metafile && (await faultIn(metafile, fired));
      return fault ? { errors: [{ text: fault }] } : undefined;
    });
  },
};

export default [awsSdk, packaging];

const isOurs = (importer: string): boolean =>
  OURS.some((folder) => importer.startsWith(join(ROOT, folder, '/')));

const keyOf = ({ package: name, module, imported }: Replaced) => `${name}/${module} ${imported}`;

/** Where a file is in its package. */
function locate(path: string): { folder: string; name: string; module: string } {
  const [, folder = '', name = '', module = ''] =
    /^(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\/(.*)$/.exec(path.replaceAll('\\', '/')) ?? [];
  return { folder, name, module };
}

/** What has moved in the SDK; nothing if all is as it was. */
async function faultIn(
  { inputs, outputs }: Metafile,
  fired: ReadonlySet<string>,
): Promise<string | undefined> {
  const shipped = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs)
      .filter(([path, { bytesInOutput }]) => path.startsWith(`${REDUCED}:`) && bytesInOutput > 0)
      .map(([path, { bytesInOutput }]) => ({
        ...locate(path.slice(REDUCED.length + 1)),
        bytesInOutput,
      })),
  );
  const folders = new Map(shipped.map(({ name, folder }) => [name, folder]));
  const required = [
    ...(Object.keys(CLIENTS) as Client[]).filter((it) => folders.has(it)).flatMap(replacedOf),
    ...shipped
      .filter(({ name, module }) => name in CLIENTS && COMMAND.test(module))
      .map(({ name, module }) => ({ package: name, module, imported: SHAPES })),
  ];
  const unfired = required.filter((it) => !fired.has(keyOf(it)));
  const foreign = shipped.filter(({ name, module }) => !ALLOWED[name]?.test(module));
  const isUnreduced = (path: string) =>
    !path.startsWith(`${REDUCED}:`) && locate(`/${path}`).name in CLIENTS;
  const unreduced = Object.entries(inputs)
    .filter(([path]) => OURS.some((folder) => path.startsWith(`${folder}/`)))
    .filter(([, { imports }]) => imports.some(({ path }) => isUnreduced(path)));
  if (unfired.length + foreign.length + unreduced.length === 0) return undefined;

  const versionOf = async (name: string) => {
    const folder = folders.get(name);
    if (folder === undefined) return name;
    return `${name} ${JSON.parse(await readFile(`${folder}/package.json`, 'utf8')).version}`;
  };
  const lines = [
    ...unreduced.map(async ([path]) => `${path} imports a client of which no part was replaced`),
    ...unfired.map(
      async (it) => `${await versionOf(it.package)}: ${it.module} no longer imports ${it.imported}`,
    ),
    ...[...Map.groupBy(foreign, ({ name }) => name)].map(async ([name, modules]) => {
      const bytes = modules.reduce((sum, it) => sum + it.bytesInOutput, 0);
      const files = modules.map(({ module }) => module).slice(0, MODULES_NAMED);
      const more = modules.length - files.length;
      return `${await versionOf(name)}: ${bytes} bytes in the bundle that no client of lib/aws/ calls: ${files.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
    }),
  ];
  return [
    "AWS's SDK has moved under the parts that lib/aws/ puts in its place:",
    ...(await Promise.all(lines)).map((line) => `  ${line}`),
    'Install the versions that package.json pins (npm ci), or adapt plugins/esbuild.ts to the new ones.',
  ].join('\n');
}

const MODULES_NAMED = 5;
