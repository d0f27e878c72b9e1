import { expect, test } from 'vitest';
import { inserted, startDeployed } from './deployed.ts';
import { sample, saying } from './fixtures.ts';

/* Many containers at the same moment. */

test('50 equal deliveries at the same moment queue one reply', async () => {
  await using on = await startDeployed();
  const webhooks = await Promise.all(Array.from({ length: 10 }, () => on.start('webhook')));
  for (let round = 0; round < 5; round++) {
    const event = saying(`all at once ${round}`);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => on.post(webhooks[i % 10] ?? fail(), event)),
    );
    const statuses = answers.map(({ status, body }) => `${status} ${body.status}`).sort();
    expect(statuses).toEqual([...Array(49).fill('200 duplicate'), '200 queued']);
    expect(new Set(answers.map(({ body }) => body.event_id)).size).toBe(1);
    const key = await on.put(event);
    expect(await on.recover(key)).toMatchObject({ status: 'replied' });
    expect(on.sent(`all at once ${round}`)).toHaveLength(1);
  }
});

test('two of reply and two of retry on the same row send the reply once', async () => {
  await using on = await startDeployed();
  const [replies, retries] = await Promise.all([
    Promise.all([on.start('reply'), on.start('reply')]),
    Promise.all([on.start('retry'), on.start('retry')]),
  ]);
  for (let round = 0; round < 10; round++) {
    const text = `say 3 times (round ${round})`;
    const key = await on.put(saying(text));
    // The lease is at its end, so that any worker may claim the row.
    on.clock.advance(Date.parse((await on.read(key)).next_attempt_at) - on.clock.now());
    await Promise.all([
      ...replies.map((it) => it.invoke(inserted(key, key))),
      ...retries.map((it) => it.invoke(sample('retry'))),
    ]);
    expect(await on.recover(key)).toMatchObject({ status: 'replied', sent: 3 });
    expect(on.sent(text)).toEqual([`${text} (0)`, `${text} (1)`, `${text} (2)`]);
    expect(await on.read(key)).not.toHaveProperty('unknown');
  }
});

test('100 cold containers that need a token fetch one', async () => {
  await using on = await startDeployed();
  const containers = await Promise.all(Array.from({ length: 100 }, () => on.start('reply')));
  const keys = await Promise.all(containers.map((_, i) => on.put(saying(`cold ${i}`))));
  const summaries = await Promise.all(
    containers.map((it, i) => it.invoke(inserted(keys[i] ?? fail()))),
  );
  expect(summaries).toEqual(containers.map(() => ({ replied: 1 })));
  expect(on.vvchat.requests.filter((it) => it === 'token')).toHaveLength(1);
  expect(on.sent('cold')).toHaveLength(100);
});

function fail(): never {
  throw new Error('there are as many');
}
