import { expect, test } from 'vitest';
import { printLogLines } from './log-lines.ts';

const printed = (...args: unknown[]) => {
  const lines: unknown[][] = [];
  const target = { info: () => {}, warn: () => {}, error: (...it: unknown[]) => lines.push(it) };
  printLogLines(target);
  Reflect.apply(target.error, target, args);
  return lines;
};

test('a log entry is one line, followed by the places of its error that are in the project', () => {
  const at = [
    'at a (robot/robot.ts:1:2)',
    'at b (node:internal/x:1:1)',
    'at c (/node_modules/x.js)',
  ];
  expect(printed({ message: 'sent', event_id: 'x-1', error: 'TypeError', at })).toEqual([
    ['sent  event_id=x-1 error=TypeError\n  at a (robot/robot.ts:1:2)'],
  ]);
  expect(printed({ message: 'sent' })).toEqual([['sent']]);
});

test('the causes of an error follow it, and further lines of a text begin with spaces', () => {
  const causes = [
    {
      error: 'Error',
      detail: 'no\nconnection',
      at: ['at b (robot/b.ts:3:4)', 'at c (node:x:1:1)'],
    },
    { error: 'string', at: [] },
  ];
  const at = ['at a (robot/robot.ts:1:2)'];
  expect(printed({ message: 'failed', detail: 'line 1\nline 2', at, causes })).toEqual([
    [
      [
        'failed  detail=line 1',
        'line 2',
        'at a (robot/robot.ts:1:2)',
        'caused by Error: no',
        'connection',
        'at b (robot/b.ts:3:4)',
        'caused by string',
      ].join('\n  '),
    ],
  ]);
});

test.each([
  [['text']],
  [[{ text: 'x' }]],
  [[{ message: 1 }]],
  [[new Error('x')]],
  [[{ message: 'x' }, 1]],
  [[null]],
])('the output of an author is left as it is: %j', (args) => {
  expect(printed(...args)).toEqual([args]);
});
