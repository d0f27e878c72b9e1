import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

/**
 * Starts Chromium: the one that `CHROMIUM` names, or the first on the path.
 *
 * @throws when there is none, because browser tests must not be skipped
 */
export function launch(more: readonly string[] = []): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? onPath('chromium') ?? onPath('google-chrome');
  if (executablePath === undefined) {
    throw new Error(
      'Chromium is missing: run `apt-get install chromium`, or set CHROMIUM to its path.',
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...more,
    ],
  });
}

const onPath = (name: string) =>
  process.env.PATH?.split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));
