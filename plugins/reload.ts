import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RobotLoadError } from './load-robot.ts';
import { type Serverless as RobotServerless, writeRoutedEvents } from './robot.ts';

/** What the process of serverless-offline reports to its parent after a save. */
export type Reload = 'reloaded' | 'broken';

/** What this plugin needs of the framework, and of serverless-esbuild in it. */
interface Serverless extends RobotServerless {
  readonly processedInput: { readonly commands: readonly string[] };
  readonly pluginManager: {
    getPlugins(): readonly object[];
    spawn(command: string): Promise<void>;
  };
}

interface Bundler {
  readonly bundle: () => Promise<void>;
}

const WATCHED = ['functions', 'lib', 'robot'];
const POLL_MS = 200;

/** So that a stack and a debugger show the lines of the source. */
const READABLE = { minify: false, sourcemap: 'inline', sourcesContent: false };

/**
 * Builds and reloads the functions at every save. It polls: file system events miss a file that an editor has
 * replaced by another, and serverless-esbuild's own watcher misses a save that falls into a build.
 */
export default class ReloadPlugin {
  readonly hooks: Readonly<Record<string, () => void | Promise<void>>>;
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
        built = await this.#snapshot();
      },
      'after:offline:start:init': () => void this.#watch(built),
    };
  }

  async #watch(built: string): Promise<void> {
    for (let last = built; ; await sleep(POLL_MS)) {
      const snapshot = await this.#snapshot();
      if (snapshot === last) continue;
      last = snapshot;
      const reload: Reload = (await this.#reload()) ? 'reloaded' : 'broken';
      process.send?.(reload);
    }
  }

  /** Changes with every save of a source of the functions. */
  async #snapshot(): Promise<string> {
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

  /** Whether the new code is in use. If not, the terminal shows why. */
  async #reload(): Promise<boolean> {
    const { pluginManager } = this.#serverless;
    const isBundler = (plugin: object): plugin is Bundler => 'bundle' in plugin;
    try {
      await writeRoutedEvents(this.#serverless);
      await pluginManager.getPlugins().find(isBundler)?.bundle();
    } catch (error) {
      // esbuild has printed what it could not build.
      if (error instanceof RobotLoadError) console.error(error.message);
      console.error('Messages wait until this is fixed.');
      return false;
    }
    // Ends the functions' workers. New ones get the environment as it now is, ROUTED_EVENTS included.
    await pluginManager.spawn('offline:functionsUpdated');
    console.log('Reloaded.');
    return true;
  }
}

const IS_SOURCE = /(?<!\.test)\.(?:[cm]?[jt]sx?|json)$/;
const GONE = { mtimeMs: 0, ino: 0, size: 0 };
