import { describe, expect, test, vi } from 'vitest';
import { SafeError } from '../safe-error.ts';
import { robotErrorFields } from './robot-error.ts';

const here = expect.stringMatching(/robot-error\.test\.ts:\d+:\d+/);

describe('an error of the robot', () => {
  test('is logged with its class, its message, its places and its causes', () => {
    const socket = new Error('connect ECONNREFUSED');
    const error = new TypeError('no forecast for "x"', {
      cause: new Error('fetch failed', { cause: socket }),
    });
    const { at, causes, ...rest } = robotErrorFields(error);
    expect(rest).toEqual({ error: 'TypeError', detail: 'no forecast for "x"' });
    expect(at[0]).toEqual(here);
    expect(causes).toEqual([
      { error: 'Error', detail: 'fetch failed', at: expect.arrayContaining([here]) },
      { error: 'Error', detail: 'connect ECONNREFUSED', at: expect.arrayContaining([here]) },
    ]);
  });

  test('has the first of several errors as its cause', () => {
    const { causes } = robotErrorFields(new AggregateError([new Error('first'), new Error('2')]));
    expect(causes).toMatchObject([{ detail: 'first' }]);
  });

  test('that is its own cause is logged once', () => {
    const error = new Error('round');
    error.cause = error;
    expect(robotErrorFields(error)).not.toHaveProperty('causes');
  });

  test.each([
    ['a text', { error: 'string', detail: 'a text', at: [] }],
    [42, { error: 'number', detail: '42', at: [] }],
    [undefined, { error: 'undefined', detail: 'undefined', at: [] }],
    [
      { message: 'its message', text: 'a text' },
      { error: 'object', detail: 'its message', at: [] },
    ],
    [{ text: 'a text' }, { error: 'object', at: [] }],
    [null, { error: 'object', at: [] }],
  ])('may be any value: %j', (thrown, fields) => {
    expect(robotErrorFields(thrown)).toEqual(fields);
  });

  test('that cannot be read is no reason to fail', () => {
    const error = Object.defineProperty(new Error('x'), 'message', {
      get() {
        throw new Error('unreadable');
      },
    });
    expect(robotErrorFields(error)).toEqual({ error: 'unreadable', at: [] });
  });

  test('stays far below the limit of a log line, 256 KB, even if JSON escapes every character', () => {
    const long = '\u0001'.repeat(1_000_000);
    const errorWith = (cause: unknown) => {
      const error = new Error(long, { cause });
      error.name = long;
      error.stack = `Error\n${`    at ${long}\n`.repeat(100)}`;
      return error;
    };
    let error = errorWith('root');
    for (let depth = 0; depth < 1_000; depth++) error = errorWith(error);
    const { causes, ...fields } = robotErrorFields(error);
    expect(causes).toHaveLength(4);
    expect(fields.detail).toHaveLength(2_000);
    expect(JSON.stringify({ ...fields, causes }).length).toBeLessThan(150_000);
  });
});

describe('with LOG_ROBOT_ERRORS=false, an error of the robot', () => {
  test('is logged with its class and its places alone', () => {
    vi.stubEnv('LOG_ROBOT_ERRORS', 'false');
    const { at, ...rest } = robotErrorFields(new TypeError('secret', { cause: new Error('x') }));
    expect(rest).toEqual({ error: 'TypeError' });
    expect(at[0]).toEqual(here);
    expect(robotErrorFields('secret')).toEqual({ error: 'string', at: [] });
  });

  test("keeps its message if it is one of this project's own", () => {
    vi.stubEnv('LOG_ROBOT_ERRORS', 'false');
    expect(robotErrorFields(new SafeError('a fixed text'))).toMatchObject({
      detail: 'a fixed text',
    });
  });
});
