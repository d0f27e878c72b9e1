import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BatchGetItemCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { MiddlewareHandler } from 'hono';
import { toAttributes } from '../../lib/aws/table.ts';
import { itemIn, type Key } from '../../lib/inbox/item.ts';
import { isResponseLost } from './faults.ts';
import { type Exchange, LIMITS, pairOf, type Row } from './state.ts';
import type { Store } from './store.ts';

export interface TrafficOptions {
  readonly store: Store;
  readonly client: DynamoDBClient;
  readonly inboxTable: string;
  /** The URL that VVChat posts its events to. */
  readonly webhookUrl: string;
}

/** The webhook has 10 s. */
const WEBHOOK_MS = 15_000;

/** How often pending rows are read. */
const POLL_MS = 100;

/** How often failed rows are read; a redrive may put them back. */
const FAILED_POLL_MS = 1_000;

/** How many rows are followed; the state holds as many. */
const MAX_FOLLOWED = LIMITS.rows;

/** DynamoDB's limit for BatchGetItem. */
const BATCH_SIZE = 100;

/** The requests between VVChat and the functions, and the inbox rows that result from them. */
export class Traffic {
  readonly #options: TrafficOptions;
  /** The rows that may still change. */
  readonly #followed = new Map<string, Key>();
  readonly #stopped = new AbortController();

  constructor(options: TrafficOptions) {
    this.#options = options;
    void this.#poll();
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** Posts a body to the webhook as VVChat does, whether it is an event or not, and records the exchange. */
  async post(body: string): Promise<void> {
    const { name, session_open_id, robot_no } = aboutEvent(body);
    const request: Exchange = {
      id: randomUUID(),
      kind: 'event',
      name,
      robot_no,
      at: Date.now(),
      body,
    };
    this.#record(request);
    const exchange = await this.#postTo(request);
    const event_id = eventIdIn(exchange.answer ?? '');
    if (session_open_id === undefined || event_id === undefined) return this.#record(exchange);
    const row = rowId({ session_open_id, event_id });
    if (!this.#options.store.get('rows', row))
      this.#followed.set(row, { session_open_id, event_id });
    const [oldest] = this.#followed.keys();
    if (oldest !== undefined && this.#followed.size > MAX_FOLLOWED) this.#followed.delete(oldest);
    this.#record({ ...exchange, row });
  }

  /** Records the calls of the robot API, without keys and tokens. */
  readonly recordExchange: MiddlewareHandler = async (c, next) => {
    const app_id = c.req.query('app_id') ?? '';
    const kind = c.req.path.endsWith('/token') ? 'token' : 'command';
    const body = kind === 'token' ? `app_id=${app_id}` : await c.req.raw.clone().text();
    const name = kind === 'token' ? app_id : commandIn(body);
    const request: Exchange = {
      id: randomUUID(),
      kind,
      name,
      robot_no: c.req.query('robot_no'),
      at: Date.now(),
      body,
    };
    this.#record(request);
    const began = performance.now();
    await next();
    // No status arrives with a response that is lost.
    const status = isResponseLost(c) ? 0 : c.res.status;
    const isSecret = kind === 'token' && c.res.ok;
    const answer = isSecret ? '{"token":"…"}' : await c.res.clone().text();
    this.#record({ ...request, status, answer, ms: performance.now() - began });
  };

  async #postTo(request: Exchange): Promise<Exchange> {
    const began = performance.now();
    const done = (response: Pick<Exchange, 'status' | 'answer' | 'failure'>): Exchange => ({
      ...request,
      ...response,
      ms: performance.now() - began,
    });
    try {
      const response = await fetch(this.#options.webhookUrl, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: request.body,
        signal: AbortSignal.timeout(WEBHOOK_MS),
      });
      return done({ status: response.status, answer: await response.text() });
    } catch (error) {
      return done({ status: 0, failure: (error as Error).message });
    }
  }

  #record(exchange: Exchange): void {
    const { store } = this.#options;
    // One that was dropped meanwhile must not come back as the newest.
    if (exchange.status !== undefined && !store.get('exchanges', exchange.id)) return;
    store.set('exchanges', exchange.id, exchange);
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    for (let last = 0; !signal.aborted; await sleep(POLL_MS)) {
      const isAll = Date.now() - last >= FAILED_POLL_MS;
      if (isAll) last = Date.now();
      const failed = (id: string) => this.#options.store.get('rows', id)?.status === 'failed';
      const keys = [...this.#followed].filter(([id]) => isAll || !failed(id)).map(([, key]) => key);
      // The engine may be busy or stopping; the next poll is soon.
      for (let i = 0; i < keys.length; i += BATCH_SIZE) {
        await this.#refresh(keys.slice(i, i + BATCH_SIZE)).catch(() => {});
      }
    }
  }

  async #refresh(keys: readonly Key[]): Promise<void> {
    const { client, inboxTable, store } = this.#options;
    const { Responses } = await client.send(
      new BatchGetItemCommand({
        RequestItems: {
          [inboxTable]: {
            Keys: keys.map(({ session_open_id, event_id }) =>
              toAttributes({ session_open_id, event_id }),
            ),
          },
        },
      }),
    );
    for (const attributes of Responses?.[inboxTable] ?? []) {
      const item = itemIn(attributes);
      const id = rowId(item);
      const { status, phase, claims, sent, next_attempt_at, last_error, unknown } = item;
      const row: Row = { id, status, phase, claims, sent, next_attempt_at, last_error, unknown };
      if (JSON.stringify(row) !== JSON.stringify(store.get('rows', id))) store.set('rows', id, row);
      if (status === 'replied' || status === 'ignored') this.#followed.delete(id);
    }
  }
}

const rowId = ({ session_open_id, event_id }: Key) => pairOf(session_open_id, event_id);

/** The fields of a body that resembles an event. */
function aboutEvent(body: string): { name: string; session_open_id?: string; robot_no?: string } {
  const it = parsed(body);
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  const session_open_id = text(it?.data?.session?.session_open_id);
  const robot_no = text(it?.data?.robot?.robot_no);
  return {
    name: text(it?.event) ?? '?',
    ...(session_open_id && { session_open_id }),
    ...(robot_no && { robot_no }),
  };
}

const eventIdIn = (answer: string): string | undefined => parsed(answer)?.event_id;

const commandIn = (body: string): string => parsed(body)?.content?.cmd ?? '?';

// biome-ignore lint/suspicious/noExplicitAny: callers look for fields that may be absent
function parsed(json: string): any {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
