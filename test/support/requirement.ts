/**
 * For a file of tests that needs what may not be installed. ava cannot skip at run time, so it is decided
 * as the file is loaded: skipped with the reason, and in CI (CI=true) failed with it. Never a silent pass.
 */
import anyTest, { type TestFn } from 'ava';

/** ava's `test`, or its skip where something is `missing`. */
export function testUnless(missing: string | undefined): TestFn {
  if (missing === undefined) return anyTest;
  if (process.env['CI'] === 'true') throw new Error(missing);
  process.stderr.write(`skipped: ${missing}\n`);
  return anyTest.skip as unknown as TestFn;
}

/** ava's `test.serial`, or its skip where something is `missing`. */
export function serialTestUnless(missing: string | undefined): TestFn {
  if (missing === undefined) return anyTest.serial as TestFn;
  return testUnless(missing);
}
