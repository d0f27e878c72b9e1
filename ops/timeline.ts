import { historyOf } from '../lib/inbox/history.ts';
import { commandsOf, crashed, crashedWhileSending, type Item } from '../lib/inbox/item.ts';
import { MUTED } from '../lib/mute.ts';
import { reasonsFor } from './reasons.ts';

/** What became of an event: what happened, what happens next, and what helps. */
export interface Timeline {
  readonly event_id: string;
  readonly outcome: Outcome;
  readonly steps: readonly Step[];
  /** What happens next, and when; for a settled row, that nothing does. */
  readonly next: string;
  /** Commands that help, or that show more. */
  readonly commands: readonly string[];
}

export type Outcome =
  | 'replied'
  | 'muted'
  | 'no reply'
  | 'failed'
  | 'acknowledged'
  | 'at work'
  | 'waiting'
  | 'crashed';

/** One line of a timeline. Left out of a row, its time is unknown. */
export interface Step {
  readonly at?: string;
  readonly text: string;
}

interface Setting {
  readonly stage: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Whether the session or the app is muted now. */
  readonly isMuted: boolean;
}

/** Puts a row of the inbox into words. The message itself is left out. */
export function timelineOf(item: Item, setting: Setting): Timeline {
  const outcome = outcomeOf(item, setting.now);
  return {
    event_id: item.event_id,
    outcome,
    steps: inOrder([
      receiptOf(item),
      ...progressOf(item),
      ...endOf(item, outcome),
      ...duplicatesOf(item),
    ]),
    next: nextOf(item, outcome, setting),
    commands: commandsFor(item, outcome, setting),
  };
}

function outcomeOf(item: Item, now: number): Outcome {
  const { status, due_shard, last_error } = item;
  if (status === 'replied') return 'replied';
  if (status === 'ignored') return last_error === MUTED ? 'muted' : 'no reply';
  if (status === 'failed') return due_shard?.startsWith('acknowledged') ? 'acknowledged' : 'failed';
  const isDue = Date.parse(item.next_attempt_at) <= now;
  if (crashed(item)) return isDue ? 'crashed' : 'at work';
  return !isDue && item.claims === 0 ? 'at work' : 'waiting';
}

function receiptOf(item: Item): Step {
  const { event, trigger_open_id, robot_no } = item;
  const by = trigger_open_id === undefined ? '' : ` by ${trigger_open_id}`;
  return {
    at: item.received_at,
    text: `received: ${event}${by}, for robot ${robot_no} of app ${item.app_id}`,
  };
}

function duplicatesOf({ duplicates, last_duplicate_at }: Item): Step[] {
  if (duplicates === undefined || last_duplicate_at === undefined) return [];
  const text = `duplicate: ${duplicates} equal ${duplicates === 1 ? 'event' : 'events'} within the window; counted, and not answered again`;
  return [{ at: last_duplicate_at, text }];
}

function progressOf(item: Item): Step[] {
  const { answered_at, robot_calls, unknown = [] } = item;
  const count = commandsOf(item)?.length;
  const steps: Step[] = historyOf(item).map(({ at, what, why, by }) => ({
    at,
    text: [what, why && `: ${inWords(why)}`, by && ` (${by})`].filter(Boolean).join(''),
  }));
  if (robot_calls > 0) steps.push({ text: `asked: ${times(robot_calls)} without an answer` });
  if (count !== undefined) {
    const answered = `answered: the robot's reply of ${commands(count)} was stored`;
    steps.push(
      answered_at === undefined ? { text: answered } : { at: answered_at, text: answered },
    );
    if (item.sent > 0 && item.sent < count) steps.push({ text: `sent: ${item.sent} of ${count}` });
  }
  for (const i of unknown) {
    steps.push({ text: `command ${i + 1} may have been carried out twice, or not at all` });
  }
  if (item.worker !== undefined) steps.push({ text: `last written by ${item.worker}` });
  return steps;
}

