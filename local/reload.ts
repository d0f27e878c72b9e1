import { watch } from 'node:fs';
import { join } from 'node:path';

/** What the process of serverless-offline tells its parent after a save. */
export type Reload = 'reloading' | 'broken';

/** What this plugin needs of the framework, and of serverless-esbuild in it. */
interface Serverless {
  readonly serviceDir: string;
  readonly pluginManager: {
    getPlugins(): readonly object[];
    spawn(command: string): Promise<void>;
  };
}

interface Bundler {
  readonly bundle: () => Promise<void>;
}

const WATCHED = ['functions', 'lib'];

/**
 * Builds and reloads the functions at every save. serverless-esbuild's own watcher loses a save that comes
 * while it still builds the one before.
 */
export default class Reloader {
  readonly hooks: Record<string, () => void>;
  readonly #serverless: Serverless;
  #isBuilding = false;
  #isStale = false;

  constructor(serverless: Serverless) {
    this.#serverless = serverless;
    this.hooks = { 'after:offline:start:init': () => this.#watch() };
  }

  #watch(): void {
    for (const folder of WATCHED) {
      const path = join(this.#serverless.serviceDir, folder);
      watch(path, { recursive: true }, (_, file) => {
        if (file?.endsWith('.ts') && !file.endsWith('.test.ts')) void this.#build();
      });
    }
  }

  async #build(): Promise<void> {
    this.#isStale = true;
    if (this.#isBuilding) return;
    this.#isBuilding = true;
    while (this.#isStale) {
      this.#isStale = false;
      const told: Reload = (await this.#reload()) ? 'reloading' : 'broken';
      process.send?.(told);
    }
    this.#isBuilding = false;
  }

  /** Whether the code could be built; esbuild has printed why not. */
  async #reload(): Promise<boolean> {
    const { pluginManager } = this.#serverless;
    const isBundler = (plugin: object): plugin is Bundler => 'bundle' in plugin;
    try {
      await pluginManager.getPlugins().find(isBundler)?.bundle();
    } catch {
      return false;
    }
    await pluginManager.spawn('offline:functionsUpdated');
    return true;
  }
}
