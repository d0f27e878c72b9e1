import type { Item } from '../lib/inbox/item.ts';
import { InvalidRedriveError, type Redriven, redrive } from '../lib/inbox/redrive.ts';
import {
  createCommand,
  id,
  type Options,
  positive,
  printNote,
  printRows,
  rowCount,
  run,
  time,
  UsageError,
} from './command-line.ts';
import { type Effect, giveUp, groupsOf, pendingRows, retryNow } from './pending.ts';
import { inboxOf, tableOf } from './tables.ts';

/*
 * `npm run redrive`: lists failed inbox rows, puts them back or marks them as seen. It does what the function `retry`
 * does for {"redrive": {…}}, but runs here, and page after page. It lists pending rows too, makes them due now, or
 * gives them up.
 */

interface RedriveOptions extends Options {
  readonly putBack: boolean;
  readonly askAgain: boolean;
  readonly acknowledge: boolean;
  readonly acknowledged: boolean;
  readonly pending: boolean;
  readonly now: boolean;
  readonly giveUp: boolean;
  readonly before?: number;
  readonly app?: string;
  readonly session?: string;
  readonly lastError?: string;
  readonly from?: string;
  readonly to?: string;
  readonly outcomeUnknown: boolean;
  readonly limit: number;
}

const PAGE = 1_000;
const AN_HOUR_MS = 3_600_000;

const command = createCommand(
  'redrive',
  'Lists failed or pending replies, and retries, acknowledges or gives them up',
)
  .option('--put-back', 'put them back; without it they are only listed', false)
  .option('--ask-again', 'put back those of which nothing was sent, and ask the robot again', false)
  .option('--acknowledge', 'mark them as seen: they leave this list', false)
  .option('--acknowledged', 'those that were marked as seen, in place of the others', false)
  .option('--pending', 'list pending rows in place of failed ones', false)
  .option('--now', 'make pending rows due now', false)
  .option('--give-up', 'fail pending rows that were received --before a time', false)
  .option('--before <time>', 'only pending rows received before a time', time)
  .option('--app <app_id>', 'only those of this app', id)
  .option('--session <open_id>', 'only those of this session', id)
  .option('--last-error <text>', 'only those whose last_error starts with this text')
  .option(
    '--from <time>',
    'only those that failed at or after a time, such as 2026-03-14T09:00:00Z',
  )
  .option('--to <time>', 'only those that failed at or before a time')
  .option(
    '--outcome-unknown',
    'also those with a command of unknown outcome, which may then be sent twice',
    false,
  )
  .option('--limit <n>', 'how many failed rows to examine at most', positive, PAGE);

await run(command, async () => {
  const options = command.opts<RedriveOptions>();
  checkActions(options);
  if (options.pending || options.now || options.giveUp) await workOnPending(options);
  else await workOnFailed(options);
});

function checkActions(options: RedriveOptions): void {
  const { putBack, askAgain, acknowledge, pending, now, giveUp, before, outcomeUnknown } = options;
  const actions = [putBack || askAgain, acknowledge, pending, now, giveUp].filter(Boolean);
  if (actions.length > 1) {
    throw new UsageError(
      'Give one of --put-back (or --ask-again), --acknowledge, --pending, --now and --give-up.',
    );
  }
  const isPending = pending || now || giveUp;
  if (giveUp && before === undefined) throw new UsageError('--give-up needs --before.');
  if (before !== undefined && !isPending) {
    throw new UsageError('--before needs --pending, --now or --give-up.');
  }
  const { from, to, acknowledged } = options;
  if (isPending && (from !== undefined || to !== undefined || acknowledged || outcomeUnknown)) {
    throw new UsageError(
      '--from, --to, --acknowledged and --outcome-unknown are about failed rows; for pending ones there is --before.',
    );
  }
}

// ---- pending rows

async function workOnPending(options: RedriveOptions): Promise<void> {
  const table = inboxOf(options);
  const items: Item[] = [];
  const counts: Partial<Record<Effect, number>> = {};
  const rows = pendingRows(table, options, options.limit);
  let next = await rows.next();
  try {
    for (; !next.done; next = await rows.next()) {
      const item = next.value;
      items.push(item);
      if (options.pending) continue;
      const effect = await (options.now ? retryNow(table, item) : giveUp(table, item));
      counts[effect] = (counts[effect] ?? 0) + 1;
    }
  } catch (error) {
    if (!options.pending) {
      printNote(
        `Stopped after ${rowCount(counts.done ?? 0)}. Run the same command again for the rest.`,
      );
    }
    throw error;
  }
  const mayBeMore = next.value.mayBeMore;
  if (options.pending) reportPending(items, mayBeMore, options);
  else reportEffects(counts, mayBeMore, options);
  noteMore(mayBeMore, options);
}

function reportPending(
  items: readonly Item[],
  may_be_more: boolean,
  options: RedriveOptions,
): void {
  const now = Date.now();
  const groups = groupsOf(items, now);
  const due_now = items.filter((it) => Date.parse(it.next_attempt_at) <= now).length;
  const counts = { pending: items.length, due_now, due_later: items.length - due_now };
  if (options.json) console.log(JSON.stringify({ ...counts, groups, may_be_more }, null, 2));
  else printRows(groups, options);
  printNote(`${rowCount(items.length)} pending: ${due_now} due now, ${counts.due_later} later.`);
  if (items.length > 0) {
    printNote('Make them due with --now, or fail the oldest with --give-up --before TIME.');
  }
}

