import { setTimeout as sleep } from 'node:timers/promises';
import type { Robot } from '../lib/routing.ts';
import { sendText } from '../lib/vvchat/command.ts';

/** A robot that does as it is told, in the place of robot/robot.ts in what tests package. */
export const robot = {
  at: [
    [
      /^say (?<times>\d+) times/,
      ({ text, match }) =>
        Array.from({ length: Number(match.groups?.times) }, (_, i) => sendText(`${text} (${i})`)),
    ],
    [
      /^think for (?<seconds>\d+) s/,
      async ({ text, match }) => {
        console.log('thinking');
        await sleep(Number(match.groups?.seconds) * 1_000);
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
    [/^kill/, () => void process.kill(process.pid, 'SIGKILL')],
    [/^be silent/, () => null],
    [/^/, ({ text }) => sendText(text)],
  ],
  'join-group-for-invite': () => sendText('hello'),
} satisfies Robot;
