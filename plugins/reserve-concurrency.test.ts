import { describe, expect, test, vi } from 'vitest';
import ReserveConcurrencyPlugin, {
  type Account,
  DEFAULTS,
  MIN_UNRESERVED,
} from './reserve-concurrency.ts';

const NEEDED = DEFAULTS.webhook + DEFAULTS.retry;

interface Scene {
  readonly command?: string;
  readonly unreserved?: number;
  /** What both functions have reserved already. */
  readonly own?: Readonly<Record<string, number>>;
  readonly webhook?: number;
  readonly fails?: boolean;
}

/** Runs the plugin as a command does; what the functions have reserved then, and what is printed. */
async function afterCommand({
  command = 'deploy',
  unreserved = 1_000,
  own = {},
  webhook,
  fails = false,
}: Scene) {
  const functions = {
    webhook: { name: 's-dev-webhook', reservedConcurrency: webhook ?? null },
    retry: { name: 's-dev-retry', reservedConcurrency: null },
  };
  const printed: string[] = [];
  const print = (text: string) => void printed.push(text);
  const account: Account = {
    unreserved: async () => {
      if (fails) throw Object.assign(new Error('secret'), { name: 'AccessDeniedException' });
      return unreserved;
    },
    reservedFor: async (name) => own[name] ?? 0,
  };
  const plugin = new ReserveConcurrencyPlugin(
    {
      processedInput: { commands: command.split(' ') },
      service: { provider: { region: 'us-east-1' }, functions },
    },
    {},
    { log: { notice: print, warning: print } },
    account,
  );
  await plugin.hooks['before:package:initialize']?.();
  const { reservedConcurrency: ofWebhook } = functions.webhook;
  return { reserved: [ofWebhook, functions.retry.reservedConcurrency], printed };
}

describe('a deployment', () => {
  test('reserves concurrency in an account that begins with 1,000', async () => {
    expect(await afterCommand({})).toEqual({
      reserved: [DEFAULTS.webhook, DEFAULTS.retry],
      printed: [`Reserved concurrency: webhook ${DEFAULTS.webhook}, retry ${DEFAULTS.retry}.`],
    });
  });

  test.each([10, 100, MIN_UNRESERVED + NEEDED - 1])(
    'reserves none in an account with %i unreserved, where it could fail or starve others',
    async (unreserved) => {
      const { reserved, printed } = await afterCommand({ unreserved });
      expect(reserved).toEqual([null, null]);
      expect(printed).toEqual([
        `Reserved concurrency: none, because ${unreserved} of the account's are unreserved, and ${MIN_UNRESERVED} must remain so.`,
      ]);
    },
  );

  test('keeps what an earlier one reserved', async () => {
    const own = { 's-dev-webhook': DEFAULTS.webhook, 's-dev-retry': DEFAULTS.retry };
    const { reserved } = await afterCommand({ unreserved: MIN_UNRESERVED, own });
    expect(reserved).toEqual([DEFAULTS.webhook, DEFAULTS.retry]);
  });

  test('leaves a number that a setting gives as it is', async () => {
    expect((await afterCommand({ webhook: 7 })).reserved).toEqual([7, DEFAULTS.retry]);
  });

  test('reserves none with RESERVE_CONCURRENCY=false', async () => {
    vi.stubEnv('RESERVE_CONCURRENCY', 'false');
    expect((await afterCommand({})).reserved).toEqual([null, null]);
  });

  test('goes on without, and says why, if the limit cannot be read', async () => {
    expect(await afterCommand({ fails: true })).toEqual({
      reserved: [null, null],
      printed: [
        "No concurrency is reserved: the account's limit could not be read (AccessDeniedException).",
      ],
    });
  });
});

test.each(['package', 'deploy function', 'offline start', 'invoke local'])(
  '%s asks AWS nothing, and reserves nothing',
  async (command) => {
    expect(await afterCommand({ command, fails: true })).toEqual({
      reserved: [null, null],
      printed: [],
    });
  },
);