function reportEffects(
  counts: Partial<Record<Effect, number>>,
  may_be_more: boolean,
  { now, json }: RedriveOptions,
): void {
  const { done = 0 } = counts;
  const named = Object.entries(counts).map(([effect, count]) => [
    effect.replaceAll(' ', '_'),
    count,
  ]);
  if (json) console.log(JSON.stringify({ ...Object.fromEntries(named), may_be_more }, null, 2));
  printNote(
    now
      ? `${rowCount(done)} made due. The function retry processes them within two minutes.`
      : `${rowCount(done)} given up. They are listed as failed, and can be put back.`,
  );
  for (const [effect, count] of Object.entries(counts)) {
    if (effect !== 'done') printNote(`${rowCount(count)} left: ${effect}.`);
  }
}

function noteMore(mayBeMore: boolean, { limit }: RedriveOptions): void {
  if (mayBeMore) printNote(`There may be more; examine more with --limit ${limit * 10}.`);
}

// ---- failed rows

async function workOnFailed(options: RedriveOptions): Promise<void> {
  const total = { found: 0, outcome_unknown: 0, partly_sent: 0, others: 0 };
  const rows: object[] = [];
  let mayBeMore = false;
  try {
    for await (const page of pages(options)) {
      total.found += page.listed ?? page.redriven ?? page.acknowledged ?? 0;
      total.outcome_unknown += page.outcome_unknown;
      total.partly_sent += page.partly_sent ?? 0;
      total.others += page.others;
      rows.push(...(page.rows ?? []));
      mayBeMore = page.after !== undefined;
    }
  } catch (error) {
    if (!isListing(options) && !(error instanceof UsageError)) {
      printNote(
        `Stopped. At least ${rowCount(total.found)} ${effectOf(options)}. Run the same command again for the rest.`,
      );
    }
    throw error;
  }
  const { found, partly_sent, ...others } = total;
  if (options.json) {
    const counts = isListing(options)
      ? { found, rows }
      : { [effectOf(options).replace(' ', '_')]: found };
    const sent = options.askAgain ? { partly_sent } : {};
    console.log(JSON.stringify({ ...counts, ...others, ...sent, may_be_more: mayBeMore }, null, 2));
  } else printRows(rows, options);
  noteOutcome(options, total, mayBeMore);
}

function isListing({ putBack, askAgain, acknowledge }: RedriveOptions): boolean {
  return !putBack && !askAgain && !acknowledge;
}

function effectOf({ acknowledge }: RedriveOptions) {
  return acknowledge ? 'acknowledged' : 'put back';
}

/** What became of the failed rows, a page at a time, until the limit is reached or none is left. */
async function* pages(options: RedriveOptions): AsyncGenerator<Redriven> {
  const table = tableOf('inbox', options);
  let after: string | undefined;
  for (let left = options.limit; left > 0; left -= PAGE) {
    const request = { ...requestOf(options), limit: Math.min(left, PAGE), after };
    const page = await withUsageErrors(() => redrive(table, request, Date.now() + AN_HOUR_MS));
    yield page;
    ({ after } = page);
    if (after === undefined) return;
  }
}

function requestOf(options: RedriveOptions) {
  return {
    list: isListing(options),
    app_id: options.app,
    session_open_id: options.session,
    last_error: options.lastError,
    from: options.from,
    to: options.to,
    outcome_unknown: options.outcomeUnknown,
    ask_again: options.askAgain,
    acknowledge: options.acknowledge,
    acknowledged: options.acknowledged,
  };
}

/** What `redrive` rejects is an option that was typed wrong. */
async function withUsageErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InvalidRedriveError)) throw error;
    const named = (_: string, name: string) => `--${name.replaceAll('_', '-')}`;
    throw new UsageError(error.message.replace(/redrive\.(\w+)/g, named));
  }
}

function noteOutcome(
  options: RedriveOptions,
  total: {
    readonly found: number;
    readonly outcome_unknown: number;
    readonly partly_sent: number;
  },
  mayBeMore: boolean,
): void {
  printNote(`${rowCount(total.found)} ${resultOf(options)}`);
  if (total.outcome_unknown > 0) {
    printNote(
      `${rowCount(total.outcome_unknown)} left failed, since a command may have been carried out. Add --outcome-unknown to include them.`,
    );
  }
  if (total.partly_sent > 0) {
    printNote(
      `${rowCount(total.partly_sent)} left failed, since a part of the reply was sent. --put-back sends the rest.`,
    );
  }
  noteMore(mayBeMore, options);
}

function resultOf(options: RedriveOptions): string {
  if (isListing(options)) return 'can be put back. Add --put-back to do so.';
  return options.acknowledge
    ? 'acknowledged. --acknowledged lists them.'
    : 'put back. The function retry processes them within two minutes.';
}
