import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'vitest';
import type { Key } from '../lib/inbox/item.ts';
import { fail, unclaimed } from '../lib/inbox/transitions.ts';
import { REQUEST_MS } from '../lib/vvchat/api.ts';
import { type Deployed, inserted, startDeployed } from './deployed.ts';
import { sample, saying } from './fixtures.ts';
import type { Lambda } from './lambda.ts';
import { until } from './project.ts';
import { delaying } from './proxy.ts';

/*
 * A handler that blocks the thread for 100 s. No timer can stop it, and none runs meanwhile: those that are overdue
 * come all at once afterwards. Of the 100 s a little more than a time-out passes for real, the rest by the clock.
 */

const SPIN_MS = 100_000;
const REAL_MS = REQUEST_MS + 1_000;
const LEASE_MS = 120_000;

/** Of `reply`, whose process Lambda ends. */
const REPLY_TIMEOUT_MS = 90_000;

const NEIGHBOURS = Array.from({ length: 9 }, (_, i) => `neighbour ${i}`);

/** Puts a spinning message among its neighbours, and has each send take 3 s, so that it is answered during the spin. */
async function startScene(spinning: string) {
  const on = await startDeployed();
  on.vvchat.intervene = ({ operation }) => (operation === 'token' ? undefined : delaying(3_000));
  const warm = await on.put(saying('warm up'));
  await (await on.start('reply')).invoke(inserted(warm));
  const texts = [...NEIGHBOURS.slice(0, 5), spinning, ...NEIGHBOURS.slice(5)];
  const keys: Key[] = [];
  for (const text of texts) keys.push(await on.put(saying(text)));
  return { on, keys, neighbours: keys.filter((_, i) => i !== 5) };
}

async function spin(on: Deployed, worker: Lambda, milliseconds: number) {
  await until(async () => worker.output().includes('spinning'));
  await sleep(REAL_MS);
  on.clock.advance(milliseconds - REAL_MS);
}

const times = (on: Deployed) => NEIGHBOURS.map((text) => on.sent(text).length);

const unknownOf = async (on: Deployed, keys: readonly Key[]) =>
  (await Promise.all(keys.map(on.read))).map(({ unknown }) => unknown);

describe.concurrent('a handler that spins for 100 s costs its neighbours no repeat', () => {
  test.for(['spin for 100 s', 'after 2000 ms spin for 100 s'])(
    'in a run of retry: %s',
    async (spinning, { expect }) => {
      await using scene = await disposable(spinning);
      const { on, keys, neighbours } = scene;
      const [retry, other] = await Promise.all([on.start('retry'), on.start('retry')]);
      on.clock.advance(LEASE_MS + 1_000);
      const run = retry.invoke(sample('retry'));
      await spin(on, retry, SPIN_MS);
      // The next minute's run starts while the first is still blocked, or has just been freed.
      await other.invoke(sample('retry'));
      await run;
      for (const key of keys) await on.recover(key);
      expect(times(on)).toEqual(NEIGHBOURS.map(() => 1));
      expect(await unknownOf(on, neighbours)).toEqual(NEIGHBOURS.map(() => undefined));
    },
  );

  test('in a batch of reply, which Lambda ends', async ({ expect }) => {
    await using scene = await disposable('spin for 100 s');
    const { on, keys, neighbours } = scene;
    const reply = await on.start('reply');
    const run = reply.invoke(inserted(...keys)).catch((error) => error);
    await spin(on, reply, REPLY_TIMEOUT_MS - 1_000);
    reply.kill();
    await run;
    // It would spin again.
    const spun = keys.find((key) => !neighbours.includes(key)) as Key;
    await fail(on.engine.table('inbox', on.clock), unclaimed(await on.read(spun)), 'left out');
    for (const key of neighbours) await on.recover(key);
    expect(times(on)).toEqual(NEIGHBOURS.map(() => 1));
    expect(await unknownOf(on, neighbours)).toEqual(NEIGHBOURS.map(() => undefined));
  });
});

async function disposable(spinning: string) {
  const scene = await startScene(spinning);
  return { ...scene, [Symbol.asyncDispose]: () => scene.on[Symbol.asyncDispose]() };
}
