import { DeleteItemCommand, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  beforeCalls,
  Clock,
  type Engine,
  loseFirstAnswer,
  startEngine,
} from '../../test/engine.ts';
import { fromAttributes, iso, type Table, toAttributes, updateIf } from '../aws/table.ts';
import { type FetchedToken, VVChatError } from './api.ts';
import { AppKeyError } from './app-key.ts';
import { createTokens, NoTokenError, RECHECK_MS } from './token.ts';

let engine: Engine;
let clock: Clock;
let table: Table;
let app_id: string;
let apps = 0;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(() => {
  clock = new Clock();
  table = engine.table('tokens', clock);
  app_id = `app-${++apps}`;
});

/** VVChat, which gives a new token at each call. */
const vvchat = () => {
  let given = 0;
  const fetchToken = async (): Promise<FetchedToken> => ({
    token: `token-${++given}`,
    expiresAt: clock.now() + 7_200_000,
  });
  return Object.assign(fetchToken, { given: () => given });
};

const rejecting = (error: Error) => () => Promise.reject(error);

const row = async () => {
  const { Item = {} } = await table.client.send(
    new GetItemCommand({ TableName: table.name, Key: toAttributes({ app_id }) }),
  );
  return fromAttributes(Item);
};

const put = (values: Record<string, string | number>) =>
  table.client.send(
    new PutItemCommand({ TableName: table.name, Item: toAttributes({ app_id, ...values }) }),
  );

