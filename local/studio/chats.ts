import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { Event } from '../../lib/vvchat/event.ts';
import { commandOf, type ReceivedCommand } from '../simulator/robot-api.ts';
import { StudioError } from './errors.ts';
import { effectOf } from './show-command.ts';
import { type Chat, type Line, type Membership, pairOf, type RobotAccount } from './state.ts';
import type { Store } from './store.ts';

/** The studio starts with the robots and sessions of VVChat's documentation, and a few more. */
const PEOPLE = [
  { open_id: 'T8UDxMFSYBeU-N4jCCy0PIYk7KavHYnU', name: '小明' },
  { open_id: 'Jb7mNq2cRw0sKx5hYt9fLz4aPv8dGe1u', name: 'Anna' },
  { open_id: 'q3ZxVn6kTf1yBo8rCw5jMs0eHd7uLi2g', name: '李雷' },
];
const ROBOTS = [
  { robot_no: 'xds2323', open_id: 'lJsDBB01QzGpBKOC7uaZB6D0QGZWBMCS', app_id: 'test', name: '小V' },
  {
    robot_no: 'xds3345',
    open_id: 'CWYlCXOccx73NnVGntzatmSLEzgoFMTO',
    app_id: 'qiyunxin',
    name: '小七',
  },
  {
    robot_no: 'xds4567',
    open_id: 'Wm2kEo9vTb6xSj3nQf8hRz1cYp5gUa0d',
    app_id: 'test',
    name: 'Echo',
  },
];
const GROUPS = [
  {
    session_open_id: '8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2',
    name: '周末徒步 Hiking',
    robots: ['xds2323'],
  },
  { session_open_id: 'hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp', name: '读书会 Book club', robots: [] },
];

