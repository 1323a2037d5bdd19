/** The Testcontainers tests: `npx ava --config test/containers.ava.config.mjs`, after `tsc -p .` */
export default {
  files: ['dist/test/containers/**/*.test.js'],
  timeout: '300s',
  workerThreads: false,
  concurrency: 1,
};
