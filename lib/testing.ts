import type { Context, Robot } from './define-robot.ts';
import { ask, type Question } from './routing.ts';
import type { Command } from './vvchat/command.ts';
import type { Session } from './vvchat/event.ts';

/** What an author's tests import from `vvchat-robot/testing`. */

export interface ConversationOptions {
  /** `'2'`, a group, unless it is `'1'`, a one-to-one chat. */
  readonly session_type?: Session['session_type'];
  /** What handlers see as `receivedAt`. */
  readonly now?: Date;
}

/** A robot in a chat, without DynamoDB and HTTP. */
export interface Conversation {
  /** The person with this id. */
  readonly as: (open_id: string) => Person;
  /** The last command that the robot sent. */
  readonly last: Command | undefined;
  /** Every text that the robot sent, the oldest first. */
  readonly texts: readonly string[];
}

/**
 * A person in the chat. Each call resolves to the commands that the robot sends in answer, and rejects with what
 * its handler threw, or with what is wrong with its answer.
 */
export interface Person {
  /** @-mentions the robot; in a one-to-one chat, writes to it. */
  readonly says: (text: string) => Promise<readonly Command[]>;
  /** Pulls the robot into the group. */
  readonly adds: () => Promise<readonly Command[]>;
  /** Opens the group. */
  readonly opens: () => Promise<readonly Command[]>;
}

/**
 * Starts a chat with a robot, to test what it answers.
 *
 * @example
 * test('answers ping', async () => {
 *   const chat = conversation(robot);
 *   expect(await chat.as('anna').says('ping')).toEqual([sendText('pong')]);
 * });
 */
export function conversation(
  robot: Robot,
  { session_type = '2', now = new Date() }: ConversationOptions = {},
): Conversation {
  const sent: Command[] = [];
  let events = 0;

  const contextOf = (open_id: string): Context => ({
    session: { session_open_id: session_type === '1' ? open_id : 'group-1', session_type },
    robot: { app_id: 'test', open_id: 'robot-1', robot_no: 'xds2323' },
    trigger: { target: 'user', open_id },
    receivedAt: now,
    eventId: `event-${++events}`,
    attempt: 1,
    signal: new AbortController().signal,
  });
  const answerTo = async (question: Question): Promise<readonly Command[]> => {
    const commands = await ask(robot, question);
    sent.push(...commands);
    return commands;
  };

  return {
    as: (open_id) => ({
      says: (text) => answerTo({ ...contextOf(open_id), event: 'at', text }),
      adds: () => answerTo({ ...contextOf(open_id), event: 'join-group-for-invite' }),
      opens: () => answerTo({ ...contextOf(open_id), event: 'session-open' }),
    }),
    get last() {
      return sent.at(-1);
    },
    get texts() {
      return sent.flatMap((it) => (it.cmd === 'send-text' ? [it.params.text] : []));
    },
  };
}
