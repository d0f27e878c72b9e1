/*
 * Why rows are postponed or fail: how a `last_error` begins, what it means, and what helps. The table "What failed" of
 * docs/operations.md has the same rows; a test keeps them equal.
 */

export interface Reason {
  /** As the table shows it; `…` stands for anything. */
  readonly begins: string;
  readonly cause: string;
  readonly remedy: string;
}

/** The first that matches counts. */
export const REASONS: readonly Reason[] = [
  {
    begins: 'gave up: …',
    cause: 'retried until `give_up_at`; the last reason follows the colon',
    remedy: 'fix that reason, then put the row back',
  },
  {
    begins: 'given up by an operator: …',
    cause: 'an operator gave it up with `--give-up`; the last reason follows the colon',
    remedy: 'nothing, or put the row back',
  },
  {
    begins: 'no answer after …',
    cause: 'the robot had its last call; the last reason follows the colon',
    remedy: 'fix the robot, deploy, then put the row back',
  },
  {
    begins: 'the robot threw …',
    cause: '`robot/robot.ts` threw at each of its calls',
    remedy: 'see the log of the function, fix the robot, deploy, then put the row back',
  },
  {
    begins: 'RobotTimeoutError: …',
    cause: '`robot/robot.ts` took too long at each of its calls',
    remedy: 'make the robot faster, deploy, then put the row back',
  },
  {
    begins: 'InvalidAnswerError: …',
    cause: '`robot/robot.ts` answered something that is not a command, or too much',
    remedy: 'fix the robot, deploy, then put the row back',
  },
  {
    begins: 'InvalidCommandError: …',
    cause: '`robot/robot.ts` answered a command that VVChat cannot carry out in this session',
    remedy: 'fix the robot, deploy, then put the row back',
  },
  {
    begins: 'InvalidRobotError: …',
    cause:
      "a route of `robot/robot.ts` is wrong: its predicate is async or returned neither `true` nor `false`, or its handler asked for a group name that the pattern doesn't have",
    remedy: 'fix the robot, deploy, then put the row back',
  },
  {
    begins: 'the function crashed while the robot answered',
    cause:
      'the function ended while `robot/robot.ts` answered: out of memory, or the process exited',
    remedy: 'see the log of the function, fix the robot, deploy, then put the row back',
  },
  {
    begins: 'the function crashed while a command was sent',
    cause: 'the function ended during a send, so the outcome of that command is unknown',
    remedy: 'see the log of the function; check in VVChat whether the command arrived',
  },
  {
    begins: 'outcome unknown',
    cause: 'two sends of a command ended without a response',
    remedy:
      'check in VVChat whether the command arrived; if not, put the row back with `--outcome-unknown`',
  },
  {
    begins: 'VVChat answered 429 …',
    cause: 'VVChat limits the rate of commands',
    remedy: 'wait: it is retried by itself',
  },
  {
    begins: 'VVChat answered 4xx …',
    cause:
      "VVChat refused the command, for example because the session is gone or the robot's number is wrong",
    remedy: 'fix what VVChat names, then put the row back; if the session is gone, acknowledge it',
  },
  {
    begins: 'VVChat answered 2xx …',
    cause:
      'VVChat named an error in a success, which is not documented and counts as a refusal; the command may have been carried out',
    remedy:
      'check in VVChat whether the command arrived; if not, put the row back with `--outcome-unknown`',
  },
  {
    begins: 'VVChat answered 5xx …',
    cause: 'VVChat had an error of its own',
    remedy: 'wait: it is retried by itself; if it lasts, ask VVChat',
  },
  {
    begins: 'VVChat answered 3xx …',
    cause: 'VVChat redirects, which is not followed',
    remedy: 'check `VVCHAT_API_URL`',
  },
  {
    begins: 'VVChat cannot be reached …',
    cause: 'no connection could be made, so nothing was sent',
    remedy: 'check whether VVChat is down, and `VVCHAT_API_URL`; it is retried by itself',
  },
  {
    begins: 'the request to VVChat broke off …',
    cause: 'the connection ended before the response, so the outcome is unknown',
    remedy: 'check whether VVChat is slow; it is retried by itself',
  },
  {
    begins: 'no token: app …',
    cause: 'the app has no key',
    remedy: 'store it: `npm run secret -- --app APP_ID` prints how',
  },
  {
    begins: 'no token: the key …',
    cause: "the app's key cannot be read from SSM",
    remedy: "check SSM and the function's role; it is retried by itself",
  },
  {
    begins: 'no token: VVChat answered 4xx …',
    cause: 'VVChat refused to issue a token: the key is wrong or revoked',
    remedy: 'store the right one: `npm run secret -- --app APP_ID` prints how',
  },
  {
    begins: 'no token: VVChat …',
    cause: 'VVChat issued no token',
    remedy: 'check whether VVChat is down; it is retried by itself',
  },
  {
    begins: 'no token: …',
    cause: 'the token could not be fetched, or DynamoDB failed',
    remedy: 'see the log of the function; it is retried by itself',
  },
  {
    begins: 'another worker is still fetching the token',
    cause: 'VVChat is slow to issue a token',
    remedy: 'wait: it is retried by itself',
  },
  {
    begins: 'the function had no time left',
    cause: 'the robot or VVChat was slow, so the rest was left to the next run of `retry`',
    remedy: 'wait: it is retried by itself',
  },
  {
    begins: 'no attempt was finished',
    cause: 'no worker got as far as a reason: the functions did not run, or DynamoDB failed',
    remedy: 'see the logs of `reply` and `retry`, then put the row back',
  },
  {
    begins: 'muted',
    cause: 'the session or the app was muted, so the event was recorded and not answered',
    remedy: 'end the mute with `npm run mute -- --end`; this event stays unanswered',
  },
];

/** Reasons that begin so quote another one behind the colon. */
const QUOTING = /^(?:gave up|given up by an operator|no answer after \d+ attempts): (.+)$/s;

/**
 * The reasons for which a `last_error` stands, the outermost first.
 *
 * @returns none for a text that no version of the service has written
 */
export function reasonsFor(last_error: string): readonly Reason[] {
  const reason = REASONS.find(({ begins }) => patternOf(begins).test(last_error));
  if (!reason) return [];
  const quoted = QUOTING.exec(last_error)?.[1];
  return quoted === undefined ? [reason] : [reason, ...reasonsFor(quoted)];
}

const patternOf = (begins: string) =>
  new RegExp(`^${begins.replace(/ ?…$/, '').replace(/(\d)xx/, '$1\\d\\d')}`);
