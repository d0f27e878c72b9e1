import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{functions,lib,local,ops,plugins,robot,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/*.slow.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    restoreMocks: true,
    unstubEnvs: true,
    coverage: {
      include: ['functions/**/*.ts', 'lib/**/*.ts'],
      // It runs in the bundles alone, which the slow tests run.
      exclude: ['lib/aws/replacements/stubs.ts'],
      reporter: ['text', 'html'],
      thresholds: { lines: 100, branches: 95 },
    },
  },
});
