import { describe, expect, test } from 'vitest';
import { at, on } from '../test/fixtures.ts';
import { ask, InvalidRobotError, type Robot, routedEvents } from './routing.ts';
import { type Command, sendText } from './vvchat/command.ts';

const says = (text: string) => () => sendText(text);

describe('a route', () => {
  test('by a word is taken without regard to case, width and white space around it', async () => {
    const robot: Robot = { at: [['Straße', says('yes')]] };
    for (const text of ['straße', ' STRASSE\n', 'ｓｔｒａｓｓｅ']) {
      expect(await ask(robot, at(text))).toEqual([sendText('yes')]);
    }
    expect(await ask(robot, at('straße 5'))).toEqual([]);
  });

  test('by several words is taken for each of them', async () => {
    const robot: Robot = { at: [[['a', 'b'], says('yes')]] };
    expect(await ask(robot, at('b'))).toEqual([sendText('yes')]);
    expect(await ask(robot, at('c'))).toEqual([]);
  });

  test('by words hands the whole text over as the match', async () => {
    const robot: Robot = { at: [['a\nb', ({ match }) => sendText(match[0])]] };
    expect(await ask(robot, at('A\nb '))).toEqual([sendText('A\nb ')]);
  });

  test('by a pattern sees the text as it is and hands its groups over', async () => {
    const robot: Robot = {
      at: [[/^say (?<what>.+)$/, ({ match }) => sendText(match.groups?.what ?? '')]],
    };
    expect(await ask(robot, at('say ＡＢ '))).toEqual([sendText('ＡＢ ')]);
    expect(await ask(robot, at('Say x'))).toEqual([]);
  });

  test('is taken when it is the first that matches', async () => {
    const robot: Robot = {
      at: [
        [/a/, says('first')],
        [/^/, says('second')],
      ],
    };
    expect(await ask(robot, at('a'))).toEqual([sendText('first')]);
    expect(await ask(robot, at('b'))).toEqual([sendText('second')]);
  });

  test.each([/a/g, /a/y])('by %s, which would match every other time, is refused', async (when) => {
    await expect(ask({ at: [[when, says('x')]] }, at('a'))).rejects.toThrow(
      new InvalidRobotError(`Take the flag g or y off the pattern ${when}.`),
    );
  });
});

describe('a handler', () => {
  test('gets the event with its ids', async () => {
    const seen: unknown[] = [];
    const question = at('您好');
    await ask({ at: [[/^/, (context) => void seen.push(context)]] }, question);
    expect(seen).toEqual([{ ...question, match: expect.anything() }]);
  });

  test.each([undefined, null, []])('that returns %j answers nothing', async (answer) => {
    expect(await ask({ at: [[/^/, () => answer]] }, at('x'))).toEqual([]);
  });

  test('may answer with one command or several, at once or later', async () => {
    const [one, two] = [sendText('1'), sendText('2')];
    expect(await ask({ 'session-open': () => one }, on('session-open'))).toEqual([one]);
    expect(await ask({ 'session-open': async () => [one, two] }, on('session-open'))).toEqual([
      one,
      two,
    ]);
  });

  test('that is not there answers nothing', async () => {
    expect(await ask({}, on('join-group-for-invite'))).toEqual([]);
    expect(await ask({}, at('x'))).toEqual([]);
  });

  test('that throws is heard', async () => {
    const error = new Error('no luck');
    const robot: Robot = {
      'session-open': () => {
        throw error;
      },
    };
    await expect(ask(robot, on('session-open'))).rejects.toBe(error);
  });

  test.each([['hello'], [[{ cmd: 'dance' }]], [42]])(
    'that returns %j is refused',
    async (answer) => {
      const robot: Robot = { 'session-open': () => answer as unknown as Command };
      await expect(ask(robot, on('session-open'))).rejects.toThrow(
        new InvalidRobotError('An answer is made of sendText, openWebview and the like.'),
      );
    },
  );

  test('may return 20 commands and not 21', async () => {
    const answer = (length: number): Robot => ({
      'session-open': () => Array.from({ length }, (_, i) => sendText(`${i}`)),
    });
    expect(await ask(answer(20), on('session-open'))).toHaveLength(20);
    await expect(ask(answer(21), on('session-open'))).rejects.toThrow(
      new InvalidRobotError('An answer has at most 20 commands.'),
    );
  });

  test('may return 64 KiB of JSON and no byte more', async () => {
    const frame = JSON.stringify([sendText('x')]).length - 1;
    const answer = (bytes: number): Robot => ({
      'session-open': () => sendText('x'.repeat(bytes - frame)),
    });
    expect(await ask(answer(65_536), on('session-open'))).toHaveLength(1);
    await expect(ask(answer(65_537), on('session-open'))).rejects.toThrow(
      new InvalidRobotError('An answer has at most 65536 bytes of JSON.'),
    );
  });
});

test('a robot answers the events that it has handlers for', () => {
  expect(routedEvents({ 'session-open': says('x'), at: [] })).toEqual(['at', 'session-open']);
});
