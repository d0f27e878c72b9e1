import { EVENT_NAMES } from './vvchat/event.ts';

/** What is counted, and in what unit. */
export const UNITS = {
  /** Accepted, by `event`. */
  Events: 'Count',
  /** Not accepted, by `reason`. */
  Rejected: 'Count',
  Duplicates: 'Count',
  /** Inbox rows that are settled. */
  Replies: 'Count',
  Failures: 'Count',
  /** Commands that may have been carried out twice, or not at all. */
  UnknownOutcomes: 'Count',
  /** From the acceptance of an event to the end of its reply. */
  ReplyMilliseconds: 'Milliseconds',
  /** How long ago the oldest of the rows that are due came, or was put back; 0 when none is due. */
  OldestDueSeconds: 'Seconds',
} as const;

type Values = Readonly<Partial<Record<keyof typeof UNITS, number>>>;

/** What a value is told apart by, each from a closed set: every combination is a metric that is paid for. */
export const DIMENSIONS = {
  event: [...EVENT_NAMES, 'unknown'],
  reason: ['token', 'size', 'body', 'app', 'database'],
} as const;

type Dimension = {
  readonly [Name in keyof typeof DIMENSIONS]?: (typeof DIMENSIONS)[Name][number];
};

/**
 * Has CloudWatch count, by the embedded metric format, for the service that `METRICS_SERVICE` names; without it
 * nothing is counted. The line has to reach standard output as it is: under Lambda's JSON log format a line of
 * `console` would be wrapped, and the metric lost.
 */
export function record(values: Values, dimension: Dimension = {}): void {
  const { METRICS_SERVICE: service } = process.env;
  if (!service) return;
  const Metrics = (Object.keys(values) as (keyof typeof UNITS)[]).map((Name) => ({
    Name,
    Unit: UNITS[Name],
  }));
  const Dimensions = [['service', ...Object.keys(dimension)]];
  const CloudWatchMetrics = [{ Namespace: 'vvchat-robot', Dimensions, Metrics }];
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics };
  process.stdout.write(`${JSON.stringify({ _aws, service, ...dimension, ...values })}\n`);
}
