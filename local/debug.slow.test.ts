import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { saying } from '../test/fixtures.ts';
import { breakAt } from '../test/inspector.ts';
import { npmStart } from '../test/npm-start.ts';
import { type Project, until } from '../test/project.ts';

const ROBOT = `import { defineRobot, sendText } from 'vvchat-robot';

export const robot = defineRobot({
  at: [
    [
      /^/,
      ({ text }) => {
        const reply = text.toUpperCase();
        return sendText(reply);
      },
    ],
  ],
});
`;

test('a breakpoint in robot/robot.ts stops under npm start, and the reply follows', async () => {
  const port = await freePort();
  await using running = await npmStart({ LOCAL_INSPECT_PORT: `${port}` });
  await running.project.write('robot/robot.ts', ROBOT);
  await running.run.prints(/Reloaded\./);
  using editor = await breakAt(
    port,
    { source: 'robot/robot.ts', line: 9 },
    await bundlesOf(running.project),
  );
  const { body } = await running.post(saying('good morning'));
  expect(await editor.stopped()).toMatch(/\/robot\/robot\.ts:9$/);
  editor.resume();
  const row = await running.replied(body.event_id);
  expect(JSON.parse(`${row.commands}`)[0].params.text).toBe('GOOD MORNING');

  // A breakpoint keeps nothing alive after npm start is killed.
  await running.post(saying('good night'));
  await editor.stopped();
  await running[Symbol.asyncDispose]();
  await until(
    async () =>
      await fetch(`http://127.0.0.1:${port}/json`).then(
        () => false,
        () => true,
      ),
  );
});

/** The bundles that the functions run from. */
async function bundlesOf({ folder }: Project): Promise<string[]> {
  const cache = join(folder, 'node_modules/.cache/vvchat-robot');
  const files = await readdir(cache, { recursive: true });
  return files.filter((file) => file.endsWith('.cjs')).map((file) => join(cache, file));
}

async function freePort(): Promise<number> {
  await using server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