/** The chats. Each action of a person returns the events that VVChat would post. */
export class Chats {
  readonly #store: Store;
  readonly #now: () => number;

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
    for (const { session_open_id, name, robots } of GROUPS) {
      const chat: Chat = {
        id: session_open_id,
        session_open_id,
        session_type: '2',
        name,
        robots,
      };
      store.set('chats', chat.id, chat);
    }
    for (const person of PEOPLE) store.set('people', person.open_id, person);
    for (const robot of ROBOTS) store.set('robots', robot.robot_no, robot);
    for (const { open_id } of PEOPLE) {
      for (const robot of ROBOTS) this.#oneToOne(open_id, robot.robot_no);
    }
  }

  /** A group without robots. */
  create(name: string): Chat {
    const chat = this.#chatOf({ session_open_id: randomUUID(), session_type: '2' }, '', name);
    if (!chat) throw new StudioError('too-many-chats');
    return chat;
  }

  /** A person adds a robot to a group. */
  join(chatId: string, robot_no: string, person: string): Event[] {
    const chat = this.#chat(chatId);
    const robot = this.#robot(robot_no);
    if (chat.session_type !== '2') throw new StudioError('groups-only');
    if (chat.robots.includes(robot_no)) throw new StudioError('robot-already-in-group');
    this.#withRobot(chat, robot_no);
    this.#addLine({ chat: chatId, person, robot_no, kind: 'joined' });
    return [{ event: 'join-group-for-invite', version: 'v1', data: about(chat, robot, person) }];
  }

  /** A person opens a group: VVChat posts an event for each robot in it. */
  open(chatId: string, person: string): Event[] {
    const chat = this.#chat(chatId);
    if (chat.session_type !== '2') return [];
    this.#addLine({ chat: chatId, person, kind: 'opened' });
    return chat.robots.map((robot_no) => ({
      event: 'session-open',
      version: 'v1',
      data: about(chat, this.#robot(robot_no), person),
    }));
  }

  /**
   * A person sends a message: VVChat posts an event for each robot that is mentioned, and for the robot of a
   * one-to-one chat.
   *
   * @param options.keepMentions whether the posted text contains the robots' names, which VVChat does not document
   */
  send(
    chatId: string,
    person: string,
    text: string,
    { keepMentions }: { keepMentions: boolean },
  ): Event[] {
    const chat = this.#chat(chatId);
    const robots = chat.robots.map((robot_no) => this.#robot(robot_no));
    const isGroup = chat.session_type === '2';
    const { mentioned, rest } = mentions(text, robots);
    const addressed = isGroup ? mentioned : robots;
    const kind = addressed.length > 0 ? 'message' : 'message-without-mention';
    this.#addLine({ chat: chatId, person, kind, text });
    return addressed.map((robot) => ({
      event: 'at',
      version: 'v1',
      data: {
        content: { text: isGroup && !keepMentions ? rest : text },
        ...about(chat, robot, person),
      },
    }));
  }

  /** Carries out a robot's command in its chat. */
  applyCommand(received: ReceivedCommand): void {
    const { robot_no, app_id, message } = received;
    const robot = this.#store.get('robots', robot_no);
    if (!robot && this.#hasRoom('robots')) {
      this.#store.set('robots', robot_no, { robot_no, app_id, open_id: '', name: robot_no });
    }
    const known = this.#chatOf(message, robot_no);
    if (!known) return;
    const chat = this.#withRobot(known, robot_no);
    const { webview, line } = effectOf(commandOf(received), robot_no, chat.webview);
    if (webview !== chat.webview) this.#store.set('chats', chat.id, { ...chat, webview });
    this.#addLine({ chat: chat.id, robot_no, ...line });
  }

  /** Adds the robot and the chat of a row of the memberships table. */
  addMembership(row: Membership): void {
    const { success, output } = v.safeParse(MembershipRow, row);
    if (!success) return;
    const { robot_no, app_id, robot_open_id: open_id } = output;
    if (!this.#store.get('robots', robot_no)?.open_id && this.#hasRoom('robots')) {
      this.#store.set('robots', robot_no, { robot_no, open_id, app_id, name: robot_no });
    }
    const chat = this.#chatOf(output, robot_no);
    if (chat) this.#withRobot(chat, robot_no);
  }

  /** The chat of a session, created if it is unknown and there is room. */
  #chatOf(
    { session_open_id, session_type }: Pick<Chat, 'session_open_id' | 'session_type'>,
    robot_no: string,
    name = session_open_id,
  ): Chat | undefined {
    if (session_type === '1') return this.#oneToOne(session_open_id, robot_no);
    const known = this.#store.get('chats', session_open_id);
    if (known || !this.#hasRoom('chats')) return known;
    const id = session_open_id;
    const chat: Chat = { id, session_open_id, session_type, name, robots: [] };
    this.#store.set('chats', id, chat);
    return chat;
  }

  /** A person's one-to-one chats all have the same session, so the robot is part of the chat's id. */
  #oneToOne(session_open_id: string, robot_no: string): Chat | undefined {
    const id = pairOf(session_open_id, robot_no);
    const known = this.#store.get('chats', id);
    if (known || !this.#hasRoom('chats')) return known;
    if (!this.#store.get('people', session_open_id)) {
      const person = { open_id: session_open_id, name: session_open_id };
      this.#store.set('people', session_open_id, person);
    }
    const robots = [robot_no];
    const chat: Chat = { id, session_open_id, session_type: '1', name: robot_no, robots };
    this.#store.set('chats', id, chat);
    return chat;
  }

  /** Keeps sessions and robots from elsewhere from filling the page; their traffic is shown all the same. */
  #hasRoom(of: 'chats' | 'robots'): boolean {
    return this.#store.state[of].size < MAX_CHATS;
  }

  #withRobot(chat: Chat, robot_no: string): Chat {
    if (chat.robots.includes(robot_no)) return chat;
    const joined = { ...chat, robots: [...chat.robots, robot_no] };
    this.#store.set('chats', chat.id, joined);
    return joined;
  }

  #chat(id: string): Chat {
    const chat = this.#store.get('chats', id);
    if (!chat) throw new StudioError('no-such-chat');
    return chat;
  }

  #robot(robot_no: string): RobotAccount {
    const robot = this.#store.get('robots', robot_no);
    if (!robot) throw new StudioError('no-such-robot');
    return robot;
  }

  #addLine(line: Omit<Line, 'id' | 'at'>): void {
    const id = randomUUID();
    this.#store.set('lines', id, { ...line, id, at: this.#now() });
  }
}

const MAX_CHATS = 500;

const text = v.string();
const MembershipRow = v.object({
  session_open_id: text,
  session_type: v.picklist(['1', '2']),
  robot_open_id: text,
  robot_no: text,
  app_id: text,
});

const about = (chat: Chat, robot: RobotAccount, person: string) => ({
  robot: { app_id: robot.app_id, open_id: robot.open_id, robot_no: robot.robot_no },
  session: { session_open_id: chat.session_open_id, session_type: chat.session_type },
  trigger: { open_id: person, target: 'user' },
});

/** The robots that a text mentions by `@` and name, and the text without the mentions. */
export function mentions<T extends Pick<RobotAccount, 'name'>>(
  text: string,
  robots: readonly T[],
): { mentioned: T[]; rest: string } {
  const longestFirst = robots.toSorted((a, b) => b.name.length - a.name.length);
  const mentioned = new Set<T>();
  let rest = '';
  for (let i = 0; i < text.length; ) {
    const robot = longestFirst.find(({ name }) => text.startsWith(`@${name}`, i));
    if (robot) {
      mentioned.add(robot);
      i += robot.name.length + 1;
      // The completion puts a space behind the name; it goes with the name.
      if (text[i] === ' ') i++;
    } else rest += text[i++];
  }
  return { mentioned: [...mentioned], rest };
}
