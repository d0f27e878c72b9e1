import { stripVTControlCharacters } from 'node:util';

/*
 * serverless-offline prints lines for every invocation, and retry runs every minute. Without this filter they would
 * bury what the author of a robot looks for: the robot's own output, errors and replies.
 */
const ROUTINE = [
  /^\s*$/,
  /^\(λ: \w+\) RequestId/,
  /^POST \S+ \(λ: \w+\)$/,
  /^Successfully invoked scheduled function/,
  /^nothing is due$/,
  /^(?:Environment|Docs): /,
  /^(?:Debugger (?:listening|attached|ending)|For help, see: https:\/\/nodejs\.org)/,
  /^\s+at .*(?:node:|node_modules\/(?:serverless|serverless-offline)\/)/,
];

/** Whether a line of serverless-offline's output is of no use to the author of a robot. */
export function isRoutine(line: string): boolean {
  const text = stripVTControlCharacters(line);
  return ROUTINE.some((it) => it.test(text));
}
