import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';

/** What the files of a client import that is found in the file of that name here instead. */
const OF_A_CLIENT =
  /^(?:\.\/runtimeConfig|@smithy\/core\/(?:config|endpoints)|@aws-sdk\/(?:core\/(?:account-id-endpoint|client|httpAuthSchemes)|middleware-endpoint-discovery))$/;

const inThisFolder = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** The clients of AWS's SDK, without what a function never uses. */
const awsSdk: Plugin = {
  name: 'aws-sdk',
  setup: (build) => {
    build.onResolve({ filter: OF_A_CLIENT }, ({ importer }) => {
      const [, client] = /@aws-sdk\Wclient-(dynamodb|ssm)\Wdist-es\W/.exec(importer) ?? [];
      return client === undefined ? undefined : { path: inThisFolder(`${client}.ts`) };
    });
    build.onResolve({ filter: /^@smithy\/core\/serde$/ }, ({ importer }) =>
      /@smithy\Wcore\W.*\Wretry\W/.test(importer)
        ? { path: inThisFolder('aws-json.ts') }
        : undefined,
    );
    // A command brings the shapes of all commands. What is needed of them is its own name.
    build.onResolve({ filter: /^\.\.\/schemas\/schemas_0$/ }, ({ importer }) => {
      const [, name] = /\Wcommands\W(\w+)Command\.js$/.exec(importer) ?? [];
      return name === undefined ? undefined : { path: name, namespace: 'operation' };
    });
    build.onLoad({ filter: /^/, namespace: 'operation' }, ({ path: name }) => ({
      contents: `export const ${name}$ = [9, '', '${name}', 0, 'unit', 'unit'];`,
    }));
    // Nothing here streams. Merely that it could be imported later has esbuild wrap every module that it shares.
    build.onResolve({ filter: /^@smithy\/core\/event-streams$/ }, () => ({ external: true }));
  },
};

export default [awsSdk];
