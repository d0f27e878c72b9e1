import { EVENT_NAMES } from './vvchat/event.ts';

/** Every metric, with its unit. */
export const UNITS = {
  /** Accepted events. `retry` adds zeros to their total, so that silence is a number and not missing data. */
  Events: 'Count',
  /** Requests with one of two tokens, while both are accepted. */
  Authenticated: 'Count',
  /** Requests that were not accepted. A text that is too long counts as `size`, not as `body`. */
  Rejected: 'Count',
  Duplicates: 'Count',
  /** Inbox rows that are settled. */
  Replies: 'Count',
  Failures: 'Count',
  /** Commands that may have been carried out twice, or not at all. */
  UnknownOutcomes: 'Count',
  /** Calls of the robot that threw, took too long, or returned what cannot be sent. */
  RobotErrors: 'Count',
  /** From the acceptance of an event to the end of its reply. */
  ReplyMilliseconds: 'Milliseconds',
  /** Time since the oldest of the due rows was accepted or redriven; 0 when none is due. */
  OldestDueSeconds: 'Seconds',
} as const;

/** The metrics that are counted per value of a dimension; all others have none. */
export const COUNTED_BY = {
  Events: 'event',
  Rejected: 'reason',
  Authenticated: 'token',
} as const;

/** Of those, the ones that are counted over all values as well. */
export const TOTALLED: readonly Metric[] = ['Events'];

/**
 * The values of each dimension: a closed set, because AWS bills every combination as a metric. A token is named by
 * the beginning of its hash, so that it keeps its name wherever it stands in the setting.
 */
export const DIMENSIONS = {
  event: [...EVENT_NAMES, 'unknown'],
  reason: ['token', 'size', 'body', 'app', 'database'],
  token: /^[\da-f]{8}$/,
} as const;

export const NAMESPACE = 'vvchat-robot';

type Metric = keyof typeof UNITS;
type DimensionName = keyof typeof DIMENSIONS;

type CountedBy<Name extends DimensionName> = {
  [M in keyof typeof COUNTED_BY]: (typeof COUNTED_BY)[M] extends Name ? M : never;
}[keyof typeof COUNTED_BY];

type ValueOf<Name extends DimensionName> = (typeof DIMENSIONS)[Name] extends readonly (infer V)[]
  ? V
  : string;

type Values<M extends Metric> = Readonly<Partial<Record<M, number>>>;

/**
 * Has CloudWatch count values of metrics that share a dimension, or have none, for the service that `METRICS_SERVICE`
 * names; without that variable nothing is counted. The line, in the embedded metric format, goes to standard output
 * directly: Lambda's JSON log format wraps a line of `console`, and the metric would be lost.
 */
export function record(
  values: Values<Exclude<Metric, keyof typeof COUNTED_BY>> & { readonly Events?: 0 },
): void;
export function record<Name extends DimensionName>(
  values: Values<CountedBy<Name>>,
  dimension: { readonly [N in Name]: ValueOf<Name> },
): void;
export function record(values: Values<Metric>, dimension: object = {}): void {
  const { METRICS_SERVICE: service } = process.env;
  if (!service) return;
  const names = Object.keys(values) as Metric[];
  const Metrics = names.map((Name) => ({ Name, Unit: UNITS[Name] }));
  const Dimensions = [['service', ...Object.keys(dimension)]];
  const isTotalled = names.some((name) => TOTALLED.includes(name));
  if (isTotalled && Object.keys(dimension).length > 0) Dimensions.push(['service']);
  const CloudWatchMetrics = [{ Namespace: NAMESPACE, Dimensions, Metrics }];
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics };
  process.stdout.write(`${JSON.stringify({ _aws, service, ...dimension, ...values })}\n`);
}
