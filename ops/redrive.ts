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
  UsageError,
} from './command-line.ts';
import { tableOf } from './tables.ts';

/*
 * `npm run redrive`: lists failed inbox rows, and puts them back. It does what the function `retry` does for
 * {"redrive": {…}}, but runs here, and page after page.
 */

interface RedriveOptions extends Options {
  readonly putBack: boolean;
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

const command = createCommand('redrive', 'Lists failed replies, or puts them back to be retried')
  .option('--put-back', 'put them back; without it they are only listed', false)
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
  const total = { found: 0, outcome_unknown: 0, others: 0 };
  const rows: object[] = [];
  let mayBeMore = false;
  try {
    for await (const page of pages(options)) {
      total.found += page.listed ?? page.redriven ?? 0;
      total.outcome_unknown += page.outcome_unknown;
      total.others += page.others;
      rows.push(...(page.rows ?? []));
      mayBeMore = page.after !== undefined;
    }
  } catch (error) {
    if (options.putBack && !(error instanceof UsageError)) {
      printNote(
        `Stopped. At least ${rowCount(total.found)} put back. Run the same command again for the rest.`,
      );
    }
    throw error;
  }
  const { found, ...others } = total;
  if (options.json) {
    const counts = options.putBack ? { put_back: found } : { found, rows };
    console.log(JSON.stringify({ ...counts, ...others, may_be_more: mayBeMore }, null, 2));
  } else printRows(rows, options);
  noteOutcome(options, total, mayBeMore);
});

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
    list: !options.putBack,
    app_id: options.app,
    session_open_id: options.session,
    last_error: options.lastError,
    from: options.from,
    to: options.to,
    outcome_unknown: options.outcomeUnknown,
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
  { putBack, limit }: RedriveOptions,
  total: { readonly found: number; readonly outcome_unknown: number },
  mayBeMore: boolean,
): void {
  printNote(
    putBack
      ? `${rowCount(total.found)} put back. The function retry processes them within two minutes.`
      : `${rowCount(total.found)} can be put back. Add --put-back to do so.`,
  );
  if (total.outcome_unknown > 0) {
    printNote(
      `${rowCount(total.outcome_unknown)} left failed, since a command may have been carried out. Add --outcome-unknown to include them.`,
    );
  }
  if (mayBeMore) printNote(`There may be more; examine more with --limit ${limit * 10}.`);
}
