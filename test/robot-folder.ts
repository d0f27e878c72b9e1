import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A robot that works, for a test to add to. */
export const PING = `import { defineRobot, sendText } from 'vvchat-robot';
export const robot = defineRobot({ at: [['ping', () => sendText('pong')]] });
`;

/** A folder with as much of the project as it takes to load a robot. */
export interface RobotFolder extends AsyncDisposable {
  readonly folder: string;
  /** Writes files of the folder `robot/`. */
  readonly write: (files: Readonly<Record<string, string>>) => Promise<void>;
}

export async function createRobotFolder(): Promise<RobotFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'vvchat-robot-'));
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'));
  await symlink(join(ROOT, 'lib'), join(folder, 'lib'));
  return {
    folder,
    write: async (files) => {
      for (const [name, content] of Object.entries(files)) {
        const file = join(folder, 'robot', name);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, content);
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
