/**
 * Whole clusters in the simulator: the same seeds in every run, every seed that ever failed, and some that no run had before,
 * derived from the commit. `CATENA_SIMULATION_SEEDS` makes the latter two more.
 */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { failedSeeds } from './failed-seeds.js';
import { simulate } from './run.js';

const timeoutMs = 600_000;
const seeds = Number(process.env['CATENA_SIMULATION_SEEDS'] ?? 60);

test.serial('the same seed gives the same trace, byte for byte', async (t) => {
  t.timeout(timeoutMs);
  const args = ['--seed', '3', '--trace'];
  const [first, second] = await Promise.all([simulate(args), simulate(args)]);
  t.is(first.code, 0, first.text.slice(-2_000));
  t.true(first.text.split('\n').length > 500);
  // Servers, clients, faults and coordination are all in it.
  for (const who of ['A1', 'c1', 'fault', '/chain']) t.regex(first.text, new RegExp(` ${who} `));
  t.is(first.text, second.text);
});

test.serial(`${seeds} seeds that every run has`, async (t) => {
  t.timeout(timeoutMs);
  const { code, text } = await simulate(['--seeds', String(seeds)]);
  t.is(code, 0, text);
  t.regex(text, new RegExp(`: ${seeds} passed, 0 failed`));
  t.log(text.trim());
});

test.serial('every seed that ever failed', async (t) => {
  t.timeout(timeoutMs);
  for (const { seed, ticks, bug } of failedSeeds) {
    const { code, text } = await simulate(['--seed', String(seed), '--ticks', String(ticks)]);
    t.is(code, 0, `${bug}\n${text}`);
  }
  t.pass();
});

test.serial(`${seeds} seeds that come with the commit`, async (t) => {
  t.timeout(timeoutMs);
  const first = Number.parseInt(commit().slice(0, 7), 16) + 1_000_000;
  const { code, text } = await simulate(['--seed', String(first), '--seeds', String(seeds)]);
  t.is(code, 0, text);
  t.regex(text, new RegExp(`: ${seeds} passed, 0 failed`));
  t.log(text.trim());
});

/** Of a tree without git, its day. */
function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' });
  } catch {
    return new Date().toISOString().slice(0, 10).replaceAll('-', '');
  }
}
