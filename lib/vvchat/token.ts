import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Table, toAttributes, updateIf } from '../aws/table.ts';
import { errorFields } from '../log.ts';
import { type FetchedToken, VVChatError } from './api.ts';
import { AppKeyError } from './app-key.ts';

/*
 * The tokens table: a row per app, so that a hundred cold workers ask VVChat once. Whoever asks holds the
 * row's lease meanwhile. When that fails the lease stays with its error until it ends: so long nobody asks again.
 */

export interface Token extends FetchedToken {
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
}

/** There is no token to be had now. The message is fit for a log. */
export class NoTokenError extends Error {
  override readonly name = 'NoTokenError';
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

export interface Tokens {
  /** @throws {NoTokenError} */
  readonly get: (app_id: string) => Promise<Token>;
  /**
   * Another token in place of one with which VVChat refused a command; nothing when that one is so young
   * that the command must have been refused for another reason.
   *
   * @throws {NoTokenError}
   */
  readonly replace: (app_id: string, rejected: Token) => Promise<Token | undefined>;
}

export const TOKEN_LEASE_MS = 10_000;

/** A token that VVChat refuses while it is younger than this is not the reason. */
const YOUNG_MS = 60_000;

/** A token is not used in the last minute of its life. */
const SPARE_MS = 60_000;

/** How long to wait for a token that somebody else is fetching. */
const PATIENCE_MS = 15_000;

const POLL_MS = 200;

/** @param fetchToken asks VVChat; rejects with {@link VVChatError} or {@link AppKeyError} */
export function createTokens(
  table: Table,
  fetchToken: (app_id: string) => Promise<FetchedToken>,
): Tokens {
  const { now } = table;
  const cache = new Map<string, Token>();
  const flights = new Map<string, Promise<Token>>();

  const isUsable = (token: Token | undefined, rejected?: Token): token is Token =>
    token !== undefined && token.token !== rejected?.token && token.expiresAt - SPARE_MS > now();

  /** One look into the table at a time and app, however many deliveries of this process wait for it. */
  const obtain = (app_id: string, rejected?: Token): Promise<Token> => {
    const flight =
      flights.get(app_id) ?? waitForToken(app_id, rejected).finally(() => flights.delete(app_id));
    flights.set(app_id, flight);
    return flight;
  };

  const waitForToken = async (app_id: string, rejected?: Token): Promise<Token> => {
    for (const end = now() + PATIENCE_MS; ; await sleep(POLL_MS)) {
      const row = await readRow(table, app_id);
      const token = tokenIn(row);
      if (isUsable(token, rejected)) return remember(app_id, token);
      const free = Date.parse(row.lease_ends_at ?? '1970-01-01') <= now();
      const lease_id = free ? await takeLease(table, app_id, row) : undefined;
      if (lease_id) return remember(app_id, await fetchUnderLease(app_id, lease_id));
      if (!free && row.last_error !== undefined) throw new NoTokenError(row.last_error);
      if (now() >= end) throw new NoTokenError('another worker is still fetching the token');
    }
  };

  const fetchUnderLease = async (app_id: string, lease_id: string): Promise<Token> => {
    try {
      const token = { ...(await fetchToken(app_id)), fetchedAt: now() };
      if (await storeToken(table, app_id, lease_id, token)) return token;
      // The lease had ended, and somebody else may have a newer one: the table's is everybody's.
      const stored = tokenIn(await readRow(table, app_id));
      return isUsable(stored) && stored.fetchedAt >= token.fetchedAt ? stored : token;
    } catch (cause) {
      if (!(cause instanceof VVChatError || cause instanceof AppKeyError)) throw cause;
      const message = `no token: ${cause.message}`;
      await storeError(table, app_id, lease_id, message);
      const retryAfterMs = cause instanceof VVChatError ? cause.retryAfterMs : undefined;
      throw new NoTokenError(message, { cause, retryAfterMs });
    }
  };

  const remember = (app_id: string, token: Token): Token => {
    cache.set(app_id, token);
    return token;
  };

  return {
    get: async (app_id) => {
      const cached = cache.get(app_id);
      return isUsable(cached) ? cached : orNoToken(obtain(app_id));
    },
    replace: async (app_id, rejected) => {
      const stored = tokenIn(await orNoToken(readRow(table, app_id)));
      if (isUsable(stored, rejected)) return remember(app_id, stored);
      const isYoung = now() - rejected.fetchedAt < YOUNG_MS;
      return isYoung ? undefined : orNoToken(obtain(app_id, rejected));
    },
  };
}

/** Whatever it is that stands between a delivery and its token: nothing was sent, and later may be better. */
async function orNoToken<T>(looked: Promise<T>): Promise<T> {
  try {
    return await looked;
  } catch (cause) {
    if (cause instanceof NoTokenError) throw cause;
    throw new NoTokenError(`no token: ${errorFields(cause).error}`, { cause });
  }
}

interface TokenRow {
  readonly token?: string;
  readonly fetched_at?: string;
  /** Seconds since 1970, for DynamoDB's time to live. */
  readonly expires_at?: number;
  readonly lease_id?: string;
  readonly lease_ends_at?: string;
  readonly last_error?: string;
}

async function readRow(table: Table, app_id: string): Promise<TokenRow> {
  const { Item = {} } = await table.client.send(
    new GetItemCommand({
      TableName: table.name,
      Key: toAttributes({ app_id }),
      ConsistentRead: true,
    }),
  );
  return fromAttributes(Item);
}

function tokenIn({ token, fetched_at, expires_at }: TokenRow): Token | undefined {
  if (token === undefined || fetched_at === undefined || expires_at === undefined) return undefined;
  return { token, fetchedAt: Date.parse(fetched_at), expiresAt: expires_at * 1_000 };
}

/** Takes the lease if the row is as seen; returns its id, or nothing if somebody else was faster. */
async function takeLease(
  table: Table,
  app_id: string,
  { lease_id: seen_lease_id, fetched_at: seen_fetched_at }: TokenRow,
): Promise<string | undefined> {
  const lease_id = randomUUID();
  const taken = await updateIf(
    table,
    { app_id },
    { lease_id, lease_ends_at: iso(table.now() + TOKEN_LEASE_MS), last_error: undefined },
    [unchanged('lease_id', seen_lease_id), unchanged('fetched_at', seen_fetched_at)],
    { seen_lease_id, seen_fetched_at },
  );
  return taken || (await readRow(table, app_id)).lease_id === lease_id ? lease_id : undefined;
}

const unchanged = (name: string, seen: string | undefined) =>
  seen === undefined ? `attribute_not_exists(#${name})` : `#${name} = :seen_${name}`;

/** Gives the lease back with what it was taken for. Should it have ended, the token still serves this worker. */
const storeToken = (table: Table, app_id: string, lease_id: string, token: Token) =>
  updateIf(
    table,
    { app_id },
    {
      token: token.token,
      fetched_at: iso(token.fetchedAt),
      expires_at: Math.floor(token.expiresAt / 1_000),
      lease_id: undefined,
      lease_ends_at: undefined,
    },
    [HELD],
    { held: lease_id },
  );

const storeError = (table: Table, app_id: string, lease_id: string, last_error: string) =>
  updateIf(table, { app_id }, { last_error }, [HELD], { held: lease_id });

const HELD = '#lease_id = :held';
