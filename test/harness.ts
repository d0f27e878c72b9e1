import type { Table } from '../lib/aws/table.ts';
import type { Delivery } from '../lib/delivery/deliver.ts';
import * as inbox from '../lib/inbox/transitions.ts';
import type { Robot } from '../lib/robot.ts';
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
  readonly delivery: (robot: Robot, table?: Table) => Delivery;
  readonly inbox: Table;
  /** Puts an event, with a text that none had before unless given, and reads its row. */
  readonly put: (event?: Event) => Promise<inbox.Item>;
  readonly read: (key: inbox.Key) => Promise<inbox.Item>;
}

export async function startTestHarness(clock: Clock): Promise<TestHarness> {
  const [engine, vvchat] = await Promise.all([startEngine(), startVVChat(clock.now)]);
  const table = engine.table('inbox', clock);
  const read = async (key: inbox.Key) => {
    const item = await inbox.read(table, key);
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
      const { event_id } = await inbox.enqueue(
        table,
        event,
        await inbox.findLatest(table, event),
        5,
      );
      return read({ session_open_id: event.data.session.session_open_id, event_id });
    },
    delivery: (robot, own = table) => {
      const api = createRobotApi(vvchat.url, clock.now);
      return {
        inbox: own,
        robot,
        api,
        tokens: createTokens(engine.table('tokens', clock), async (app_id) =>
          api.fetchToken(app_id, APPS.get(app_id) ?? ''),
        ),
        retentionDays: 30,
        deadline: clock.now() + 300_000,
        random: () => 0.5,
      };
    },
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      await vvchat[Symbol.asyncDispose]();
    },
  };
}
