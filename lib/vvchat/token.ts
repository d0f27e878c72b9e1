import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso, type Table, toAttributes, updateIf } from '../aws/table.ts';
import { CLOCK_SKEW_MS } from '../inbox/backoff.ts';
import { errorFields } from '../log.ts';
import { type FetchedToken, VVChatError } from './api.ts';
import { AppKeyError } from './app-key.ts';

/*
 * The tokens table has a row per app, so that a hundred cold workers ask VVChat once. The worker that asks holds the
 * row's lease meanwhile. If VVChat gives no token, the lease stays with the error for a few seconds, and no worker asks
 * again before that.
 */

export interface Token extends FetchedToken {
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
}

/** No token can be had now. The message is safe to log. */
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
   * Another token in place of one with which VVChat refused a command; undefined when that one is so young that the
   * command must have been refused for another reason.
   *
   * @throws {NoTokenError}
   */
  readonly replace: (app_id: string, rejected: Token) => Promise<Token | undefined>;
}

/** How long a key and a token may take to fetch. */
const FETCH_MS = 10_000;

/**
 * Outlasts the fetch by as much as two workers' clocks may differ: VVChat may end a token when it gives out another,
 * so two workers must not ask at once.
 */
const TOKEN_LEASE_MS = FETCH_MS + CLOCK_SKEW_MS;

/** After VVChat gave no token, it is not asked again for so long. */
export const TOKEN_PAUSE_MS = 10_000;

/** A token that VVChat refuses although it is younger than this is not the reason. */
export const MIN_REJECTED_AGE_MS = 60_000;

/** A token is not used in the last minute before it expires. */
const EXPIRY_MARGIN_MS = 60_000;

/** How long to wait for a token that another worker is fetching. */
const MAX_WAIT_MS = 15_000;

const POLL_MS = 200;

/**
 * For how long a container uses a token without a look at the table. Deleting the row makes every container fetch
 * anew within that time, with the app's key as it is then.
 */
export const RECHECK_MS = 30_000;

type FetchToken = (app_id: string) => Promise<FetchedToken>;

/** @param fetchToken asks VVChat; rejects with {@link VVChatError} or {@link AppKeyError} */
export const createTokens = (table: Table, fetchToken: FetchToken): Tokens =>
  new SharedTokens(table, fetchToken);

class SharedTokens implements Tokens {
  readonly #table: Table;
  readonly #fetchToken: FetchToken;
  readonly #cache = new Map<string, { readonly token: Token; readonly checkedAt: number }>();
  /** One look-up per app, and per token refused, at a time, however many deliveries of this process wait for it. */
  readonly #inFlight = new Map<string, Promise<Token>>();

  constructor(table: Table, fetchToken: FetchToken) {
    this.#table = table;
    this.#fetchToken = fetchToken;
  }

