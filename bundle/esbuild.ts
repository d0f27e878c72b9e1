import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';

/** Whose imports are redirected, and which of them, to bundle/dynamodb.ts. */
const REDIRECTED: readonly (readonly [importer: RegExp, imports: RegExp])[] = [
  [
    /@aws-sdk[\\/]client-dynamodb[\\/]dist-es[\\/]/,
    /^(?:\.\/runtimeConfig|@smithy\/core\/(?:config|endpoints)|@aws-sdk\/(?:core\/(?:account-id-endpoint|client|httpAuthSchemes)|middleware-endpoint-discovery))$/,
  ],
  [/@smithy[\\/]core[\\/]dist-es[\\/]submodules[\\/]retry[\\/]/, /^@smithy\/core\/serde$/],
];

const path = fileURLToPath(new URL('dynamodb.ts', import.meta.url));

const dynamodb: Plugin = {
  name: 'the DynamoDB client, without what a function never uses',
  setup: (build) => {
    for (const [of, filter] of REDIRECTED) {
      build.onResolve({ filter }, ({ importer }) => (of.test(importer) ? { path } : undefined));
    }
    // A command brings the shapes of all commands. All that is needed of them is its name.
    build.onResolve({ filter: /^\.\.\/schemas\/schemas_0$/ }, ({ importer }) => {
      const [, name] = /client-dynamodb\W.*\W(\w+)Command\.js$/.exec(importer) ?? [];
      return name === undefined ? undefined : { path: name, namespace: 'operation' };
    });
    build.onLoad({ filter: /^/, namespace: 'operation' }, ({ path: name }) => ({
      contents: `export const ${name}$ = [9, 'com.amazonaws.dynamodb', '${name}', 0, 'unit', 'unit'];`,
    }));
    // Nothing here streams. Merely that it could be imported later has esbuild wrap every module that it shares.
    build.onResolve({ filter: /^@smithy\/core\/event-streams$/ }, () => ({ external: true }));
  },
};

export default [dynamodb];