describe('get', () => {
  test('fetches a token, stores it and gives the lease back', async () => {
    const fetchToken = vvchat();
    const token = await createTokens(table, fetchToken).get(app_id);
    expect(token).toEqual({
      token: 'token-1',
      fetchedAt: clock.now(),
      expiresAt: clock.now() + 7_200_000,
    });
    expect(await row()).toEqual({
      app_id,
      token: 'token-1',
      fetched_at: iso(clock.now()),
      expires_at: (clock.now() + 7_200_000) / 1_000,
    });
  });

  test('asks VVChat once while the token is valid', async () => {
    const fetchToken = vvchat();
    const tokens = createTokens(table, fetchToken);
    const first = await tokens.get(app_id);
    clock.advance(7_140_000 - 1);
    expect(await tokens.get(app_id)).toEqual(first);
    clock.advance(1);
    expect(await tokens.get(app_id)).toMatchObject({ token: 'token-2' });
    expect(fetchToken.given()).toBe(2);
  });

  test('uses the token that another worker has stored', async () => {
    const fetchToken = vvchat();
    const first = await createTokens(table, fetchToken).get(app_id);
    expect(await createTokens(table, fetchToken).get(app_id)).toEqual(first);
    expect(fetchToken.given()).toBe(1);
  });

  test('asks VVChat once for 100 cold workers, with many deliveries each', async () => {
    const fetchToken = vvchat();
    const workers = Array.from({ length: 100 }, () => createTokens(table, fetchToken));
    const ticking = setInterval(() => clock.advance(20), 20);
    const got = await Promise.all(
      workers.flatMap((tokens) => [tokens.get(app_id), tokens.get(app_id)]),
    ).finally(() => clearInterval(ticking));
    expect(new Set(got.map(({ token }) => token))).toEqual(new Set(['token-1']));
    expect(fetchToken.given()).toBe(1);
  });

  test('does not ask VVChat when another worker has fetched a token since the row was read', async () => {
    const fetchToken = vvchat();
    const slow = { ...table, client: engine.newClient() };
    const reads: unknown[] = [];
    beforeCalls(slow.client, async (operation, { ConsistentRead }) => {
      if (operation === 'UpdateItem') await createTokens(table, fetchToken).get(app_id);
      else reads.push(ConsistentRead);
    });
    expect(await createTokens(slow, fetchToken).get(app_id)).toMatchObject({ token: 'token-1' });
    expect(fetchToken.given()).toBe(1);
    expect(new Set(reads)).toEqual(new Set([true]));
  });

  test('reads the table once for all deliveries of a worker', async () => {
    await put({
      token: 'stored',
      fetched_at: iso(clock.now()),
      expires_at: clock.now() / 1_000 + 7_200,
    });
    const watched = { ...table, client: engine.newClient() };
    const calls: string[] = [];
    beforeCalls(watched.client, (operation) => calls.push(operation));
    const tokens = createTokens(watched, vvchat());
    await Promise.all(Array.from({ length: 20 }, () => tokens.get(app_id)));
    expect(calls).toEqual(['GetItem']);
  });

  test('takes over the lease of a worker that crashed', async () => {
    await put({ lease_id: 'dead', lease_ends_at: iso(clock.now()) });
    expect(await createTokens(table, vvchat()).get(app_id)).toMatchObject({ token: 'token-1' });
    expect(await row()).not.toHaveProperty('lease_id');
  });

  test('has a lease that a worker whose clock is 30 s ahead does not take over', async () => {
    const stored: Record<string, unknown>[] = [];
    const fetchToken = vvchat();
    await createTokens(table, async () => {
      stored.push(await row());
      return fetchToken();
    }).get(app_id);
    // VVChat and the store of keys have 10 s.
    expect(stored).toEqual([
      { app_id, lease_id: expect.any(String), lease_ends_at: iso(clock.now() + 40_000) },
    ]);
  });

  test('stops waiting for a worker that takes too long', async () => {
    await put({ lease_id: 'slow', lease_ends_at: iso(clock.now() + 3_600_000) });
    const got = createTokens(table, vvchat()).get(app_id);
    const ticking = setInterval(() => clock.advance(5_000), 10);
    await expect(got.finally(() => clearInterval(ticking))).rejects.toThrow(
      new NoTokenError('another worker is still fetching the token'),
    );
  });

  test('recognises its own lease when only the answer was lost', async () => {
    const client = engine.newClient();
    const isLost = loseFirstAnswer(client, 'UpdateItemCommand');
    const fetchToken = vvchat();
    const token = await createTokens({ ...table, client }, fetchToken).get(app_id);
    expect(token).toMatchObject({ token: 'token-1' });
    expect(isLost()).toBe(true);
  });

  test('uses its token even if its lease has ended, and leaves the row to the next worker', async () => {
    const tokens = createTokens(table, async () => {
      await updateIf(table, { app_id }, { lease_id: 'other' }, ['attribute_exists(lease_id)']);
      return { token: 'mine', expiresAt: clock.now() + 7_200_000 };
    });
    expect(await tokens.get(app_id)).toMatchObject({ token: 'mine' });
    expect(await row()).toMatchObject({ lease_id: 'other' });
    expect(await row()).not.toHaveProperty('token');
  });

  test('prefers the newer token of the worker that has the lease now', async () => {
    const tokens = createTokens(table, async () => {
      clock.advance(1_000);
      const newer = {
        token: 'newer',
        fetched_at: iso(clock.now() + 1),
        expires_at: clock.now() / 1_000 + 7_200,
        lease_id: undefined,
      };
      await updateIf(table, { app_id }, newer, ['attribute_exists(lease_id)']);
      return { token: 'mine', expiresAt: clock.now() + 7_200_000 };
    });
    expect(await tokens.get(app_id)).toMatchObject({ token: 'newer' });
  });

  test('stores the error with the lease, so that no worker asks again before it ends', async () => {
    const error = new VVChatError('busy', 'VVChat answered 503', { retryAfterMs: 9_000 });
    const failing = createTokens(table, rejecting(error)).get(app_id);
    await expect(failing).rejects.toMatchObject({
      name: 'NoTokenError',
      message: 'no token: VVChat answered 503',
      retryAfterMs: 9_000,
      cause: error,
    });
    const fetchToken = vvchat();
    const tokens = createTokens(table, fetchToken);
    await expect(tokens.get(app_id)).rejects.toThrow('no token: VVChat answered 503');
    clock.advance(9_999);
    await expect(tokens.get(app_id)).rejects.toThrow('no token: VVChat answered 503');
    expect(fetchToken.given()).toBe(0);
    clock.advance(1);
    expect(await tokens.get(app_id)).toMatchObject({ token: 'token-1' });
    expect(await row()).not.toHaveProperty('last_error');
  });

  test('rejects for an app without a key', async () => {
    const error = new AppKeyError('app x has no key in APP_KEYS');
    await expect(createTokens(table, rejecting(error)).get(app_id)).rejects.toMatchObject({
      message: 'no token: app x has no key in APP_KEYS',
      retryAfterMs: undefined,
    });
  });

  test('reports any other error by its name alone', async () => {
    const error = new TypeError('secret');
    await expect(createTokens(table, rejecting(error)).get(app_id)).rejects.toMatchObject({
      name: 'NoTokenError',
      message: 'no token: TypeError',
      cause: error,
    });
    const nowhere = createTokens({ ...table, name: 'no-such-table' }, vvchat());
    const failure = new NoTokenError('no token: ResourceNotFoundException');
    await expect(nowhere.get(app_id)).rejects.toThrow(failure);
    const token = { token: 'x', fetchedAt: 0, expiresAt: 0 };
    await expect(nowhere.replace(app_id, token)).rejects.toThrow(failure);
  });
});

