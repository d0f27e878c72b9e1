import type { AtContext, Robot } from '../lib/routing.ts';
import { closeWebview, openWebview, sendText } from '../lib/vvchat/command.ts';

const HELP = [
  '您可以对我说 · You can say:',
  '帮助 · help',
  '打开 · open https://example.com',
  '关闭 · close',
].join('\n');

/** What the robot answers to whom. Of an @-message's routes the first that matches answers. */
export const robot = {
  at: [
    [['帮助', 'help'], () => sendText(HELP)],
    [/^\s*(?:打开|open)\s+(?<url>https?:\/\/\S+)\s*$/iu, openPage],
    [
      ['关闭', 'close'],
      ({ session }) => (session.session_type === '2' ? closeWebview() : sendText(GROUPS_ONLY)),
    ],
    [
      /^/,
      ({ text }) =>
        sendText(
          `您好！我收到了：“${text.trim()}”。需要帮助请说“帮助”。\nHello! I got that. Say "help" to see what I can do.`,
        ),
    ],
  ],
  'join-group-for-invite': () => sendText(`大家好！Hello, everybody!\n${HELP}`),
} satisfies Robot;

const GROUPS_ONLY = '只有群里才有网页。Only groups have a web view.';
const NO_ADDRESS = '这不是网址。That is not a web address.';

function openPage({ session, match }: AtContext) {
  const url = match.groups?.url ?? '';
  if (session.session_type !== '2') return sendText(GROUPS_ONLY);
  return URL.canParse(url) ? openWebview({ height: '50%', url }) : sendText(NO_ADDRESS);
}
