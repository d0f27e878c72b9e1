import { describe, expect, test, vi } from 'vitest';
import { at, on } from '../test/fixtures.ts';
import { answering, silently } from '../test/robots.ts';
import { type Answer, defineRobot, InvalidRobotError, type Route } from './define-robot.ts';
import { ask, InvalidAnswerError } from './routing.ts';
import { sendText } from './vvchat/command.ts';

const saying = (text: string) => () => sendText(text);
const robotWith = (...routes: Route[]) => defineRobot({ at: routes });

describe('a route', () => {
  test('by a word matches regardless of case, width and surrounding white space', async () => {
    const robot = robotWith(['Straße', saying('yes')]);
    for (const text of ['straße', ' STRASSE\n', 'ｓｔｒａｓｓｅ']) {
      expect(await ask(robot, at(text))).toEqual([sendText('yes')]);
    }
    expect(await ask(robot, at('straße 5'))).toEqual([]);
  });

  test('by several words matches each of them', async () => {
    const robot = robotWith([['a', 'b'], saying('yes')]);
    expect(await ask(robot, at('b'))).toEqual([sendText('yes')]);
    expect(await ask(robot, at('c'))).toEqual([]);
  });

  test('by words has the whole text as its match', async () => {
    const robot = robotWith(['a\nb', ({ match }) => sendText(match[0])]);
    expect(await ask(robot, at('A\nb '))).toEqual([sendText('A\nb ')]);
  });

  test('by a pattern sees the text as it is and hands over its groups', async () => {
    const robot = robotWith([/^say (?<what>.+)$/, ({ group }) => sendText(group('what'))]);
    expect(await ask(robot, at('say ＡＢ '))).toEqual([sendText('ＡＢ ')]);
    expect(await ask(robot, at('Say x'))).toEqual([]);
  });

  test('by a predicate matches when it returns true, and has the whole text as its match', async () => {
    const robot = robotWith([
      ({ text, session }) => text.length > 3 && session.session_type === '2',
      ({ match }) => sendText(match[0]),
    ]);
    expect(await ask(robot, at('long text'))).toEqual([sendText('long text')]);
    expect(await ask(robot, at('ab'))).toEqual([]);
  });

  test('by a predicate that is async fails, since a promise would always match', async () => {
    const isNever = (async () => false) as unknown as () => boolean;
    await expect(ask(robotWith([isNever, saying('x')]), at('a'))).rejects.toThrow(
      new InvalidRobotError('A predicate must return true or false, and must not be async.'),
    );
  });

  test('answers when it is the first that matches', async () => {
    const robot = robotWith([/a/, saying('first')], [/^/, saying('second')]);
    expect(await ask(robot, at('a'))).toEqual([sendText('first')]);
    expect(await ask(robot, at('b'))).toEqual([sendText('second')]);
  });
});

describe('a text', () => {
  const words = (count: number) =>
    Array.from({ length: count }, (_, i): Route => [[`word ${i}`, 'ｗｏｒｄ'], saying(`${i}`)]);

  test('is folded once for all routes by words, and their words once for all texts', async () => {
    const robot = robotWith(...words(20));
    const normalize = vi.spyOn(String.prototype, 'normalize');
    expect(await ask(robot, at('ＷＯＲＤ 19'))).toEqual([sendText('19')]);
    expect(normalize).toHaveBeenCalledTimes(1);
  });

  test('is not folded if it is too long for the words, or if no route by words is reached', async () => {
    const robot = robotWith([/^a/, saying('a')], ...words(20));
    const normalize = vi.spyOn(String.prototype, 'normalize');
    await ask(robot, at('\u0301\u0316'.repeat(2_000)));
    await ask(robot, at('a'));
    expect(normalize).not.toHaveBeenCalled();
  });

  test('of white space alone matches a word of white space alone, and no other text does', async () => {
    const robot = robotWith([' ', saying('nothing')]);
    expect(await ask(robot, at('\u3000\n'))).toEqual([sendText('nothing')]);
    expect(await ask(robot, at('x'.repeat(2_000)))).toEqual([]);
  });
});

