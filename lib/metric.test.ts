import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest';
import { NAMESPACE, record } from './metric.ts';

let write: MockInstance<typeof process.stdout.write>;

beforeEach(() => {
  write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
});
afterEach(() => write.mockRestore());

test('record writes a line of the embedded metric format', () => {
  vi.stubEnv('METRICS_SERVICE', 'vvchat-robot-dev');
  record({ Replies: 1, ReplyMilliseconds: 250 });
  record({ Events: 1 }, { event: 'at' });
  record({ Events: 0 });
  record({ Authenticated: 1 }, { token: '25bf8e1a' });
  const lines = write.mock.calls.map(([line]) => `${line}`);
  for (const line of lines) expect(line).toMatch(/^\{.*\}\n$/);
  const about = (Dimensions: string[][], Metrics: object[]) => ({
    _aws: {
      Timestamp: expect.closeTo(Date.now(), -4),
      CloudWatchMetrics: [{ Namespace: NAMESPACE, Dimensions, Metrics }],
    },
    service: 'vvchat-robot-dev',
  });
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    {
      ...about(
        [['service']],
        [
          { Name: 'Replies', Unit: 'Count' },
          { Name: 'ReplyMilliseconds', Unit: 'Milliseconds' },
        ],
      ),
      Replies: 1,
      ReplyMilliseconds: 250,
    },
    {
      ...about([['service', 'event'], ['service']], [{ Name: 'Events', Unit: 'Count' }]),
      event: 'at',
      Events: 1,
    },
    { ...about([['service']], [{ Name: 'Events', Unit: 'Count' }]), Events: 0 },
    {
      ...about([['service', 'token']], [{ Name: 'Authenticated', Unit: 'Count' }]),
      token: '25bf8e1a',
      Authenticated: 1,
    },
  ]);
});

test.each(['', undefined])('record writes nothing for the service %j', (service) => {
  vi.stubEnv('METRICS_SERVICE', service);
  record({ Replies: 1 });
  expect(write).not.toHaveBeenCalled();
});
