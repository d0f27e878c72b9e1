import { isSafe } from 'redos-detector';
import { expect, test } from 'vitest';
import { closeWebview, openWebview, sendText } from 'vvchat-robot';
import { conversation } from 'vvchat-robot/testing';
import { robot } from './robot.ts';

const textLike = (pattern: RegExp) => ({
  cmd: 'send-text',
  params: { text: expect.stringMatching(pattern) },
});

test.each(['帮助', 'help', ' Help ', 'ＨＥＬＰ'])('explains itself for %j', async (word) => {
  expect(await conversation(robot).as('anna').says(word)).toEqual([
    textLike(/打开 · open https:\/\/example\.com/),
  ]);
});

test.each(['打开 https://example.com/a?b=c', 'open https://example.com/a?b=c '])(
  'opens a page for %j',
  async (text) => {
    expect(await conversation(robot).as('anna').says(text)).toEqual([
      openWebview({ height: '50%', url: 'https://example.com/a?b=c' }),
    ]);
  },
);

test('explains that an address is invalid', async () => {
  expect(await conversation(robot).as('anna').says('open https://[')).toEqual([
    sendText('这不是网址。That is not a web address.'),
  ]);
});

test.each(['关闭', 'close'])('closes the page for %j', async (text) => {
  expect(await conversation(robot).as('anna').says(text)).toEqual([closeWebview()]);
});

test.each(['打开 https://example.com', '关闭'])(
  'answers %j with words in a one-to-one chat, which has no web view',
  async (text) => {
    expect(await conversation(robot, { session_type: '1' }).as('anna').says(text)).toEqual([
      sendText('只有群里才有网页。Only groups have a web view.'),
    ]);
  },
);

test.each(['您好', '', 'open the door', '打开'])('greets for %j', async (text) => {
  expect(await conversation(robot).as('anna').says(text)).toEqual([
    textLike(/^您好！.*“.*”.*帮助/s),
  ]);
});

test('welcomes a group that it was pulled into', async () => {
  expect(await conversation(robot).as('anna').adds()).toEqual([textLike(/^大家好！.*help/s)]);
});

test('stays silent when a user opens the group', async () => {
  expect(await conversation(robot).as('anna').opens()).toEqual([]);
});

// A pattern that backtracks takes minutes for a text of 8 KiB, and nothing can interrupt it.
test('has patterns alone whose time grows with the length of a text, and no faster', () => {
  const patterns = (robot.definition.at ?? []).map(([when]) => when).filter(isPattern);
  expect(patterns.filter((it) => !isSafe(plain(it)).safe)).toEqual([]);
  expect(isSafe(plain(/^(?<words>\S+)*$/iu)).safe).toBe(false);
});

const isPattern = (when: unknown): when is RegExp => when instanceof RegExp;

/** The detector reads neither names of groups nor `i` with `u`; neither matters for backtracking. */
const plain = ({ source, flags }: RegExp) =>
  new RegExp(source.replace(/\(\?<(?![=!])\w+>/g, '('), flags.replace('u', ''));
