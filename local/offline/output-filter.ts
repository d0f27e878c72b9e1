import { stripVTControlCharacters } from 'node:util';

/** What the framework tells of every invocation, of itself and of its own code, and the schedule every minute. */
const NOISE = [
  /^\s*$/,
  /^\(λ: \w+\) RequestId/,
  /^POST \S+ \(λ: \w+\)$/,
  /^Successfully invoked scheduled function/,
  /^nothing is due$/,
  /^(?:Environment|Docs): /,
  /^\s+at .*(?:node:|node_modules\/(?:serverless|serverless-offline)\/)/,
];

/** Whether a line of serverless-offline's tells a robot's author nothing. */
export function isNoise(line: string): boolean {
  const text = stripVTControlCharacters(line);
  return NOISE.some((it) => it.test(text));
}
