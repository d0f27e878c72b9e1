import { describe, expect, test } from 'vitest';
import {
  checkCommand,
  closeWebview,
  type Height,
  InvalidCommandError,
  isCommand,
  openWebview,
  refreshWebview,
  sendText,
  toMessage,
} from './command.ts';

const group = { session_open_id: 'group-1', session_type: '2' } as const;
const person = { session_open_id: 'person-1', session_type: '1' } as const;
const url = 'https://example.com/page';

describe('toMessage', () => {
  const around = {
    type: 'cmd',
    session_open_id: 'group-1',
    session_type: '2',
    to_type: '2',
    to: 'group-1',
  };

  test('sends a text to everybody in a group, its params as a string of JSON', () => {
    expect(toMessage(sendText('您好\n"'), group)).toEqual({
      ...around,
      content: { cmd: 'send-text', params: '{"text":"您好\\n\\""}' },
    });
  });

  test('sends a text in a one-to-one chat to the person', () => {
    expect(toMessage(sendText('您好'), person)).toEqual({
      type: 'cmd',
      session_open_id: 'person-1',
      session_type: '1',
      to_type: '1',
      to: 'person-1',
      content: { cmd: 'send-text', params: '{"text":"您好"}' },
    });
  });

  test('opens a web view as documented', () => {
    expect(toMessage(openWebview({ height: '50%', url }), group)).toEqual({
      ...around,
      content: { cmd: 'webview-group-open', params: `{"height":"50%","url":"${url}"}` },
    });
  });

  test('closes a web view without params', () => {
    expect(toMessage(closeWebview(), group)).toEqual({
      ...around,
      content: { cmd: 'webview-group-close' },
    });
  });

  test('refreshes a web view with a height or without', () => {
    expect(toMessage(refreshWebview({ height: 234, url }), group).content).toEqual({
      cmd: 'webview-group-refresh',
      params: `{"height":"234","url":"${url}"}`,
    });
    expect(toMessage(refreshWebview({ url }), group).content).toEqual({
      cmd: 'webview-group-refresh',
      params: `{"url":"${url}"}`,
    });
  });
});

describe('checkCommand', () => {
  test.each([openWebview({ height: 1, url }), closeWebview(), refreshWebview({ url })])(
    'rejects $cmd in a one-to-one chat',
    (command) => {
      expect(() => checkCommand(command, person)).toThrow(
        new InvalidCommandError(
          `${command.cmd}: only groups have a web view; answer with a text here.`,
        ),
      );
    },
  );
});

test.each(['', ' \n\u3000', undefined])('sendText rejects %j', (text) => {
  expect(() => sendText(text as string)).toThrow(
    new InvalidCommandError('sendText: the text is empty; pass at least one visible character.'),
  );
});

test.each<Height>(['1%', '100%', '50%', 1, 234])('a height may be %j', (height) => {
  const expected = { height: `${height}`, url };
  expect(openWebview({ height, url })).toEqual({ cmd: 'webview-group-open', params: expected });
});

test.each(['0%', '101%', '050%', '1.5%', '-1%', '234', 'auto', '', 0, -1, 1.5, Number.NaN, null])(
  'a height is not %j',
  (height) => {
    const detail = 'the height is neither "1%" to "100%" nor a whole number of pixels above 0.';
    expect(() => openWebview({ height: height as Height, url })).toThrow(
      new InvalidCommandError(`openWebview: ${detail}`),
    );
    expect(() => refreshWebview({ height: height as Height, url })).toThrow(
      new InvalidCommandError(`refreshWebview: ${detail}`),
    );
  },
);

test.each(['', 'example.com', '/page', 'javascript:alert(1)', 'file:///etc/passwd', 'https://['])(
  'an address is not %j',
  (address) => {
    const detail = 'the url is not a whole http or https address.';
    expect(() => openWebview({ height: 1, url: address })).toThrow(
      new InvalidCommandError(`openWebview: ${detail}`),
    );
    expect(() => refreshWebview({ url: address })).toThrow(
      new InvalidCommandError(`refreshWebview: ${detail}`),
    );
  },
);

test('isCommand accepts what the builders return, and nothing else', () => {
  expect(isCommand(closeWebview())).toBe(true);
  expect([null, 'x', {}, { cmd: 'dance' }].filter(isCommand)).toEqual([]);
});