  async get(app_id: string): Promise<Token> {
    const cached = this.#cache.get(app_id);
    if (!cached || !this.#isUsable(cached.token)) return orNoToken(this.#obtain(app_id));
    if (this.#table.now() < cached.checkedAt + RECHECK_MS) return cached.token;
    return this.#recheck(app_id, cached.token);
  }

  async replace(app_id: string, rejected: Token): Promise<Token | undefined> {
    const stored = tokenIn(await orNoToken(readRow(this.#table, app_id)));
    if (this.#isUsable(stored, rejected)) return this.#remember(app_id, stored);
    const isYoung = this.#table.now() - rejected.fetchedAt < MIN_REJECTED_AGE_MS;
    return isYoung ? undefined : orNoToken(this.#obtain(app_id, rejected));
  }

  /** A table that cannot be read does not end the use of a token. */
  async #recheck(app_id: string, token: Token): Promise<Token> {
    try {
      return await this.#obtain(app_id);
    } catch (error) {
      if (error instanceof NoTokenError) throw error;
      return this.#remember(app_id, token);
    }
  }

  #isUsable(token: Token | undefined, rejected?: Token): token is Token {
    return (
      token !== undefined &&
      token.token !== rejected?.token &&
      token.expiresAt - EXPIRY_MARGIN_MS > this.#table.now()
    );
  }

  #remember(app_id: string, token: Token): Token {
    this.#cache.set(app_id, { token, checkedAt: this.#table.now() });
    return token;
  }

  #obtain(app_id: string, rejected?: Token): Promise<Token> {
    const key = JSON.stringify([app_id, rejected?.token]);
    const lookUp =
      this.#inFlight.get(key) ??
      this.#waitForToken(app_id, rejected).finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, lookUp);
    return lookUp;
  }

  async #waitForToken(app_id: string, rejected?: Token): Promise<Token> {
    const table = this.#table;
    for (const end = table.now() + MAX_WAIT_MS; ; await sleep(POLL_MS)) {
      const row = await readRow(table, app_id);
      const token = tokenIn(row);
      if (this.#isUsable(token, rejected)) return this.#remember(app_id, token);
      const isFree = Date.parse(row.lease_ends_at ?? '1970-01-01') <= table.now();
      const lease_id = isFree ? await takeLease(table, app_id, row) : undefined;
      if (lease_id) return this.#remember(app_id, await this.#fetchUnderLease(app_id, lease_id));
      if (!isFree && row.last_error !== undefined) throw new NoTokenError(row.last_error);
      if (table.now() >= end) throw new NoTokenError('another worker is still fetching the token');
    }
  }

  async #fetchUnderLease(app_id: string, lease_id: string): Promise<Token> {
    const table = this.#table;
    try {
      const token = { ...(await this.#fetchToken(app_id)), fetchedAt: table.now() };
      if (await storeToken(table, app_id, lease_id, token)) return token;
      // Our lease expired, so another worker may have stored a newer token; the stored token wins.
      const stored = tokenIn(await readRow(table, app_id));
      return this.#isUsable(stored) && stored.fetchedAt >= token.fetchedAt ? stored : token;
    } catch (cause) {
      if (!(cause instanceof VVChatError || cause instanceof AppKeyError)) throw cause;
      const message = `no token: ${cause.message}`;
      await storeError(table, app_id, lease_id, message);
      const retryAfterMs = cause instanceof VVChatError ? cause.retryAfterMs : undefined;
      throw new NoTokenError(message, { cause, retryAfterMs });
    }
  }
}

/** Whatever kept a delivery from its token, nothing was sent, and a later attempt may succeed. */
async function orNoToken<T>(lookUp: Promise<T>): Promise<T> {
  try {
    return await lookUp;
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
  /** When VVChat answered a worker that had seen a send of unknown outcome. lib/delivery/answers.ts writes it. */
  readonly answered_at?: string;
}

/** An app's row of the table `tokens`; empty if there is none. */
export async function readRow(table: Table, app_id: string): Promise<TokenRow> {
  const { Item = {} } = await table.client.send(
    new GetItemCommand({
      TableName: table.name,
      Key: toAttributes({ app_id }),
      ConsistentRead: true,
    }),
    table.options,
  );
  return fromAttributes(Item);
}

function tokenIn({ token, fetched_at, expires_at }: TokenRow): Token | undefined {
  if (token === undefined || fetched_at === undefined || expires_at === undefined) return undefined;
  return { token, fetchedAt: Date.parse(fetched_at), expiresAt: expires_at * 1_000 };
}

/** Takes the lease if the row is as it was read; returns its id, or undefined if another worker was faster. */
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

/** Stores the token and gives the lease back. If the lease has ended, the token still serves this worker. */
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
    [HAS_LEASE],
    { own_lease_id: lease_id },
  );

const storeError = (table: Table, app_id: string, lease_id: string, last_error: string) =>
  updateIf(
    table,
    { app_id },
    { last_error, lease_ends_at: iso(table.now() + TOKEN_PAUSE_MS) },
    [HAS_LEASE],
    { own_lease_id: lease_id },
  );

const HAS_LEASE = '#lease_id = :own_lease_id';
