import type { Robot } from '../lib/define-robot.ts';
import { createAnswers } from '../lib/delivery/answers.ts';
import { ROBOT_MS } from '../lib/delivery/budgets.ts';
import type { Delivery } from '../lib/delivery/delivery.ts';
import { createMutes } from '../lib/delivery/mutes.ts';
import { enqueue, findLatest } from '../lib/inbox/enqueue.ts';
import type { Item, Key } from '../lib/inbox/item.ts';
import * as queries from '../lib/inbox/queries.ts';
import type { InboxTable } from '../lib/inbox/table.ts';
import { createRobotApi } from '../lib/vvchat/api.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { createTokens } from '../lib/vvchat/token.ts';
import { type Clock, type Engine, startEngine } from './engine.ts';
import { saying } from './fixtures.ts';
import { APPS, type FakeVVChat, startVVChat } from './vvchat.ts';

/** An engine and a VVChat, both over HTTP, and what works on them. */
export interface TestHarness extends AsyncDisposable {
  readonly engine: Engine;
  readonly vvchat: FakeVVChat;
  /** Deliveries as a function has them; with a table of its own, should a test interfere with it. */
  readonly delivery: (robot: Robot, table?: InboxTable) => Delivery;
  readonly inbox: InboxTable;
  /** Enqueues an event, with a text that none had before unless given, and reads its row. */
  readonly put: (event?: Event) => Promise<Item>;
  readonly read: (key: Key) => Promise<Item>;
}

export async function startTestHarness(clock: Clock): Promise<TestHarness> {
  const [engine, vvchat] = await Promise.all([startEngine(), startVVChat(clock.now)]);
  const table = engine.table('inbox', clock);
  const read = async (key: Key) => {
    const item = await queries.read(table, key);
    if (!item) throw new Error('no such row');
    return item;
  };
  let texts = 0;
  return {
    engine,
    vvchat,
    inbox: table,
    read,
    put: async (event = saying(`message ${++texts}`)) => {
      const { event_id } = await enqueue(table, await findLatest(table, event), 5);
      return read({ session_open_id: event.data.session.session_open_id, event_id });
    },
    delivery: (robot, own = table) => {
      const api = createRobotApi(vvchat.url, clock.now);
      return {
        inbox: own,
        robot,
        robotMs: ROBOT_MS,
        api,
        mutes: createMutes(engine.table('mutes', clock)),
        answers: createAnswers(engine.table('tokens', clock)),
        tokens: createTokens(engine.table('tokens', clock), async (app_id) =>
          api.fetchToken(app_id, APPS.get(app_id) ?? ''),
        ),
        deadline: clock.now() + 300_000,
      };
    },
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      await vvchat[Symbol.asyncDispose]();
    },
  };
}
