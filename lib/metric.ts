import { EVENT_NAMES } from './vvchat/event.ts';

/** Every metric, with its unit. */
export const UNITS = {
  /** Accepted events. */
  Events: 'Count',
  /** Requests that were not accepted. */
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
export const COUNTED_BY = { Events: 'event', Rejected: 'reason' } as const;

/** The values of each dimension: a closed set, because AWS bills every combination as a metric. */
export const DIMENSIONS = {
  event: [...EVENT_NAMES, 'unknown'],
  reason: ['token', 'size', 'body', 'app', 'database'],
} as const;

export const NAMESPACE = 'vvchat-robot';

type Metric = keyof typeof UNITS;
type DimensionName = keyof typeof DIMENSIONS;

type CountedBy<Name extends DimensionName> = {
  [M in keyof typeof COUNTED_BY]: (typeof COUNTED_BY)[M] extends Name ? M : never;
}[keyof typeof COUNTED_BY];

type Values<M extends Metric> = Readonly<Partial<Record<M, number>>>;

/**
 * Has CloudWatch count values of metrics that share a dimension, or have none, for the service that `METRICS_SERVICE`
 * names; without that variable nothing is counted. The line, in the embedded metric format, goes to standard output
 * directly: Lambda's JSON log format wraps a line of `console`, and the metric would be lost.
 */
export function record(values: Values<Exclude<Metric, keyof typeof COUNTED_BY>>): void;
export function record<Name extends DimensionName>(
  values: Values<CountedBy<Name>>,
  dimension: { readonly [N in Name]: (typeof DIMENSIONS)[N][number] },
): void;
export function record(values: Values<Metric>, dimension: object = {}): void {
  const { METRICS_SERVICE: service } = process.env;
  if (!service) return;
  const Metrics = (Object.keys(values) as Metric[]).map((Name) => ({
    Name,
    Unit: UNITS[Name],
  }));
  const Dimensions = [['service', ...Object.keys(dimension)]];
  const CloudWatchMetrics = [{ Namespace: NAMESPACE, Dimensions, Metrics }];
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics };
  process.stdout.write(`${JSON.stringify({ _aws, service, ...dimension, ...values })}\n`);
}
