import { expect, test } from 'vitest';
import { ask } from '../lib/routing.ts';
import { closeWebview, openWebview, sendText } from '../lib/vvchat/command.ts';
import { at, on } from '../test/fixtures.ts';
import { robot } from './robot.ts';

const textLike = (pattern: RegExp) => ({
  cmd: 'send-text',
  params: { text: expect.stringMatching(pattern) },
});

const oneToOne = { session: { session_open_id: 'person-1', session_type: '1' } } as const;

test.each(['帮助', 'help', ' Help ', 'ＨＥＬＰ'])(
  'explains itself when asked for %j',
  async (word) => {
    const [answer] = await ask(robot, at(word));
    expect(answer).toEqual(textLike(/打开 · open https:\/\/example\.com/));
  },
);

test.each(['打开 https://example.com/a?b=c', 'open https://example.com/a?b=c '])(
  'opens a page for %j',
  async (text) => {
    expect(await ask(robot, at(text))).toEqual([
      openWebview({ height: '50%', url: 'https://example.com/a?b=c' }),
    ]);
  },
);

test('says so when what is to be opened is no address', async () => {
  expect(await ask(robot, at('open https://['))).toEqual([
    sendText('这不是网址。That is not a web address.'),
  ]);
});

test.each(['关闭', 'close'])('closes the page for %j', async (text) => {
  expect(await ask(robot, at(text))).toEqual([closeWebview()]);
});

test.each(['打开 https://example.com', '关闭'])(
  'answers %j in a one-to-one chat, which has no web view, with words',
  async (text) => {
    expect(await ask(robot, at(text, oneToOne))).toEqual([
      sendText('只有群里才有网页。Only groups have a web view.'),
    ]);
  },
);

test.each(['您好', '', 'open the door', '打开'])('greets whoever says %j', async (text) => {
  const [answer] = await ask(robot, at(text));
  expect(answer).toEqual(textLike(/^您好！.*“.*”.*帮助/s));
});

test('welcomes a group that it was pulled into', async () => {
  expect(await ask(robot, on('join-group-for-invite'))).toEqual([textLike(/^大家好！.*help/s)]);
});

test('keeps quiet when somebody opens a group', async () => {
  expect(await ask(robot, on('session-open'))).toEqual([]);
});
