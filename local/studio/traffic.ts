import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BatchGetItemCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { MiddlewareHandler } from 'hono';
import { fromAttributes, toAttributes } from '../../lib/aws/table.ts';
import type { Item, Key } from '../../lib/inbox/item.ts';
import { isLost } from './faults.ts';
import { type Exchange, LIMITS, pairOf, type Row } from './state.ts';
import type { Store } from './store.ts';

export interface WireOptions {
  readonly store: Store;
  readonly client: DynamoDBClient;
  readonly inboxTable: string;
  /** Where VVChat's events go. */
  readonly webhookUrl: string;
}

/** The webhook has 10 s. */
const PATIENCE_MS = 15_000;

/** How often the rows are looked at that wait to be answered. */
const LOOK_MS = 100;

/** How often those that failed are, which may be put back. */
const SELDOM_MS = 1_000;

/** Of how many rows the state is followed; as many are remembered. */
const MAX_OPEN = LIMITS.rows;

/** As many as DynamoDB gives at once. */
const ROWS_AT_ONCE = 100;

/** What goes to and fro between VVChat and the functions, and the rows that come of it. */
export class Wire {
  readonly #options: WireOptions;
  /** The rows that are not settled for good. */
  readonly #open = new Map<string, Key>();
  readonly #end = new AbortController();

  constructor(options: WireOptions) {
    this.#options = options;
    void this.#watch();
  }

  stop(): void {
    this.#end.abort();
  }

  /** Posts a body as VVChat does, be it an event or not. What comes of it is in the exchange. */
  async post(body: string): Promise<void> {
    const { name, session_open_id, robot_no } = aboutEvent(body);
    const begun: Exchange = {
      id: randomUUID(),
      kind: 'event',
      name,
      robot_no,
      at: Date.now(),
      body,
    };
    this.#tell(begun);
    const answered = await this.#answered(begun);
    const event_id = eventIdIn(answered.answer ?? '');
    if (session_open_id === undefined || event_id === undefined) return this.#tell(answered);
    const row = rowId({ session_open_id, event_id });
    if (!this.#options.store.get('rows', row)) this.#open.set(row, { session_open_id, event_id });
    const [oldest] = this.#open.keys();
    if (oldest !== undefined && this.#open.size > MAX_OPEN) this.#open.delete(oldest);
    this.#tell({ ...answered, row });
  }

  /** Takes down what is asked of the robot API, and what it answers; no key, no token. */
  readonly witness: MiddlewareHandler = async (c, next) => {
    const app_id = c.req.query('app_id') ?? '';
    const kind = c.req.path.endsWith('/token') ? 'token' : 'command';
    const body = kind === 'token' ? `app_id=${app_id}` : await c.req.raw.clone().text();
    const name = kind === 'token' ? app_id : commandIn(body);
    const begun: Exchange = {
      id: randomUUID(),
      kind,
      name,
      robot_no: c.req.query('robot_no'),
      at: Date.now(),
      body,
    };
    this.#tell(begun);
    const began = performance.now();
    await next();
    // An answer that was to be lost has no status that anybody saw.
    const status = isLost(c) ? 0 : c.res.status;
    const isSecret = kind === 'token' && c.res.ok;
    const answer = isSecret ? '{"token":"…"}' : await c.res.clone().text();
    this.#tell({ ...begun, status, answer, ms: performance.now() - began });
  };

  async #answered(begun: Exchange): Promise<Exchange> {
    const began = performance.now();
    const done = (status: number, answer: string): Exchange => ({
      ...begun,
      status,
      answer,
      ms: performance.now() - began,
    });
    try {
      const response = await fetch(this.#options.webhookUrl, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: begun.body,
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      return done(response.status, await response.text());
    } catch (error) {
      return done(0, `The webhook did not answer: ${(error as Error).message}.`);
    }
  }

  #tell(exchange: Exchange): void {
    const { store } = this.#options;
    // One that is forgotten by now does not come back as the newest.
    if (exchange.status !== undefined && !store.get('exchanges', exchange.id)) return;
    store.set('exchanges', exchange.id, exchange);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#end;
    for (let last = 0; !signal.aborted; await sleep(LOOK_MS)) {
      const isAll = Date.now() - last >= SELDOM_MS;
      if (isAll) last = Date.now();
      const failed = (id: string) => this.#options.store.get('rows', id)?.status === 'failed';
      const keys = [...this.#open].filter(([id]) => isAll || !failed(id)).map(([, key]) => key);
      // The engine may be busy or on its way out; the next look is soon.
      for (let i = 0; i < keys.length; i += ROWS_AT_ONCE) {
        await this.#look(keys.slice(i, i + ROWS_AT_ONCE)).catch(() => {});
      }
    }
  }

  async #look(keys: readonly Key[]): Promise<void> {
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
      const item = fromAttributes(attributes) as unknown as Item;
      const id = rowId(item);
      const { status, claims, sent, next_attempt_at, last_error, unknown } = item;
      const row: Row = { id, status, claims, sent, next_attempt_at, last_error, unknown };
      if (JSON.stringify(row) !== JSON.stringify(store.get('rows', id))) store.set('rows', id, row);
      if (status === 'replied' || status === 'ignored') this.#open.delete(id);
    }
  }
}

const rowId = ({ session_open_id, event_id }: Key) => pairOf(session_open_id, event_id);

/** What a body tells of itself, if it is anything like an event. */
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

// biome-ignore lint/suspicious/noExplicitAny: whoever asks looks for what may not be there
function parsed(json: string): any {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