describe('group', () => {
  test('is empty for a group that took no part in the match', async () => {
    const robot = robotWith([/^a(?<b>b)?/, ({ group }) => sendText(`[${group('b')}]`)]);
    expect(await ask(robot, at('a'))).toEqual([sendText('[]')]);
  });

  test.each([
    [/^a(?<b>b)?/, 'there is no group named "c" in the pattern /^a(?<b>b)?/.'],
    [/^a/, 'there is no group named "c" in the pattern /^a/.'],
    ['a', 'there is no group named "c" in a route without a pattern.'],
  ])('fails for a name that %s does not have', async (when, detail) => {
    const robot = robotWith([when, ({ group }) => sendText(group('c'))]);
    await expect(ask(robot, at('a'))).rejects.toThrow(new InvalidRobotError(`group: ${detail}`));
  });

  test("fails for a name that every object has, such as 'toString'", async () => {
    const robot = robotWith([/^a/, ({ group }) => sendText(group('toString'))]);
    await expect(ask(robot, at('a'))).rejects.toThrow(InvalidRobotError);
  });
});

describe('a handler', () => {
  test('gets the event with its ids and its time', async () => {
    const seen: unknown[] = [];
    const question = at('您好');
    const robot = silently((context) => seen.push(context));
    await ask(robot, question);
    expect(seen).toEqual([{ ...question, match: expect.anything(), group: expect.any(Function) }]);
  });

  test.each([null, [], [null], [false]])('that returns %j answers nothing', async (answer) => {
    expect(
      await ask(
        answering(() => answer as Answer),
        at('x'),
      ),
    ).toEqual([]);
  });

  test('may return one command or several, at once or later', async () => {
    const [one, two] = [sendText('1'), sendText('2')];
    const opened = (then: () => Answer | Promise<Answer>) =>
      ask(defineRobot({ 'session-open': then }), on('session-open'));
    expect(await opened(() => one)).toEqual([one]);
    expect(await opened(async () => [one, two])).toEqual([one, two]);
  });

  test('may have null and false in its list, which are left out', async () => {
    const robot = answering(() => [null, sendText('1'), false]);
    expect(await ask(robot, at('x'))).toEqual([sendText('1')]);
  });

  test('that is not there answers nothing', async () => {
    expect(await ask(defineRobot({}), on('join-group-for-invite'))).toEqual([]);
    expect(await ask(defineRobot({}), at('x'))).toEqual([]);
  });

  test('that throws rejects with its own error', async () => {
    const error = new Error('no luck');
    const robot = answering(() => {
      throw error;
    });
    await expect(ask(robot, at('x'))).rejects.toBe(error);
  });

  test('that returns undefined fails, with what to return instead', async () => {
    const robot = answering(() => undefined as unknown as Answer);
    await expect(ask(robot, at('x'))).rejects.toThrow(
      new InvalidAnswerError(
        'The handler returned undefined. Is a `return` missing? Return null for no answer.',
      ),
    );
  });

  test.each([['hello'], [[{ cmd: 'dance' }]], [42], [[undefined]], [true]])(
    'that returns %j fails',
    async (answer) => {
      const robot = answering(() => answer as unknown as Answer);
      await expect(ask(robot, at('x'))).rejects.toThrow(
        new InvalidAnswerError('An answer is made of sendText, openWebview and the like.'),
      );
    },
  );

  test('may return 20 commands and not 21', async () => {
    const many = (length: number) =>
      answering(() => Array.from({ length }, (_, i) => sendText(`${i}`)));
    expect(await ask(many(20), at('x'))).toHaveLength(20);
    await expect(ask(many(21), at('x'))).rejects.toThrow(
      new InvalidAnswerError('An answer has at most 20 commands.'),
    );
  });

  test('may return 16 KiB of JSON and no byte more', async () => {
    const frame = JSON.stringify([sendText('x')]).length - 1;
    const long = (bytes: number) => answering(() => sendText('x'.repeat(bytes - frame)));
    expect(await ask(long(16_384), at('x'))).toHaveLength(1);
    await expect(ask(long(16_385), at('x'))).rejects.toThrow(
      new InvalidAnswerError('An answer has at most 16384 bytes of JSON.'),
    );
  });
});
