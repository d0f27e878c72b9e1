import { DeleteItemCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toAttributes } from '../lib/aws/table.ts';
import { type Deployed, inserted, startDeployed } from './deployed.ts';
import { sample, saying } from './fixtures.ts';
import { ContainerEndedError, type Lambda } from './lambda.ts';
import type { Exchange, Fault } from './proxy.ts';

/*
 * Each function is killed (SIGKILL) at every side effect in turn: before and after each call of DynamoDB and each
 * request to VVChat. Then `retry` runs, with the clock moved on.
 */

let on: Deployed;

beforeAll(async () => {
  on = await startDeployed();
}, 60_000);
afterAll(() => on[Symbol.asyncDispose]());

type Moment = 'before' | 'after';

const COMMANDS = 3;
let events = 0;
const message = () => saying(`say ${COMMANDS} times (${++events})`);

/** The answer of the robot, each command once. */
const whole = (text: string) => Array.from({ length: COMMANDS }, (_, i) => `${text} (${i})`);

/** Kills a container at one of its side effects; returns that one and those before it. */
function killAt(victim: Lambda, step: number, moment: Moment) {
  const seen: string[] = [];
  const killing: Record<Moment, Fault> = {
    before: () => victim.kill(),
    after: async ({ forward }) => {
      await forward();
      victim.kill();
    },
  };
  const intervene = (exchange: Exchange) => {
    if (isLookForDue(exchange)) return undefined;
    return seen.push(exchange.operation) === step ? killing[moment] : undefined;
  };
  on.dynamodb.intervene = intervene;
  on.vvchat.intervene = intervene;
  return seen;
}

/** How many of these come before a row is found is a matter of chance. */
const isLookForDue = ({ operation, body }: Exchange) =>
  operation === 'Query' && body.includes('"IndexName"');

function letLive() {
  on.dynamodb.intervene = () => undefined;
  on.vvchat.intervene = () => undefined;
}

/** As in a new stage: no token is there. */
const forgetToken = () =>
  on.engine.client.send(
    new DeleteItemCommand({
      TableName: on.engine.table('tokens').name,
      Key: toAttributes({ app_id: 'test' }),
    }),
  );

/** Runs until it has been killed at every step; the work must end without a kill to end this. */
async function atEveryStep(
  name: 'webhook' | 'reply' | 'retry',
  crash: (victim: Lambda, step: number) => Promise<'killed' | 'ended'>,
): Promise<number> {
  for (let step = 1; ; step++) {
    const victim = await on.start(name);
    if ((await crash(victim, step)) === 'ended') return step - 1;
    if (step > 50) throw new Error('there is no end to its steps');
  }
}

const fateOf = async (invocation: Promise<unknown>) => {
  try {
    await invocation;
    return 'ended' as const;
  } catch (error) {
    if (error instanceof ContainerEndedError) return 'killed' as const;
    throw error;
  } finally {
    letLive();
  }
};

/** Between a send and its count its outcome cannot be known: that command may be sent again. */
const isBetweenSendAndCount = (seen: readonly string[], step: number, moment: Moment) =>
  moment === 'after' ? seen[step - 1] === 'send' : seen[step - 2] === 'send';

describe.each(['before', 'after'] as const)('killed %s each side effect', (moment) => {
  test('the webhook leaves work that a second delivery completes, and the reply is sent once', async () => {
    const steps = await atEveryStep('webhook', async (victim, step) => {
      const event = message();
      killAt(victim, step, moment);
      const fate = await fateOf(on.post(victim, event));
      const key = await on.put(event);
      expect(await on.recover(key)).toMatchObject({ status: 'replied' });
      const text = 'content' in event.data ? event.data.content.text : '';
      expect(on.sent(text)).toEqual(whole(text));
      return fate;
    });
    expect(steps).toBe(3);
  });

  test.each(['reply', 'retry'] as const)(
    '%s leaves a row that retry finishes, sent once except for one command of unknown outcome',
    async (name) => {
      const repeats: number[] = [];
      const steps = await atEveryStep(name, async (victim, step) => {
        await forgetToken();
        const event = message();
        const key = await on.put(event);
        if (name === 'retry') on.clock.advance(121_000);
        const seen = killAt(victim, step, moment);
        const fate = await fateOf(
          victim.invoke(name === 'reply' ? inserted(key) : sample('retry')),
        );
        const text = 'content' in event.data ? event.data.content.text : '';
        const item = await on.recover(key);
        expect(item).toMatchObject({ status: 'replied', sent: COMMANDS });
        const sent = on.sent(text);
        const extra = sent.length - COMMANDS;
        expect([...new Set(sent)].sort()).toEqual(whole(text));
        expect(extra).toBeLessThanOrEqual(1);
        if (extra > 0) {
          expect(isBetweenSendAndCount(seen, step, moment)).toBe(true);
          const again = sent.findIndex((it, i) => sent.indexOf(it) < i);
          expect(item.unknown).toEqual([whole(text).indexOf(sent[again] ?? '')]);
          expect(item.last_error).toBe('outcome unknown');
        }
        repeats.push(extra);
        return fate;
      });
      // Read the row and the mutes, token (look, lease, fetch, store), answer, and three times a send and its count; retry claims first.
      expect(steps).toBe(name === 'reply' ? 13 : 14);
      expect(repeats.reduce((sum, it) => sum + it, 0)).toBe(COMMANDS);
    },
    120_000,
  );
});
