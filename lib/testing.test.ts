import { describe, expect, test } from 'vitest';
import { echo } from '../test/robots.ts';
import { type AtContext, type Context, defineRobot } from './define-robot.ts';
import { conversation } from './testing.ts';
import { closeWebview, InvalidCommandError, sendText } from './vvchat/command.ts';

describe('conversation', () => {
  test('resolves to the commands that the robot sends, and remembers them', async () => {
    const chat = conversation(echo);
    expect(chat.last).toBeUndefined();
    expect(await chat.as('anna').says('a')).toEqual([sendText('a')]);
    expect(await chat.as('bert').says('b')).toEqual([sendText('b')]);
    expect(await chat.as('bert').opens()).toEqual([]);
    expect(chat.last).toEqual(sendText('b'));
    expect(chat.texts).toEqual(['a', 'b']);
  });

  test('passes trigger, time and a distinct event ID to handlers', async () => {
    const seen: (Context | AtContext)[] = [];
    const note = (context: Context) => {
      seen.push(context);
      return closeWebview();
    };
    const robot = defineRobot({
      at: [[/^/, note]],
      'join-group-for-invite': note,
      'session-open': note,
    });
    const now = new Date('2026-03-14T09:00:00Z');
    const chat = conversation(robot, { now });
    await chat.as('anna').adds();
    await chat.as('bert').opens();
    await chat.as('carl').says('x');
    expect(seen.map(({ trigger }) => trigger.open_id)).toEqual(['anna', 'bert', 'carl']);
    expect(seen.every(({ receivedAt }) => receivedAt === now)).toBe(true);
    expect(new Set(seen.map(({ eventId }) => eventId)).size).toBe(3);
    expect(chat.texts).toEqual([]);
  });

  test("in a one-to-one chat has the person's id as the session's, and no web view", async () => {
    const robot = defineRobot({
      at: [
        ['close', () => closeWebview()],
        [/^/, ({ session }) => sendText(session.session_open_id)],
      ],
    });
    const anna = conversation(robot, { session_type: '1' }).as('anna');
    expect(await anna.says('who')).toEqual([sendText('anna')]);
    await expect(anna.says('close')).rejects.toThrow(InvalidCommandError);
  });
});
