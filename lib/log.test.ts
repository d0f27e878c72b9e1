import { expect, test, vi } from 'vitest';
import { ConfigError } from './config.ts';
import { errorFields, log } from './log.ts';

test('a line is one object, for Lambda to format', () => {
  for (const level of ['info', 'warn', 'error'] as const) {
    const print = vi.spyOn(console, level).mockImplementation(() => {});
    log[level]('said', { event_id: 'x' });
    expect(print).toHaveBeenCalledExactlyOnceWith({ message: 'said', event_id: 'x' });
    log[level]('said');
    expect(print).toHaveBeenLastCalledWith({ message: 'said' });
  }
});

test('of an error is told what it is and where it was, and never its text', () => {
  const error = new TypeError('cannot fetch https://x?key=secret\n    at secret (place)', {
    cause: new Error('secret'),
  });
  Object.assign(error, { url: 'secret' });
  const { at, ...rest } = errorFields(error);
  expect(rest).toEqual({ error: 'TypeError' });
  expect(at[0]).toMatch(/log\.test\.ts/);
  expect(at.length).toBeLessThanOrEqual(8);
  expect(JSON.stringify(at)).not.toMatch(/secret/);
});

test('of an error of ours is told its text, which is a fixed one', () => {
  expect(errorFields(new ConfigError('INBOX_TABLE is missing.'))).toMatchObject({
    error: 'ConfigError',
    detail: 'INBOX_TABLE is missing.',
  });
});

test('an error of somebody else is not one of ours for its name', () => {
  const error = Object.assign(new Error('secret'), { name: 'ConfigError' });
  expect(errorFields(error)).not.toHaveProperty('detail');
});

test('of what is no error is told its type alone', () => {
  expect(errorFields('secret')).toEqual({ error: 'string', at: [] });
  const bare = new Error('x');
  delete bare.stack;
  expect(errorFields(bare)).toEqual({ error: 'Error', at: [] });
});
