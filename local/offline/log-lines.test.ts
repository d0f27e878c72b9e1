import { expect, test } from 'vitest';
import { printLogLines } from './log-lines.ts';

const printed = (...args: unknown[]) => {
  const lines: unknown[][] = [];
  const target = { info: () => {}, warn: () => {}, error: (...it: unknown[]) => lines.push(it) };
  printLogLines(target);
  Reflect.apply(target.error, target, args);
  return lines;
};

test('an entry of the log is one line, and the places of an error in the project follow', () => {
  const at = [
    'at a (robot/robot.ts:1:2)',
    'at b (node:internal/x:1:1)',
    'at c (/node_modules/x.js)',
  ];
  expect(printed({ message: 'said', event_id: 'x-1', error: 'TypeError', at })).toEqual([
    ['said  event_id=x-1 error=TypeError\n  at a (robot/robot.ts:1:2)'],
  ]);
  expect(printed({ message: 'said' })).toEqual([['said']]);
});

test.each([
  [['text']],
  [[{ text: 'x' }]],
  [[{ message: 1 }]],
  [[new Error('x')]],
  [[{ message: 'x' }, 1]],
  [[null]],
])('what an author prints stays as it is: %j', (args) => {
  expect(printed(...args)).toEqual([args]);
});
