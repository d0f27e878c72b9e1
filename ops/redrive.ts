import { InvalidRedriveError, redrive } from '../lib/inbox/redrive.ts';
import {
  createCommand,
  id,
  type Options,
  positive,
  print,
  remark,
  run,
  tableOf,
  UsageError,
} from './operator.ts';

/*
 * `npm run redrive`: lists the inbox rows that failed, and puts them back. What it does is what the function
 * `retry` does with {"redrive": {…}}, from here and page after page.
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

const command = createCommand(
  'redrive',
  'Lists failed replies; with --put-back, has them answered again',
)
  .option('--put-back', 'put them back; without it nothing is changed', false)
  .option('--app <app_id>', 'only those of an app', id)
  .option('--session <open_id>', 'only those of a session', id)
  .option('--last-error <text>', 'only those whose last_error begins so')
  .option('--from <time>', 'only those that failed since, such as 2026-03-14T09:00:00Z')
  .option('--to <time>', 'only those that failed until then')
  .option(
    '--outcome-unknown',
    'also those of which a command may be out, and may so be said twice',
    false,
  )
  .option('--limit <n>', 'how many failed rows to look at', positive, PAGE);

await run(command, async () => {
  const options = command.opts<RedriveOptions>();
  const { putBack, app, session, lastError, from, to, outcomeUnknown, limit } = options;
  const table = tableOf('inbox', options);
  const total = { found: 0, outcome_unknown: 0, others: 0 };
  const rows: object[] = [];
  let after: string | undefined;
  let left = limit;
  try {
    do {
      const answer = await understood(() =>
        redrive(
          table,
          {
            list: !putBack,
            limit: Math.min(left, PAGE),
            ...(app !== undefined && { app_id: app }),
            ...(session !== undefined && { session_open_id: session }),
            ...(lastError !== undefined && { last_error: lastError }),
            ...(from !== undefined && { from }),
            ...(to !== undefined && { to }),
            ...(outcomeUnknown && { outcome_unknown: true }),
            ...(after !== undefined && { after }),
          },
          Date.now() + AN_HOUR_MS,
        ),
      );
      total.found += answer.listed ?? answer.redriven ?? 0;
      total.outcome_unknown += answer.outcome_unknown;
      total.others += answer.others;
      rows.push(...(answer.rows ?? []));
      left -= PAGE;
      after = answer.after;
    } while (after !== undefined && left > 0);
  } catch (error) {
    if (putBack && !(error instanceof UsageError)) {
      remark(
        `Stopped. ${total.found} or more were put back; the same command goes on with the rest.`,
      );
    }
    throw error;
  }

  const { found, ...others } = total;
  const mayBeMore = after !== undefined;
  if (options.json) {
    const counts = putBack ? { put_back: found } : { found, rows };
    console.log(JSON.stringify({ ...counts, ...others, may_be_more: mayBeMore }, null, 2));
  } else print(rows, options);
  remark(
    putBack
      ? `${found} were put back; retry answers them within two minutes.`
      : `${found} can be put back: the same with --put-back.`,
  );
  if (others.outcome_unknown > 0) {
    remark(
      `${others.outcome_unknown} stay failed, since a command of theirs may be out: --outcome-unknown.`,
    );
  }
  if (mayBeMore) remark(`There may be more: --limit ${limit * 10}.`);
});

async function understood<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InvalidRedriveError)) throw error;
    throw new UsageError(error.message.replaceAll('redrive.', '--'));
  }
}
