import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Robot, routedEvents } from '../lib/robot.ts';
import { routingFault } from './validate.ts';

/** What the process of serverless-offline tells its parent after a save. */
export type Reload = 'reloaded' | 'broken';

/** What this plugin needs of the framework, and of serverless-esbuild in it. */
interface Serverless {
  readonly serviceDir: string;
  readonly processedInput: { readonly commands: readonly string[] };
  readonly service: {
    readonly custom: { readonly esbuild: object };
    readonly functions: Record<
      'webhook',
      { readonly environment: { readonly ROUTED_EVENTS: string } }
    >;
  };
  readonly pluginManager: {
    getPlugins(): readonly object[];
    spawn(command: string): Promise<void>;
  };
}

interface Bundler {
  readonly bundle: () => Promise<void>;
}

const WATCHED = ['functions', 'lib', 'plugins', 'robot'];
const LOOK_MS = 200;

/** So that an error's stack names the line of the source. */
const READABLE = { minify: false, sourcemap: 'inline', sourcesContent: false };

/**
 * Builds and reloads the functions at every save. It looks for itself: file system events miss a file that an
 * editor has replaced by another, and serverless-esbuild's own watcher a save that comes while it builds.
 */
export default class Reloader {
  readonly hooks: Record<string, () => void | Promise<void>>;
  readonly #serverless: Serverless;

  constructor(serverless: Serverless) {
    this.#serverless = serverless;
    let built: string;
    this.hooks = {
      initialize: () => {
        const { processedInput, service } = serverless;
        if (processedInput.commands[0] === 'offline')
          Object.assign(service.custom.esbuild, READABLE);
      },
      'before:offline:start:init': async () => {
        built = await this.#state();
      },
      'after:offline:start:init': () => void this.#watch(built),
    };
  }

  async #watch(built: string): Promise<void> {
    for (let last = built; ; await sleep(LOOK_MS)) {
      const state = await this.#state();
      if (state === last) continue;
      last = state;
      const told: Reload = (await this.#reload()) ? 'reloaded' : 'broken';
      process.send?.(told);
    }
  }

  /** Changes with every save of what the functions are built from. */
  async #state(): Promise<string> {
    const folders = WATCHED.map(async (name) => {
      const folder = join(this.#serverless.serviceDir, name);
      const files = await readdir(folder, { recursive: true }).catch(() => []);
      return files.filter((file) => IS_SOURCE.test(file)).map((file) => join(folder, file));
    });
    const files = (await Promise.all(folders)).flat().sort();
    const states = files.map(async (file) => {
      const { mtimeMs, ino, size } = await stat(file).catch(() => GONE);
      return [file, mtimeMs, ino, size].join();
    });
    return (await Promise.all(states)).join('\n');
  }

  /** Whether the code could be built; esbuild has printed why not. */
  async #reload(): Promise<boolean> {
    const { pluginManager } = this.#serverless;
    const isBundler = (plugin: object): plugin is Bundler => 'bundle' in plugin;
    try {
      await pluginManager.getPlugins().find(isBundler)?.bundle();
    } catch {
      console.error('This does not build. Messages wait until it does.');
      return false;
    }
    await pluginManager.spawn('offline:functionsUpdated');
    console.log((await this.#routingFault()) ?? 'Reloaded.');
    return true;
  }

  async #routingFault(): Promise<string | undefined> {
    const { ROUTED_EVENTS } = this.#serverless.service.functions.webhook.environment;
    try {
      // Under another address it is not the module that is loaded already.
      const { robot }: { robot: Robot } = await import(`../robot/robot.ts?${Date.now()}`);
      const fault = routingFault(new Set(ROUTED_EVENTS.split(',')), routedEvents(robot));
      return fault && `${fault}\nand start again.`;
    } catch {
      // The functions tell of it when they are called.
      return undefined;
    }
  }
}

const IS_SOURCE = /(?<!\.test)\.(?:ts|json)$/;
const GONE = { mtimeMs: 0, ino: 0, size: 0 };
