import { expect, test } from 'vitest';
import { isRoutine } from './output-filter.ts';

test.each([
  '',
  '(λ: reply) RequestId: 1  Duration: 2.00 ms  Billed Duration: 3 ms',
  'POST /vvchat/events (λ: webhook)',
  'Successfully invoked scheduled function: [retry]',
  'nothing is due',
  '      at require (node:internal/modules/helpers:157:16)',
  '      at x (/p/node_modules/serverless-offline/src/lambda/x.js:1:2)',
  'Debugger listening on ws://127.0.0.1:9229/3f2a',
  '\u001b[90m(λ: reply) RequestId: 1\u001b[39m',
])('hides the line %j', (line) => {
  expect(isRoutine(line)).toBe(true);
});

test.each([
  '✘ [ERROR] Unexpected "konst"',
  '    robot/robot.ts:12:7:',
  '      at answer (/p/robot/robot.ts:39:7)',
  '      at answer (/p/node_modules/a-library/x.js:1:2)',
  "× Unhandled exception in handler 'reply'.",
  'Reloaded.',
])('shows the line %j', (line) => {
  expect(isRoutine(line)).toBe(false);
});
