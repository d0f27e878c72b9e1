import { setTimeout as sleep } from 'node:timers/promises';
import { closeWebview, defineRobot, openWebview, sendText } from 'vvchat-robot';

/** A robot that obeys its messages. It stands in place of robot/robot.ts in every copy that tests make of the project. */
export const robot = defineRobot({
  at: [
    [
      /^say (?<times>\d+) times/,
      ({ text, group }) =>
        Array.from({ length: Number(group('times')) }, (_, i) => sendText(`${text} (${i})`)),
    ],
    [
      /^think for (?<seconds>\d+) s/,
      async ({ text, group }) => {
        console.log('thinking');
        await sleep(Number(group('seconds')) * 1_000);
        return sendText(text);
      },
    ],
    [
      /^(?:after (?<before>\d+) ms )?spin for (?<seconds>\d+) s/,
      async ({ text, group, attempt }) => {
        if (attempt > 1) return sendText(text);
        if (group('before') !== '') await sleep(Number(group('before')));
        console.log('spinning');
        const end = Date.now() + Number(group('seconds')) * 1_000;
        while (Date.now() < end);
        return sendText(text);
      },
    ],
    [/^hang/, () => new Promise<never>(() => {})],
    [
      /^throw/,
      () => {
        throw new Error('thrown on demand');
      },
    ],
    [
      /^kill/,
      () => {
        process.kill(process.pid, 'SIGKILL');
        return null;
      },
    ],
    [/^be silent/, () => null],
    [/^open (?<url>http\S+)/, ({ group }) => openWebview({ height: '50%', url: group('url') })],
    [/^close/, () => closeWebview()],
    [/^/, ({ text }) => sendText(text)],
  ],
  'join-group-for-invite': () => sendText('hello'),
});
