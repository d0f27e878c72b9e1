import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';

/** A file of a client, and what such files import that is to be had here instead, in the file of its name. */
const CLIENT = /@aws-sdk\Wclient-(dynamodb|ssm)\Wdist-es\W/;
const REPLACED =
  /^(?:\.\/runtime(?:Config|Extensions)|@smithy\/core(?:\/(?:config|endpoints))?|@aws-sdk\/(?:core\/(?:account-id-endpoint|client|httpAuthSchemes)|middleware-endpoint-discovery))$/;

/** The one place that imports something else, which stays, under one of these names. */
const PAGINATION = /\Wpagination\W/;

const replacement = (file: string) =>
  fileURLToPath(new URL(`../lib/aws/replacements/${file}`, import.meta.url));

/** The clients of AWS's SDK, without what a function never uses. */
const awsSdk: Plugin = {
  name: 'aws-sdk',
  setup: (build) => {
    build.onResolve({ filter: REPLACED }, ({ importer }) => {
      const [, client] = CLIENT.exec(importer) ?? [];
      if (client === undefined || PAGINATION.test(importer)) return undefined;
      return { path: replacement(`client-${client}.ts`) };
    });
    build.onResolve({ filter: /^@smithy\/core\/serde$/ }, ({ importer }) =>
      /@smithy\Wcore\W.*\Wretry\W/.test(importer) ? { path: replacement('stubs.ts') } : undefined,
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
