import { defineConfig } from 'vitest/config';

/**
 * Once more what works on DynamoDB, now on Amazon's engine; and what takes longer, or needs more than Node.
 */
export default defineConfig({
  test: {
    include: ['{functions,lib}/**/*.test.ts', '**/*.slow.test.ts'],
    globalSetup: ['test/dynamodb-local.ts', 'test/package.ts'],
    env: { PROPERTY_RUNS: '100000' },
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    unstubEnvs: true,
  },
});
