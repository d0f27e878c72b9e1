import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';
import { loadRobot, RobotLoadError } from './load-robot.ts';

/** What this plugin needs of the framework. */
export interface Serverless {
  readonly serviceDir: string;
  readonly service: {
    readonly provider: { readonly region: string; readonly environment?: Environment };
    readonly functions: Readonly<Record<'webhook' | 'reply', FunctionDefinition>>;
    readonly custom: { readonly esbuild: EsbuildSettings };
  };
  readonly classes: { readonly Error: new (message: string) => Error };
}

interface FunctionDefinition {
  readonly name: string;
  readonly environment: Environment;
}

type Environment = Record<string, unknown>;
type EsbuildSettings = Readonly<Record<string, unknown>> & { readonly plugins?: string };

/**
 * Loads the author's robot before anything is packaged or run, so that a robot that cannot work stops the command,
 * and writes the events that it answers into the webhook's environment.
 */
export default class RobotPlugin {
  readonly hooks: Readonly<Record<string, () => Promise<void>>>;

  constructor(serverless: Serverless) {
    const write = async () => {
      try {
        await writeRoutedEvents(serverless);
      } catch (error) {
        // The framework prints the message of an error of its own, and the stack of any other.
        throw error instanceof RobotLoadError ? new serverless.classes.Error(error.message) : error;
      }
    };
    this.hooks = {
      'before:package:initialize': write,
      'before:deploy:function:initialize': write,
      'before:offline:start': write,
      'before:offline:start:init': write,
      'before:invoke:local:invoke': async () => {
        await write();
        // The framework has copied the function's environment into the process's before any plugin could change it.
        const { ROUTED_EVENTS } = serverless.service.functions.webhook.environment;
        process.env.ROUTED_EVENTS = `${ROUTED_EVENTS}`;
      },
    };
  }
}

/**
 * Loads the robot and has the webhook queue the events that it answers.
 *
 * @throws {RobotLoadError} when the robot cannot be loaded
 */
export async function writeRoutedEvents({ serviceDir, service }: Serverless): Promise<void> {
  const { esbuild } = service.custom;
  const events = await loadRobot({
    folder: serviceDir,
    workFolder: `${esbuild.outputWorkFolder ?? '.esbuild'}`,
    settings: await bundleSettings(esbuild, serviceDir),
    environment: environmentOf(service),
  });
  service.functions.webhook.environment.ROUTED_EVENTS = events.join(',') || 'none';
}

/** Settings of `custom.esbuild` that serverless-esbuild keeps to itself. */
const NOT_OF_ESBUILD = new Set([
  ...['concurrency', 'disposeContext', 'exclude', 'installExtraArgs', 'keepOutputDirectory'],
  ...['nativeZip', 'nodeExternals', 'outputBuildFolder', 'outputFileExtension', 'outputWorkFolder'],
  ...['packagePath', 'packager', 'packagerOptions', 'skipBuild', 'skipBuildExcludeFns'],
  ...['skipRebuild', 'stripEntryResolveExtensions', 'watch', 'zipConcurrency'],
]);

/** How the functions are bundled: `custom.esbuild` of serverless.yml as esbuild itself takes it. */
export async function bundleSettings(
  { plugins: file, ...all }: EsbuildSettings,
  folder: string,
): Promise<BuildOptions> {
  const settings = Object.entries(all).filter(([name]) => !NOT_OF_ESBUILD.has(name));
  if (file === undefined) return Object.fromEntries(settings);
  const plugins: { default: Plugin[] } = await import(pathToFileURL(join(folder, file)).href);
  return { ...Object.fromEntries(settings), plugins: plugins.default };
}

/** What `reply` finds in its environment, as far as it is known before it is deployed. */
function environmentOf({ provider, functions: { reply } }: Serverless['service']) {
  const all = {
    AWS_REGION: provider.region,
    AWS_DEFAULT_REGION: provider.region,
    AWS_LAMBDA_FUNCTION_NAME: reply.name,
    ...provider.environment,
    ...reply.environment,
  };
  const known = Object.entries(all).filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(known) as Record<string, string>;
}
