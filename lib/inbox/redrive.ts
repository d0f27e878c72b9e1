import * as v from 'valibot';
import { iso, type Table } from '../aws/table.ts';
import { SafeError } from '../safe-error.ts';
import { zonedTime } from '../zoned-time.ts';
import { type Item, isUnknown, type Key } from './item.ts';
import { indexedRows, read } from './queries.ts';
import { acknowledge, redrive as putBack, unlessLost } from './transitions.ts';

/** A redrive request is invalid; the message says what is wrong, and what to write. */
export class InvalidRedriveError extends SafeError {
  override readonly name = 'InvalidRedriveError';
}

/** What became of the failed rows that were read. */
export interface Redriven {
  /** How many were put back: they are due, and `retry` answers them within a minute or two. */
  readonly redriven?: number;
  /** How many would be. */
  readonly listed?: number;
  /** How many were marked as seen. */
  readonly acknowledged?: number;
  /** How many rows of those requested stay failed, because a command of theirs may have been carried out. */
  readonly outcome_unknown: number;
  /** How many rows stay failed because a part of their answer was sent, so that the robot cannot be asked again. */
  readonly partly_sent?: number;
  /** How many rows were not requested. */
  readonly others: number;
  /** There may be more rows: the same request with this as `after` goes on. */
  readonly after?: string;
  /** Which would be put back. */
  readonly rows?: readonly FailedRow[];
}

export type FailedRow = Key &
  Pick<Item, 'app_id' | 'last_error' | 'sent' | 'unknown'> & { readonly failed_at: string };

const MAX_LIMIT = 1_000;

/** How many rows are read and written at a time. */
const AT_ONCE = 25;

/** No batch is begun with less time than this before the deadline. */
const SPARE_MS = 20_000;

const limitRange = `must be a whole number from 1 to ${MAX_LIMIT}`;

const text = v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'));

const time = v.pipe(
  v.string('must be a time such as "2026-03-14T09:00:00Z"'),
  v.check((it) => zonedTime(it) !== undefined, 'must be a time such as "2026-03-14T09:00:00Z"'),
  v.transform((it) => iso(Date.parse(it))),
);

/** The last row that was read, and the end of the range: rows that fail again lie behind it. */
const Place = v.strictObject({
  session_open_id: text,
  event_id: text,
  due_shard: text,
  next_attempt_at: text,
  to: text,
});

const WRONG_PLACE = 'must be what an earlier answer had as "after"';

const place = v.pipe(
  v.string(WRONG_PLACE),
  v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
    const json = Buffer.from(value, 'base64url').toString();
    const result = v.safeParse(v.pipe(v.string(), v.parseJson(), Place), json);
    if (result.success) return result.output;
    addIssue({ message: WRONG_PLACE });
    return NEVER;
  }),
);

const KEYS =
  'list, limit, app_id, session_open_id, last_error, from, to, outcome_unknown, ask_again, acknowledge, acknowledged and after';

const boolean = v.boolean('must be true or false');

const Redrive = v.pipe(
  v.strictObject(
    {
      /** Lists the rows, and changes nothing. */
      list: v.optional(boolean, false),
      /** How many failed rows to read. */
      limit: v.optional(
        v.pipe(
          v.number(limitRange),
          v.integer(limitRange),
          v.minValue(1, limitRange),
          v.maxValue(MAX_LIMIT, limitRange),
        ),
        100,
      ),
      app_id: v.optional(text),
      session_open_id: v.optional(text),
      /** How `last_error` begins. */
      last_error: v.optional(text),
      /** When they failed, both included. */
      from: v.optional(time, '1970-01-01T00:00:00Z'),
      to: v.optional(time),
      /** Includes rows of which a command may have been carried out, and which may so be sent twice. */
      outcome_unknown: v.optional(boolean, false),
      /** Discards stored answers of which nothing was sent, so that the robot is asked again. */
      ask_again: v.optional(boolean, false),
      /** Marks the rows as seen in place of putting them back. */
      acknowledge: v.optional(boolean, false),
      /** Reads the rows that were marked as seen in place of those that were not. */
      acknowledged: v.optional(boolean, false),
      after: v.optional(place),
    },
    ({ expected }) =>
      expected === 'never'
        ? `is not known; there are ${KEYS}`
        : 'must be an object, such as {} or {"list": true}',
  ),
  v.forward(
    v.check(({ from, to = from }) => from <= to, 'must not be later than redrive.to'),
    ['from'],
  ),
  v.forward(
    v.check(
      ({ from, to, after }) =>
        !after ||
        (from <= after.next_attempt_at &&
          after.next_attempt_at <= after.to &&
          after.to <= (to ?? after.to)),
      'must come with the same from and to as in the call that answered it',
    ),
    ['after'],
  ),
);

type Redrive = v.InferOutput<typeof Redrive>;

/** What became of one row; if it is only listed, the row. */
interface Result {
  readonly as: 'taken' | 'outcome_unknown' | 'partly_sent' | 'others';
  readonly row?: FailedRow;
}

