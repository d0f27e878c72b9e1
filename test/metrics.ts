import { vi } from 'vitest';

/** What is counted meanwhile, without the envelope: `[{ Events: 1, event: 'at' }]`. */
export async function countedDuring(work: () => Promise<unknown>): Promise<unknown[]> {
  vi.stubEnv('METRICS_SERVICE', 'a service');
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await work();
    return write.mock.calls
      .map(([line]) => `${line}`)
      .filter((line) => line.startsWith('{"_aws"'))
      .map((line) => {
        const { _aws, service, ...values } = JSON.parse(line);
        return values;
      });
  } finally {
    write.mockRestore();
    vi.stubEnv('METRICS_SERVICE', undefined);
  }
}
