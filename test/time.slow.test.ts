import { describe, expect, test } from 'vitest';
import { type Deployed, inserted, startDeployed } from './deployed.ts';
import { sample, saying } from './fixtures.ts';
import { until } from './project.ts';
import { type Exchange, type Fault, passing, respondingWith } from './proxy.ts';

/* What takes long, comes late, stands still, or goes by another clock. Each test has surroundings of its own. */

const schedule = sample('retry');

const LEASE_MS = 120_000;

describe.concurrent('a reply is sent once though', () => {
  test('a robot takes 57 s while retry runs', async ({ expect }) => {
    await using on = await startDeployed();
    const [reply, retry] = await Promise.all([on.start('reply'), on.start('retry')]);
    const key = await on.put(saying('think for 57 s'));
    const invocation = reply.invoke(inserted(key));
    for (let minute = 0; minute < 2; minute++) {
      expect(await retry.invoke(schedule)).toEqual({});
    }
    expect(await invocation).toEqual({ replied: 1 });
    expect(on.sent('think')).toEqual(['think for 57 s']);
    expect(await on.read(key)).toMatchObject({ status: 'replied', claims: 1 });
  });

  test('a lease ends while the robot answers, and the robot of retry is faster', async ({
    expect,
  }) => {
    await using on = await startDeployed();
    const [reply, retry] = await Promise.all([on.start('reply'), on.start('retry')]);
    const key = await on.put(saying('think for 3 s'));
    const invocation = reply.invoke(inserted(key));
    await until(async () => reply.output().includes('thinking'));
    on.clock.advance(LEASE_MS + 1_000);
    expect(await retry.invoke(schedule)).toEqual({ replied: 1 });
    expect(await invocation).toEqual({ lost: 1 });
    expect(on.sent('think')).toEqual(['think for 3 s']);
  });

  test('a lease ends in the very millisecond in which two workers read the row', async ({
    expect,
  }) => {
    await using on = await startDeployed();
    const workers = await Promise.all([on.start('retry'), on.start('retry'), on.start('retry')]);
    for (let round = 0; round < 5; round++) {
      const key = await on.put(saying(`at the end ${round}`));
      const { next_attempt_at } = await on.read(key);
      on.clock.advance(Date.parse(next_attempt_at) - on.clock.now());
      const summaries = await Promise.all(workers.map((it) => it.invoke(schedule)));
      expect(summaries.filter((it) => (it as { replied?: number }).replied === 1)).toHaveLength(1);
      expect(on.sent(`at the end ${round}`)).toHaveLength(1);
    }
  });

  test('VVChat is slow for longer than the lease lasts', async ({ expect }) => {
    await using on = await startDeployed();
    const [reply, retry] = await Promise.all([on.start('reply'), on.start('retry')]);
    const key = await on.put(saying('say 6 times'));
    // A minute goes by with each command, and retry looks for work; the function's own time ends in between.
    const looks: unknown[] = [];
    on.vvchat.intervene = ({ operation }) =>
      operation === 'token'
        ? undefined
        : async (exchange) => {
            on.clock.advance(60_000);
            if (!looks.length) looks.push(await retry.invoke(schedule));
            await passing(exchange);
          };
    expect(await reply.invoke(inserted(key))).toEqual({ postponed: 1 });
    expect(looks).toEqual([{}]);
    expect(await on.recover(key)).toMatchObject({ status: 'replied', sent: 6 });
    expect(on.sent('say')).toEqual(Array.from({ length: 6 }, (_, i) => `say 6 times (${i})`));
  });

  test.each([
    ['retry ahead', 0, 30_000],
    ['reply behind', -30_000, 0],
    ['reply ahead', 30_000, 0],
    ['retry behind', 0, -30_000],
  ])('clocks differ by 30 s: %s', async (_, replySkew, retrySkew) => {
    await using on = await startDeployed();
    const [reply, retry] = await Promise.all([
      on.start('reply', replySkew),
      on.start('retry', retrySkew),
    ]);
    const key = await on.put(saying('say 4 times'));
    const looks: unknown[] = [];
    on.vvchat.intervene = ({ operation }) =>
      operation === 'token'
        ? undefined
        : async (exchange) => {
            // In the middle of a send, of which the first begins as early in the lease as it gets, and each
            // of the others as late: a little more than the clocks may differ is left of it.
            on.clock.advance(4_000);
            looks.push(await retry.invoke(schedule));
            const left = Date.parse((await on.read(key)).next_attempt_at) - on.clock.now();
            if (left > 33_000) on.clock.advance(left - 33_000);
            await passing(exchange);
          };
    await reply.invoke(inserted(key), 600_000);
    expect(await on.recover(key)).toMatchObject({ status: 'replied', sent: 4 });
    expect(looks).toEqual([{}, {}, {}, {}]);
    expect(on.sent('say')).toEqual(Array.from({ length: 4 }, (_, i) => `say 4 times (${i})`));
  });

  test('the index is stale', async ({ expect }) => {
    await using on = await startDeployed();
    const retry = await on.start('retry');
    const key = await on.put(saying('stale'));
    on.clock.advance(LEASE_MS + 1_000);
    const stale = new Map<string, Awaited<ReturnType<Exchange['forward']>>>();
    const shardIn = ({ body }: Exchange) => /":shard":\{"S":"(\d\d)"\}/.exec(`${body}`)?.[1];
    on.dynamodb.intervene = (exchange) => {
      const shard = shardIn(exchange);
      if (shard === undefined) return undefined;
      return async ({ answer, forward }) => {
        const known = stale.get(shard) ?? (await forward());
        stale.set(shard, known);
        answer.writeHead(known.status, { 'Content-Type': 'application/x-amz-json-1.0' });
        answer.end(known.body);
      };
    };
    expect(await retry.invoke(schedule)).toEqual({ replied: 1 });
    expect(await retry.invoke(schedule)).toEqual({ taken: 1 });
    expect(on.sent('stale')).toEqual(['stale']);
    expect(await on.read(key)).toMatchObject({ status: 'replied', claims: 1 });
  });
});

