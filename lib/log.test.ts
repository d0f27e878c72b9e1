import { expect, test, vi } from 'vitest';
import { ConfigError } from './config.ts';
import { errorFields, log } from './log.ts';

test('log writes one object, for Lambda to format', () => {
  for (const level of ['info', 'warn', 'error'] as const) {
    const print = vi.spyOn(console, level).mockImplementation(() => {});
    log[level]('event queued', { event_id: 'x' });
    expect(print).toHaveBeenCalledExactlyOnceWith({ message: 'event queued', event_id: 'x' });
    log[level]('event queued');
    expect(print).toHaveBeenLastCalledWith({ message: 'event queued' });
  }
});

test('errorFields has the class and places of an error, and never its message', () => {
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

test('errorFields has the message of a SafeError, which is a fixed text', () => {
  expect(errorFields(new ConfigError('INBOX_TABLE is missing.'))).toMatchObject({
    error: 'ConfigError',
    detail: 'INBOX_TABLE is missing.',
  });
});

test('errorFields has no message of another error, whatever its name', () => {
  const error = Object.assign(new Error('secret'), { name: 'ConfigError' });
  expect(errorFields(error)).not.toHaveProperty('detail');
});

test('errorFields has the type alone of a value that is not an error', () => {
  expect(errorFields('secret')).toEqual({ error: 'string', at: [] });
  const bare = new Error('x');
  delete bare.stack;
  expect(errorFields(bare)).toEqual({ error: 'Error', at: [] });
});
