/** The tests that start real processes: `npx ava --config test/integration.ava.config.mjs`, after `tsc -p .` */
export default {
  files: ['dist/test/integration/**/*.test.js'],
  timeout: '120s',
  workerThreads: false,
  concurrency: 1,
};
