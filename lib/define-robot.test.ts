import { describe, expect, test } from 'vitest';
import {
  defineRobot,
  InvalidRobotError,
  type RobotDefinition,
  robotIn,
  routedEvents,
} from './define-robot.ts';
import { sendText } from './vvchat/command.ts';
import { EVENT_NAMES } from './vvchat/event.ts';

const hello = () => sendText('hello');

describe('defineRobot', () => {
  test.each<[unknown, string]>([
    [undefined, 'takes an object.'],
    [null, 'takes an object.'],
    [{ 'join-group': hello }, `"join-group" is unknown; the keys are ${EVENT_NAMES.join(', ')}.`],
    [{ at: { ping: hello } }, 'at must be a list of routes.'],
    [{ at: [['a', hello], 'b'] }, 'at[1] must be a pair: [words, pattern or predicate, handler].'],
    [{ at: [['a']] }, 'at[0] must be a pair: [words, pattern or predicate, handler].'],
    [{ at: [[5, hello]] }, 'at[0][0] must be a word, a list of words, a pattern or a predicate.'],
    [{ at: [[[], hello]] }, 'at[0][0] must be a word, a list of words, a pattern or a predicate.'],
    [{ at: [['a', 'hello']] }, 'at[0][1] must be a function.'],
    [{ at: [['a', undefined]] }, 'at[0][1] must be a function.'],
    [{ 'session-open': 'hello' }, 'session-open must be a function.'],
    [
      { at: [[/a/g, hello]] },
      'at[0]: remove the flag g or y from the pattern /a/g; with it a pattern matches every other time.',
    ],
    [
      { at: [[/a/y, hello]] },
      'at[0]: remove the flag g or y from the pattern /a/y; with it a pattern matches every other time.',
    ],
  ])('refuses %j', (definition, detail) => {
    expect(() => defineRobot(definition as RobotDefinition)).toThrow(
      new InvalidRobotError(`defineRobot: ${detail}`),
    );
  });

  test("throws at the line of the author's call", () => {
    const define = () => defineRobot({ at: [[/a/g, hello]] });
    let stack: string | undefined;
    try {
      define();
    } catch (error) {
      ({ stack } = error as Error);
    }
    const [place] = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
    expect(place).toMatch(/robot\.test\.ts:\d+/);
  });

  test('takes a key whose value is undefined as one that is not there', () => {
    expect(routedEvents(defineRobot({ at: undefined } as unknown as RobotDefinition))).toEqual([]);
  });
});

const NOT_MADE =
  'The `robot` that robot/robot.ts exports was not made by defineRobot: write `export const robot = defineRobot({ … })`.';

describe('robotIn', () => {
  test('takes what is exported as `robot`', () => {
    const robot = defineRobot({});
    expect(robotIn({ robot })).toBe(robot);
  });

  test.each([
    [
      {},
      'robot/robot.ts does not export `robot`: write `export const robot = defineRobot({ … })`.',
    ],
    [{ robot: { at: [] } }, NOT_MADE],
    [{ robot: null }, NOT_MADE],
  ])('refuses a module that exports %j', (exports, message) => {
    expect(() => robotIn(exports)).toThrow(new InvalidRobotError(message));
  });
});

test('routedEvents are those that the robot has handlers for', () => {
  const robot = defineRobot({ 'session-open': hello, at: [] });
  expect(routedEvents(robot)).toEqual(['at', 'session-open']);
});

test('the compiler refuses what could not work', () => {
  const mistakes = () => [
    // @ts-expect-error a forgotten `return`
    defineRobot({ at: [['a', () => {}]] }),
    // @ts-expect-error a forgotten `return` in an async handler
    defineRobot({ 'session-open': async () => {} }),
    // @ts-expect-error an async predicate
    defineRobot({ at: [[async () => true, () => null]] }),
    // @ts-expect-error only @-mentions have a text
    defineRobot({ 'session-open': ({ text }) => sendText(text) }),
    // @ts-expect-error VVChat has no such event
    defineRobot({ 'session-close': () => null }),
  ];
  expect(mistakes).toThrow('"session-close" is unknown');
});
