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

describe('an address', () => {
  const NOT_WHOLE = 'is not a whole http or https address.';
  const CONTROL = 'has a control character, such as a tab or a line break.';
  const BACKSLASH = 'has a backslash; write a slash, or %5C.';
  const CREDENTIALS = 'has a user name or a password.';

  test.each([
    ['', NOT_WHOLE],
    ['example.com', NOT_WHOLE],
    ['/page', NOT_WHOLE],
    ['//example.com', NOT_WHOLE],
    ['javascript:alert(1)', NOT_WHOLE],
    ['javascript://example.com/%0Aalert(1)', NOT_WHOLE],
    ['file:///etc/passwd', NOT_WHOLE],
    ['https://[', NOT_WHOLE],
    ['https:example.com', NOT_WHOLE],
    ['https:/example.com', NOT_WHOLE],
    ['https:///example.com', NOT_WHOLE],
    ['https:\\\\example.com', NOT_WHOLE],
    ['ht\ntps://example.com', NOT_WHOLE],
    ['\thttps://example.com', NOT_WHOLE],
    [new URL('https://example.com'), NOT_WHOLE],
    [undefined, NOT_WHOLE],
    ['https://exam\tple.com', CONTROL],
    ['https://example.com/a\nb', CONTROL],
    ['https://example.com/\r', CONTROL],
    ['https://example.com/\u0000', CONTROL],
    ['https://example.com/\u007f', CONTROL],
    ['https://example.com/\u0085', CONTROL],
    ['https://example.com\\@other.example', BACKSLASH],
    ['https://example.com/?path=a\\b', BACKSLASH],
    ['https://example.com@other.example', CREDENTIALS],
    ['https://anna:secret@example.com', CREDENTIALS],
    ['https://:secret@example.com', CREDENTIALS],
  ])('is not %j', (address, fault) => {
    expect(() => openWebview({ height: 1, url: address as string })).toThrow(
      new InvalidCommandError(`openWebview: the url ${fault}`),
    );
    expect(() => refreshWebview({ url: address as string })).toThrow(
      new InvalidCommandError(`refreshWebview: the url ${fault}`),
    );
  });

  test.each([
    ['https://example.com', 'https://example.com/'],
    [' HTTPS://Example.COM:443/a/../b ', 'https://example.com/b'],
    ['http://example.com/您好?q=a b#c', 'http://example.com/%E6%82%A8%E5%A5%BD?q=a%20b#c'],
    ['https://bücher.example/', 'https://xn--bcher-kva.example/'],
    ['http://0x7f.1/', 'http://127.0.0.1/'],
  ])('is sent in its normal form: %j', (address, normal) => {
    const params = { height: '1', url: normal };
    expect(openWebview({ height: 1, url: address })).toMatchObject({ params });
    expect(refreshWebview({ height: 1, url: address })).toMatchObject({ params });
    expect(openWebview({ height: 1, url: normal })).toMatchObject({ params });
  });
});

test('isCommand accepts what the builders return, and nothing else', () => {
  expect(isCommand(closeWebview())).toBe(true);
  expect([null, 'x', {}, { cmd: 'dance' }].filter(isCommand)).toEqual([]);
});