function endOf(item: Item, outcome: Outcome): Step[] {
  const { last_error = 'no reason', next_attempt_at, replied_at, acknowledged_at } = item;
  // The history has it already.
  const latest = historyOf(item).at(-1)?.what;
  switch (outcome) {
    case 'replied': {
      const took = (Date.parse(`${replied_at}`) - Date.parse(item.received_at)) / 1_000;
      const text = `sent: ${commands(item.sent)}, ${took.toFixed(1)} s after receipt`;
      return [{ ...(replied_at !== undefined && { at: replied_at }), text }];
    }
    case 'muted':
      return [{ text: `muted: ${inWords(last_error)}` }];
    case 'no reply':
      return [{ text: 'ignored: the robot has no reply to it' }];
    case 'failed':
    case 'acknowledged': {
      const failed = { at: next_attempt_at, text: `failed: ${inWords(last_error)}` };
      const steps = latest === 'failed' ? [] : [failed];
      return acknowledged_at === undefined || outcome === 'failed'
        ? steps
        : [...steps, { at: acknowledged_at, text: 'acknowledged by an operator' }];
    }
    case 'crashed': {
      const reason = crashedWhileSending(item)
        ? 'the function crashed while a command was sent'
        : 'the function crashed while the robot answered';
      return [{ at: next_attempt_at, text: `crashed: the lease ended; ${inWords(reason)}` }];
    }
    default:
      return item.last_error === undefined
        ? []
        : [{ text: `the latest attempt: ${inWords(item.last_error)}` }];
  }
}

/** A `last_error`, and what it means. */
function inWords(last_error: string): string {
  const causes = reasonsFor(last_error).map(({ cause }) => cause.replaceAll('`', ''));
  return [last_error, ...(causes.length > 0 ? [`(${causes.join('; ')})`] : [])].join(' ');
}

function nextOf(item: Item, outcome: Outcome, { now, isMuted }: Setting): string {
  const { next_attempt_at, give_up_at } = item;
  const mute = isMuted ? ' It is muted now: unless a part was sent, it will not be answered.' : '';
  switch (outcome) {
    case 'at work':
      return `A worker has it until ${next_attempt_at}; after that retry takes it over.${mute}`;
    case 'waiting':
    case 'crashed': {
      const when =
        Date.parse(next_attempt_at) <= now ? 'within two minutes' : `at ${next_attempt_at}`;
      return `retry attempts it ${when}, and gives up at ${give_up_at}.${mute}`;
    }
    case 'failed':
    case 'acknowledged':
      return 'Nothing, until it is put back.';
    default:
      return 'Nothing: it is settled.';
  }
}

function commandsFor(item: Item, outcome: Outcome, { stage }: Setting): string[] {
  const command = (name: string, ...options: string[]) =>
    `npm run ${name} -- --stage ${stage} ${options.join(' ')}`;
  const session = `--session ${quoted(item.session_open_id)}`;
  const remedies = reasonsFor(item.last_error ?? '').map(({ remedy }) => `# ${remedy}`);
  switch (outcome) {
    case 'muted':
      return [command('mute'), command('mute', session, '--end')];
    case 'failed':
    case 'acknowledged': {
      const seen = outcome === 'acknowledged' ? ['--acknowledged'] : [];
      const back = command('redrive', '--put-back', session, ...seen);
      return [
        ...remedies,
        back,
        ...(seen.length > 0 ? [] : [command('redrive', '--acknowledge', session)]),
      ];
    }
    case 'waiting':
      return [...remedies, command('redrive', '--now', session)];
    default:
      return [];
  }
}

/** For a shell. */
const quoted = (text: string) =>
  /^[\w.:@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** In the order of their times; a step of unknown time stays behind the one before it. */
function inOrder(steps: readonly Step[]): Step[] {
  let last = '';
  return steps
    .map((step) => {
      last = step.at ?? last;
      return { step, at: last };
    })
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
    .map(({ step }) => step);
}

const commands = (count: number) => `${count} ${count === 1 ? 'command' : 'commands'}`;
const times = (count: number) => (count === 1 ? 'once' : `${count} times`);
