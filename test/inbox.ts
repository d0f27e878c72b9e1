import { afterAll, beforeAll, beforeEach } from 'vitest';
import { enqueue, findLatest } from '../lib/inbox/enqueue.ts';
import type { Item, Key } from '../lib/inbox/item.ts';
import { read } from '../lib/inbox/queries.ts';
import type { InboxTable } from '../lib/inbox/table.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { Clock, type Engine, startEngine } from './engine.ts';
import { saying } from './fixtures.ts';

/** An inbox for the tests of one file, with a clock that stands still for each. */
export interface InboxTest {
  readonly engine: Engine;
  readonly clock: Clock;
  table: InboxTable;
  /** An @-message that no other test has sent. */
  readonly message: () => Event;
  /** Enqueues an event as the webhook does. */
  readonly deliver: (event: Event, windowSeconds?: number) => ReturnType<typeof enqueue>;
  /** Enqueues an event, and reads its row. */
  readonly pending: (event?: Event) => Promise<Item>;
  readonly read: (key: Key) => Promise<Item>;
}

/** Starts an engine before the tests of a file, and stops it after them. */
export function useInbox(): InboxTest {
  let engine: Engine;
  let clock: Clock;
  let texts = 0;
  beforeAll(async () => {
    engine = await startEngine();
  });
  afterAll(() => engine[Symbol.asyncDispose]());
  beforeEach(() => {
    clock = new Clock();
    on.table = engine.table('inbox', clock);
  });
  const on: InboxTest = {
    get engine() {
      return engine;
    },
    get clock() {
      return clock;
    },
    table: undefined as unknown as InboxTable,
    message: () => saying(`message ${++texts}`),
    deliver: async (event, windowSeconds = 5) =>
      enqueue(on.table, await findLatest(on.table, event), windowSeconds),
    pending: async (event = on.message()) => {
      const { event_id } = await on.deliver(event);
      return on.read({ session_open_id: event.data.session.session_open_id, event_id });
    },
    read: async (key) => {
      const item = await read(on.table, key);
      if (!item) throw new Error('no such row');
      return item;
    },
  };
  return on;
}