/**
 * Puts failed rows back into the inbox, lists them, or marks them as seen.
 *
 * Bounded, and resumable: a call reads `limit` rows at most; the same request again, with `after` from the
 * answer, goes on, up to the time of the first call. A call that ends in the middle has put back some, and leaves
 * the others as they are.
 *
 * @param request `{ list?, limit?, app_id?, session_open_id?, last_error?, from?, to?, outcome_unknown?,
 *   ask_again?, acknowledge?, acknowledged?, after? }`
 * @throws {InvalidRedriveError}
 */
export async function redrive(table: Table, request: unknown, deadline: number): Promise<Redriven> {
  const wanted = parse(request);
  const { from, limit, after } = wanted;
  const now = iso(table.now());
  const to = after?.to ?? (wanted.to !== undefined && wanted.to < now ? wanted.to : now);
  const list = wanted.acknowledged ? 'acknowledged' : 'failed';
  const keys = await indexedRows(table, list, limit, { from, to }, after);
  const results: Result[] = [];
  while (results.length < keys.length && (results.length === 0 || hasTime(table, deadline))) {
    const batch = keys.slice(results.length, results.length + AT_ONCE);
    results.push(...(await redriveBatch(table, batch, wanted)));
  }
  const last = keys[results.length - 1] ?? after;
  const isOver = results.length === keys.length && keys.length < limit;
  const count = (as: Result['as']) => results.filter((it) => it.as === as).length;
  return {
    [effectOf(wanted)]: count('taken'),
    outcome_unknown: count('outcome_unknown'),
    ...(wanted.ask_again && { partly_sent: count('partly_sent') }),
    others: count('others'),
    ...(!isOver && last && { after: encodePlace({ ...last, to }) }),
    ...(wanted.list && { rows: results.flatMap(({ row }) => row ?? []) }),
  };
}

function effectOf({ list, acknowledge }: Redrive) {
  if (list) return 'listed';
  return acknowledge ? 'acknowledged' : 'redriven';
}

const hasTime = ({ now }: Table, deadline: number): boolean => now() < deadline - SPARE_MS;

/** The whole batch settles before an error is thrown, so that no write is left in flight. */
async function redriveBatch(
  table: Table,
  keys: readonly Key[],
  wanted: Redrive,
): Promise<readonly Result[]> {
  const settled = await Promise.allSettled(keys.map((key) => redriveRow(table, key, wanted)));
  return settled.map((it) => {
    if (it.status === 'rejected') throw it.reason;
    return it.value;
  });
}

async function redriveRow(table: Table, key: Key, wanted: Redrive): Promise<Result> {
  const item = await read(table, key);
  if (item?.status !== 'failed' || !isSelected(item, wanted)) return { as: 'others' };
  const obstacle = wanted.acknowledge ? undefined : obstacleTo(item, wanted);
  if (obstacle) return { as: obstacle };
  if (wanted.list) return { as: 'taken', row: rowOf(item) };
  // Another redrive may have put it back meanwhile.
  const isWritten = wanted.acknowledge
    ? await acknowledge(table, item)
    : await unlessLost(putBack(table, item, wanted.ask_again ? { commands: undefined } : {}));
  return { as: isWritten ? 'taken' : 'others' };
}

/** Why a row is not put back, if it is not. */
function obstacleTo(item: Item, { outcome_unknown, ask_again }: Redrive) {
  if (ask_again && (item.sent > 0 || item.unknown)) return 'partly_sent';
  return isUnknown(item) && !outcome_unknown ? 'outcome_unknown' : undefined;
}

const encodePlace = (place: v.InferOutput<typeof Place>): string =>
  Buffer.from(JSON.stringify(place)).toString('base64url');

function parse(request: unknown): Redrive {
  // To valibot a list is an object as well.
  const named = Array.isArray(request) ? null : request;
  const result = v.safeParse(Redrive, named, { abortPipeEarly: true });
  if (result.success) return result.output;
  const faults = result.issues.map((issue) => {
    const path = v.getDotPath(issue);
    return `redrive${path === null ? '' : `.${path}`} ${issue.message}`;
  });
  throw new InvalidRedriveError(`${faults.join('; ')}.`);
}

/** Which rows are meant. */
export interface Selection {
  readonly app_id?: string | undefined;
  readonly session_open_id?: string | undefined;
  /** How `last_error` begins. */
  readonly last_error?: string | undefined;
}

export const isSelected = (item: Item, { app_id, session_open_id, last_error }: Selection) =>
  (app_id === undefined || item.app_id === app_id) &&
  (session_open_id === undefined || item.session_open_id === session_open_id) &&
  (last_error === undefined || item.last_error?.startsWith(last_error) === true);

const rowOf = (item: Item): FailedRow => ({
  session_open_id: item.session_open_id,
  event_id: item.event_id,
  app_id: item.app_id,
  failed_at: item.next_attempt_at,
  sent: item.sent,
  ...(item.unknown && { unknown: item.unknown }),
  ...(item.last_error !== undefined && { last_error: item.last_error }),
});