/*
 * A worker that stands still at a step, until others have done its work: then the request that was on its way
 * comes through, late, and the worker goes on, its lease long over.
 */
test.concurrent.each(['reply', 'retry'] as const)(
  'a %s that is frozen at any step, and thawed after its lease, sends nothing more',
  async (name) => {
    await using on = await startDeployed();
    const repeats: string[] = [];
    let steps = 0;
    for (let isOver = false; !isOver; steps++) {
      const text = `say 2 times (frozen at ${steps})`;
      const key = await on.put(saying(text));
      if (name === 'retry') on.clock.advance(LEASE_MS + 1_000);
      const victim = await on.start(name);
      const { frozen, thaw } = freezeAt(on, victim, steps);
      const invocation = victim.invoke(name === 'reply' ? inserted(key) : schedule);
      const at = await Promise.race([frozen, invocation.then(() => undefined)]);
      isOver = at === undefined;
      const item = await on.recover(key);
      expect(item).toMatchObject({ status: 'replied', sent: 2 });
      await thaw();
      await invocation;
      expect(await on.read(key)).toEqual(item);
      const sent = on.sent(text);
      expect(new Set(sent)).toEqual(new Set([`${text} (0)`, `${text} (1)`]));
      if (sent.length > 2) {
        repeats.push(at ?? '');
        expect(sent).toHaveLength(3);
        expect(item.unknown).toHaveLength(1);
      }
      await victim[Symbol.asyncDispose]();
    }
    // Read the row and the mutes, token, answer, and two times a send and its count; retry claims first. Then once to the end.
    expect(steps).toBe(name === 'reply' ? 9 : 10);
    // A send that was on its way, and one that had come through and was not counted, for each of two commands.
    expect(repeats.sort()).toEqual(['UpdateItem', 'UpdateItem', 'send', 'send']);
  },
);

/** Freezes a container as its nth request is on its way; the request is held back until it is thawed. */
function freezeAt(on: Deployed, victim: Awaited<ReturnType<Deployed['start']>>, step: number) {
  const { promise: frozen, resolve } = Promise.withResolvers<string>();
  const released = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  let calls = 0;
  const pausing: Fault = async (exchange) => {
    victim.freeze();
    on.dynamodb.intervene = () => undefined;
    on.vvchat.intervene = () => undefined;
    resolve(exchange.operation);
    await released.promise;
    await passing(exchange);
    done.resolve();
  };
  const intervene = ({ operation, body }: Exchange) => {
    if (operation === 'Query' && body.includes('"IndexName"')) return undefined;
    return calls++ === step ? pausing : undefined;
  };
  on.dynamodb.intervene = intervene;
  on.vvchat.intervene = intervene;
  return {
    frozen,
    thaw: async () => {
      const isFrozen = calls > step;
      released.resolve();
      if (isFrozen) await done.promise;
      victim.thaw();
    },
  };
}

describe.concurrent('the row fails after three calls, and its neighbours are answered meanwhile, with a robot that', () => {
  test.each([
    ['throws', 'throw', 'the robot threw Error'],
    [
      'kills its process',
      'kill',
      'no answer after 3 attempts: the function crashed while the robot answered',
    ],
    ['hangs', 'hang', /^RobotTimeoutError: The robot took over/],
  ])('%s', { timeout: 300_000 }, async (_, text, last_error) => {
    await using on = await startDeployed();
    const poison = await on.put(saying(text));
    const neighbours = await Promise.all(
      ['before it', 'after it', 'beside it'].map((it) => on.put(saying(it))),
    );
    const reply = await on.start('reply');
    // A function that has 33 s left leaves a robot 3 s.
    await reply.invoke(inserted(...neighbours, poison), 33_000).catch(() => {});
    for (let minutes = 0; (await on.read(poison)).status === 'pending'; minutes++) {
      expect(minutes).toBeLessThan(6);
      const fresh = await on.put(saying(`new in minute ${minutes}`));
      expect(await (await on.start('reply')).invoke(inserted(fresh))).toEqual({ replied: 1 });
      on.clock.advance(LEASE_MS + 3_600_000);
      await (await on.start('retry')).invoke(schedule).catch(() => {});
    }
    expect(await on.read(poison)).toMatchObject({
      status: 'failed',
      robot_calls: 3,
      last_error: typeof last_error === 'string' ? last_error : expect.stringMatching(last_error),
    });
    expect(on.sent(text)).toEqual([]);
    const { next_attempt_at: failed_at } = await on.read(poison);
    for (const neighbour of neighbours) {
      const { text = '', status, replied_at = '' } = await on.read(neighbour);
      expect({ status, sent: on.sent(text) }).toEqual({ status: 'replied', sent: [text] });
      expect(replied_at < failed_at).toBe(true);
    }
  });
});

test('retry skips an app whose VVChat is down after a few rows, and delivers them all later', async () => {
  await using on = await startDeployed();
  const keys = await Promise.all(
    Array.from({ length: 8 }, (_, i) => on.put(saying(`during the outage ${i}`))),
  );
  on.vvchat.intervene = ({ operation }) => (operation === 'send' ? respondingWith(503) : undefined);
  const reply = await on.start('reply');
  await reply.invoke(inserted(...keys));
  on.vvchat.intervene = () => undefined;
  for (const key of keys) expect(await on.recover(key)).toMatchObject({ status: 'replied' });
  expect(on.sent('during the outage').sort()).toEqual(keys.map((_, i) => `during the outage ${i}`));
});
