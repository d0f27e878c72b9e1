import { describe, expect, test } from 'vitest';
import { documented, sample, saying } from '../../test/fixtures.ts';
import { EVENT_NAMES } from './event.ts';
import { InvalidEventError, MAX_TEXT_BYTES, readEvent } from './read-event.ts';

const changed = (change: (event: { data: Record<string, object> }) => unknown): unknown => {
  const event = structuredClone(documented.at);
  change(event as { data: object } as { data: Record<string, object> });
  return event;
};

const faultsOf = (value: unknown) => {
  try {
    readEvent(value);
  } catch (error) {
    if (error instanceof InvalidEventError) return error.faults;
    throw error;
  }
  return [];
};

test.each(EVENT_NAMES)('events/%s.json holds a sample of the event', (name) => {
  expect(readEvent(JSON.parse(sample(name).body))).toMatchObject({ event: name });
});

test.each(Object.values(documented))('reads the documented event $event as it is', (event) => {
  expect(readEvent(event)).toEqual(event);
});

test('readEvent accepts unknown fields and drops them', () => {
  const event = structuredClone(documented.at);
  Object.assign(event, { id: 7 });
  Object.assign(event.data, { more: [] });
  Object.assign(event.data.robot, { name: 'x' });
  expect(readEvent(event)).toEqual(documented.at);
});

test('readEvent recognises an undocumented event by its envelope alone', () => {
  expect(readEvent({ event: 'robot-left', version: 'v1' })).toEqual({ unknown: 'robot-left' });
});

test('readEvent accepts any text, also an empty one, and replaces lone surrogates', () => {
  for (const text of ['', '\u0000\n', '👋', 'x'.repeat(MAX_TEXT_BYTES)]) {
    expect(readEvent(saying(text))).toEqual(saying(text));
  }
  expect(readEvent(saying('a\ud800b'))).toEqual(saying('a\ufffdb'));
});

describe('readEvent accepts any fields of a trigger that is not a person', () => {
  test.each([[{}], [{ open_id: 'x' }], [{ open_id: null }], [{ open_id: 5 }]])('%j', (fields) => {
    const event = changed(({ data }) =>
      Object.assign(data, { trigger: { target: 'robot', ...fields } }),
    );
    const open_id = 'open_id' in fields && fields.open_id === 'x' ? 'x' : undefined;
    expect(readEvent(event)).toEqual({
      ...documented.at,
      data: { ...documented.at.data, trigger: { target: 'robot', open_id } },
    });
  });
});

describe('readEvent points at each fault', () => {
  test.each([
    ['nothing', undefined, [['', 'must be an object']]],
    [
      'a list',
      [],
      [
        ['/event', 'is missing'],
        ['/version', 'is missing'],
      ],
    ],
    [
      'an empty object',
      {},
      [
        ['/event', 'is missing'],
        ['/version', 'is missing'],
      ],
    ],
    ['another version', { event: 'at', version: 'v2' }, [['/version', 'must be "v1"']]],
    [
      'an unknown event of another version',
      { event: 'x', version: 2 },
      [['/version', 'must be "v1"']],
    ],
    ['an event without data', { event: 'at', version: 'v1' }, [['/data', 'is missing']]],
    [
      'data that is none',
      { event: 'at', version: 'v1', data: 1 },
      [['/data', 'must be an object']],
    ],
    [
      'data without anything',
      { event: 'at', version: 'v1', data: {} },
      ['robot', 'session', 'trigger', 'content'].map((key) => [`/data/${key}`, 'is missing']),
    ],
    [
      'ids of the wrong type',
      changed(({ data }) =>
        Object.assign(data, { robot: { app_id: 1, open_id: null, robot_no: [] } }),
      ),
      ['app_id', 'open_id', 'robot_no'].map((key) => [`/data/robot/${key}`, 'must be a string']),
    ],
    [
      'an empty id',
      changed(({ data }) => Object.assign(data.session ?? {}, { session_open_id: '' })),
      [['/data/session/session_open_id', 'must not be empty']],
    ],
    [
      'an id of 257 characters',
      changed(({ data }) =>
        Object.assign(data.session ?? {}, { session_open_id: 'x'.repeat(257) }),
      ),
      [['/data/session/session_open_id', 'must have at most 256 characters']],
    ],
    [
      'an id with a control character',
      changed(({ data }) => Object.assign(data.robot ?? {}, { robot_no: 'a\u0000' })),
      [['/data/robot/robot_no', 'must not have control characters']],
    ],
    [
      'an id with a lone surrogate',
      changed(({ data }) => Object.assign(data.robot ?? {}, { robot_no: '\udc00' })),
      [['/data/robot/robot_no', 'must be well-formed Unicode']],
    ],
    [
      'a session type that is a number',
      changed(({ data }) => Object.assign(data.session ?? {}, { session_type: 2 })),
      [['/data/session/session_type', 'must be "1" (one-to-one chat) or "2" (group)']],
    ],
    [
      'a person without an id',
      changed(({ data }) => Object.assign(data, { trigger: { target: 'user' } })),
      [['/data/trigger/open_id', 'is missing']],
    ],
    [
      'a trigger without a target',
      changed(({ data }) => Object.assign(data, { trigger: { open_id: 'x' } })),
      [['/data/trigger/target', 'is missing']],
    ],
    [
      'a trigger that is none',
      changed(({ data }) => Object.assign(data, { trigger: null })),
      [['/data/trigger', 'must be an object']],
    ],
    [
      'a text that is none',
      changed(({ data }) => Object.assign(data, { content: { text: 5 } })),
      [['/data/content/text', 'must be a string']],
    ],
  ])('%s', (_, value, expected) => {
    expect(faultsOf(value)).toEqual(expected.map(([pointer, detail]) => ({ pointer, detail })));
  });

  test.each(['x', '群', '\ud800', '👋'])(
    'a text of more than 8 KiB, in bytes of UTF-8, made of %j',
    (character) => {
      const bytes = Buffer.byteLength(character);
      const longest = character.repeat(Math.floor(8_192 / bytes));
      const rest = 'x'.repeat(8_192 - Buffer.byteLength(longest));
      expect(faultsOf(saying(longest + rest))).toEqual([]);
      expect(faultsOf(saying(`${longest}${rest}x`))).toEqual([
        { pointer: '/data/content/text', detail: 'must have at most 8192 bytes in UTF-8' },
      ]);
    },
  );

  test('an id of 256 characters is accepted', () => {
    const event = changed(({ data }) =>
      Object.assign(data.session ?? {}, { session_open_id: '群'.repeat(256) }),
    );
    expect(faultsOf(event)).toEqual([]);
  });
});