describe('replace', () => {
  test('fetches another token for one that is older than a minute', async () => {
    const fetchToken = vvchat();
    const tokens = createTokens(table, fetchToken);
    const rejected = await tokens.get(app_id);
    clock.advance(59_999);
    expect(await tokens.replace(app_id, rejected)).toBeUndefined();
    clock.advance(1);
    expect(await tokens.replace(app_id, rejected)).toMatchObject({ token: 'token-2' });
    expect(await tokens.get(app_id)).toMatchObject({ token: 'token-2' });
    expect(fetchToken.given()).toBe(2);
  });

  test('uses the stored token when it is another, however young', async () => {
    const fetchToken = vvchat();
    const tokens = createTokens(table, fetchToken);
    const rejected = await tokens.get(app_id);
    await put({
      token: 'newer',
      fetched_at: iso(clock.now()),
      expires_at: clock.now() / 1_000 + 7_200,
    });
    expect(await tokens.replace(app_id, rejected)).toMatchObject({ token: 'newer' });
    expect(fetchToken.given()).toBe(1);
  });

  test('is another token even while the refused one is looked up again', async () => {
    const refused = await createTokens(table, vvchat()).get(app_id);
    const client = engine.newClient();
    const replacing = Promise.withResolvers<void>();
    let reads = 0;
    beforeCalls(client, async (operation) => {
      if (operation === 'GetItem' && ++reads === 3) replacing.resolve();
      if (reads !== 2) return;
      await replacing.promise;
      await row();
    });
    const fetchToken = async () => ({ token: 'another', expiresAt: clock.now() + 7_200_000 });
    const tokens = createTokens({ ...table, client }, fetchToken);
    await tokens.get(app_id);
    clock.advance(61_000);
    const looking = tokens.get(app_id);
    const replaced = await tokens.replace(app_id, refused);
    expect(replaced?.token).not.toBe(refused.token);
    await looking;
  });

  test('asks VVChat once for 20 workers whose token is refused', async () => {
    const fetchToken = vvchat();
    const workers = Array.from({ length: 20 }, () => createTokens(table, fetchToken));
    const rejected = await Promise.all(workers.map((tokens) => tokens.get(app_id)));
    clock.advance(60_000);
    const others = await Promise.all(
      workers.map((tokens, i) => tokens.replace(app_id, rejected[i] as never)),
    );
    expect(new Set(others.map((token) => token?.token))).toEqual(new Set(['token-2']));
    expect(fetchToken.given()).toBe(2);
  });
});

describe('a token in memory', () => {
  const forget = () =>
    table.client.send(
      new DeleteItemCommand({ TableName: table.name, Key: toAttributes({ app_id }) }),
    );

  test('is looked up in the table every 30 s, once for all deliveries', async () => {
    const client = engine.newClient();
    const fetchToken = async () => ({ token: 'another', expiresAt: clock.now() + 7_200_000 });
    const tokens = createTokens({ ...table, client }, fetchToken);
    await tokens.get(app_id);
    let reads = 0;
    beforeCalls(client, () => void reads++);
    clock.advance(RECHECK_MS - 1);
    await tokens.get(app_id);
    expect(reads).toBe(0);
    clock.advance(1);
    await Promise.all(Array.from({ length: 20 }, () => tokens.get(app_id)));
    expect(reads).toBe(1);
  });

  test('gives way within a minute to one that the new key fetches, once the row is deleted', async () => {
    let key = 'old';
    const fetchToken = async (): Promise<FetchedToken> => ({
      token: `by the ${key} key`,
      expiresAt: clock.now() + 7_200_000,
    });
    const containers = Array.from({ length: 5 }, () => createTokens(table, fetchToken));
    const used = async () => {
      const all = await Promise.all(containers.map((tokens) => tokens.get(app_id)));
      return new Set(all.map(({ token }) => token));
    };
    expect(await used()).toEqual(new Set(['by the old key']));
    key = 'new';
    await forget();
    clock.advance(RECHECK_MS);
    expect(await used()).toEqual(new Set(['by the new key']));
  });

  test('is not used any longer if the new key gets none', async () => {
    const fetchToken = vvchat();
    let isRevoked = false;
    const tokens = createTokens(table, () =>
      isRevoked ? Promise.reject(new VVChatError('refused', 'VVChat answered 401')) : fetchToken(),
    );
    await tokens.get(app_id);
    isRevoked = true;
    await forget();
    clock.advance(RECHECK_MS);
    await expect(tokens.get(app_id)).rejects.toThrow('no token: VVChat answered 401');
  });

  test('stays in use while the table cannot be read', async () => {
    const client = engine.newClient();
    const fetchToken = async () => ({ token: 'another', expiresAt: clock.now() + 7_200_000 });
    const tokens = createTokens({ ...table, client }, fetchToken);
    const token = await tokens.get(app_id);
    beforeCalls(client, () => {
      throw new Error('down');
    });
    clock.advance(RECHECK_MS);
    expect(await tokens.get(app_id)).toEqual(token);
  });
});
