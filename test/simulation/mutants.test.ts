/** The simulator notices when a rule is switched off: each mutant is found within the seeds that it states. */
import test from 'ava';
import { buildMutant, mutants } from './mutants.js';
import { simulate } from './run.js';

for (const mutant of mutants) {
  const { name, rule, seedsMax } = mutant;
  test.serial(`switched off, ${rule}: found within ${seedsMax} seeds`, async (t) => {
    t.timeout(600_000);
    const script = await buildMutant(mutant);
    const { code, text } = await simulate(
      ['--seeds', String(seedsMax), '--stop-at-failure'],
      script,
    );
    t.is(code, 1, `${name} was not noticed:\n${text}`);
    // An error of the simulator itself would be no finding.
    const found = /FAILED seed (\d+) .*?: ((?:an invariant is broken|the clients saw) .*)/.exec(
      text,
    );
    t.truthy(found, text);
    t.log(`${name}: seed ${found?.[1]}: ${found?.[2]}`);
  });
}

test.serial(
  'what fails is shrunk to fewer faults, and the command that is printed repeats it',
  async (t) => {
    t.timeout(600_000);
    const [mutant] = mutants.filter(({ name }) => name === 'lease-check');
    const script = await buildMutant(mutant as (typeof mutants)[number]);
    const { text: found } = await simulate(['--seeds', '300', '--stop-at-failure'], script);
    const [, first = ''] = /FAILED seed (\d+)/.exec(found) ?? [];
    const { text } = await simulate(['--seed', first, '--shrink'], script);
    const shrunk = /from (\d+) faults to (\d+):/.exec(text);
    t.truthy(shrunk, text);
    t.true(Number(shrunk?.[2]) <= Number(shrunk?.[1]), text);
    const again = /SEED=(\d+) TICKS=(\d+) STRIKES=(\S*) TRACE=1/.exec(text);
    t.truthy(again, text);
    const [, seed = '', ticks = '', strikes = ''] = again ?? [];
    const args = ['--seed', seed, '--ticks', ticks, '--strikes', strikes, '--trace'];
    const { code, text: trace } = await simulate(args, script);
    t.is(code, 1);
    t.regex(trace, /FAILED: an invariant is broken/);
  },
);
