import { type AtContext, closeWebview, defineRobot, openWebview, sendText } from 'vvchat-robot';

const HELP = [
  '您可以对我说 · You can say:',
  '帮助 · help',
  '打开 · open https://example.com',
  '关闭 · close',
].join('\n');

/** What the robot answers. The first route that matches an @-mention answers it. */
export const robot = defineRobot({
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
});

const GROUPS_ONLY = '只有群里才有网页。Only groups have a web view.';
const NO_ADDRESS = '这不是网址。That is not a web address.';

function openPage({ session, group }: AtContext) {
  const url = group('url');
  if (session.session_type !== '2') return sendText(GROUPS_ONLY);
  return URL.canParse(url) ? openWebview({ height: '50%', url }) : sendText(NO_ADDRESS);
}
