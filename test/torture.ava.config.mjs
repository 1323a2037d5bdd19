/** Faults on real processes: `npx ava --config test/torture.ava.config.mjs`, after `tsc -p .` */
export default {
  files: ['dist/test/torture/suite/*.test.js'],
  timeout: '240s',
  workerThreads: false,
  concurrency: 2,
};
