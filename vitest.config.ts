import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{bundle,functions,lib,local,ops,test}/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    restoreMocks: true,
    unstubEnvs: true,
    coverage: {
      include: ['bundle/**/*.ts', 'functions/**/*.ts', 'lib/**/*.ts'],
      // It runs in the bundles alone, which test/bundle.test.ts and others have run.
      exclude: ['bundle/aws-sdk.ts'],
      reporter: ['text', 'html'],
      thresholds: { lines: 100, branches: 95 },
    },
  },
});
