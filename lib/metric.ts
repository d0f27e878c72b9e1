/**
 * Counts something in CloudWatch. The embedded metric format has to reach standard output as it is:
 * under Lambda's JSON log format a line of `console` would be wrapped, and the metric lost.
 */
export function count(name: string, now: () => number = Date.now): void {
  process.stdout.write(
    `${JSON.stringify({
      _aws: {
        Timestamp: now(),
        CloudWatchMetrics: [
          { Namespace: 'vvchat-robot', Dimensions: [[]], Metrics: [{ Name: name, Unit: 'Count' }] },
        ],
      },
      [name]: 1,
    })}\n`,
  );
}
