import {
  type Answer,
  type Context,
  InvalidRobotError,
  type MentionContext,
  type PlainEventName,
  type Predicate,
  type Robot,
  type Route,
} from './define-robot.ts';
import { foldUpTo } from './fold.ts';
import { SafeError } from './safe-error.ts';
import { type Command, checkCommand, isCommand } from './vvchat/command.ts';

/** An event on its way to the robot. */
export type Question =
  | (MentionContext & { readonly event: 'at' })
  | (Context & { readonly event: PlainEventName });

/** What a handler returned cannot be sent. */
export class InvalidAnswerError extends SafeError {
  override readonly name = 'InvalidAnswerError';
}

const MAX_COMMANDS = 20;

/** The answer lies in the row, and each command that is sent costs a write of the whole row: a unit per KB. */
const MAX_ANSWER_BYTES = 16 * 1024;

/**
 * Asks the robot for its answer.
 *
 * @param onRoute called with the route that answers, such as `at[0]`, before its handler
 * @returns the commands in the order in which they are to be sent; none where the robot has nothing to answer
 * @throws {InvalidAnswerError} for what is not a command, and above 20 commands or 16 KiB of JSON
 * @throws {InvalidCommandError} for a command that the session does not have
 * @throws whatever the handler throws
 */
export async function ask(
  robot: Robot,
  question: Question,
  onRoute: (route: string) => void = () => {},
): Promise<readonly Command[]> {
  const commands = commandsIn(await handle(robot, question, onRoute));
  if (commands.length > MAX_COMMANDS) {
    throw new InvalidAnswerError(`An answer has at most ${MAX_COMMANDS} commands.`);
  }
  for (const command of commands) checkCommand(command, question.session);
  if (Buffer.byteLength(JSON.stringify(commands)) > MAX_ANSWER_BYTES) {
    throw new InvalidAnswerError(`An answer has at most ${MAX_ANSWER_BYTES} bytes of JSON.`);
  }
  return commands;
}

function handle(
  robot: Robot,
  question: Question,
  onRoute: (route: string) => void,
): Answer | Promise<Answer> {
  const { definition } = robot;
  if (question.event !== 'at') return definition[question.event]?.(question) ?? null;
  const folded = lazily(() => foldUpTo(robot.longestWord, question.text));
  for (const [i, route] of (definition.at ?? []).entries()) {
    const [when, then] = route;
    const match = matchOf(when, question, () => isAmong(robot.words.get(route), folded()));
    if (!match) continue;
    onRoute(`at[${i}]`);
    return then({ ...question, match, group: (name) => groupOf(when, match, name) });
  }
  return null;
}

/** Once, and only if it is needed: several routes by words share what a text folds to. */
function lazily<T>(compute: () => T): () => T {
  let computed: { readonly value: T } | undefined;
  return () => {
    computed ??= { value: compute() };
    return computed.value;
  };
}

const isAmong = (words: ReadonlySet<string> | undefined, folded: string | undefined): boolean =>
  folded !== undefined && words?.has(folded) === true;

function commandsIn(answer: Answer): readonly Command[] {
  if (answer === undefined) {
    throw new InvalidAnswerError(
      'The handler returned undefined. Is a `return` missing? Return null for no answer.',
    );
  }
  const commands = [answer].flat().filter((it) => it !== null && it !== false);
  if (commands.every(isCommand)) return commands;
  throw new InvalidAnswerError('An answer is made of sendText, openWebview and the like.');
}

function matchOf(
  when: Route[0],
  question: MentionContext,
  isOneOfItsWords: () => boolean,
): RegExpMatchArray | null {
  const { text } = question;
  if (when instanceof RegExp) return when.exec(text);
  const isMatch = typeof when === 'function' ? matchesPredicate(when, question) : isOneOfItsWords();
  return isMatch ? WHOLE_TEXT.exec(text) : null;
}

function matchesPredicate(predicate: Predicate, question: MentionContext): boolean {
  const result: unknown = predicate(question);
  if (typeof result === 'boolean') return result;
  throw new InvalidRobotError('A predicate must return true or false, and must not be async.');
}

const WHOLE_TEXT = /^.*$/su;

function groupOf(when: Route[0], { groups = {} }: RegExpMatchArray, name: string): string {
  if (Object.hasOwn(groups, name)) return groups[name] ?? '';
  const route = when instanceof RegExp ? `the pattern ${when}` : 'a route without a pattern';
  throw new InvalidRobotError(`group: there is no group named "${name}" in ${route}.`);
}
