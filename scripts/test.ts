/**
 * Runs the test suites one after the other and ends with one line, `N passed, N failed`. Suites:
 * unit (in this process tree), integration (real ZooKeeper, real processes), containers
 * (Testcontainers), torture (one fault a run, on real processes), model (the protocol model, by spin). Arguments name
 * those to run; without, all. With CI=true a skipped test has failed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { toolMissing } from './model-tools.js';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const suites: Readonly<Record<string, () => Promise<Tally>>> = {
  unit: () => runAva([]),
  integration: () => runAva(['--config', 'test/integration.ava.config.mjs']),
  containers: () => runAva(['--config', 'test/containers.ava.config.mjs']),
  torture: () => runAva(['--config', 'test/torture.ava.config.mjs']),
  model: runModel,
};

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
const total: Tally = { passed: 0, failed: 0, skipped: 0 };
for (const name of chosen) {
  const run = suites[name];
  if (run === undefined) {
    console.error(`No suite '${name}'; there are: ${Object.keys(suites).join(', ')}`);
    process.exit(2);
  }
  const startedAtMs = performance.now();
  console.log(`--- ${name}`);
  const tally = await run();
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  const { passed, failed, skipped } = tally;
  console.log(
    `--- ${name}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s`,
  );
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
if (process.env['CI'] === 'true') total.failed += total.skipped;
const skippedText = total.skipped === 0 ? '' : `, ${total.skipped} skipped`;
console.log(`${total.passed} passed, ${total.failed} failed${skippedText}`);
process.exit(total.failed === 0 ? 0 : 1);

/** One run of ava. What it says of failures, and why tests were skipped, is passed on. */
async function runAva(options: readonly string[]): Promise<Tally> {
  const child = spawn('npx', ['ava', '--tap', ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  let telling = false;
  for await (const line of createInterface({ input: child.stdout })) {
    const result = /^(not )?ok \d+ - (.*)$/.exec(line);
    if (result !== null) {
      telling = result[1] !== undefined;
      if (/# SKIP/i.test(line)) tally.skipped += 1;
      else if (telling) tally.failed += 1;
      else tally.passed += 1;
      if (telling || /# SKIP/i.test(line)) console.log(line);
    } else if (telling || line.startsWith('#')) {
      console.log(line);
    }
  }
  const code = await exitOf(child);
  // A run that ended badly without naming a failed test is a failure all the same.
  if (code !== 0 && tally.failed === 0) tally.failed += 1;
  return tally;
}

/** Each search of the model is a test. Without spin all of them are skipped. */
async function runModel(): Promise<Tally> {
  const script = fileURLToPath(new URL('./model.js', import.meta.url));
  const child = spawn(process.execPath, [script, '--quick'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('ok ')) tally.passed += 1;
    else if (line.startsWith('NOT OK ')) tally.failed += 1;
    if (!line.startsWith('ok ') && !line.startsWith(' ')) console.log(line);
  }
  const code = await exitOf(child);
  if (code === toolMissing) tally.skipped += 1;
  else if (code !== 0 && tally.failed === 0) tally.failed += 1;
  return tally;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    else child.once('exit', resolve);
  });
}
