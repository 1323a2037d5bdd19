/**
 * FAULTS I1: a million mutated inputs, for everything that reads bytes which others wrote. What is promised of
 * each stands in its file under targets/. It begins with the corpus that longer, coverage-guided runs made (`make fuzz`).
 */
import test from 'ava';
import { defaultSeed, runCampaign, type Tally } from './campaign.js';
import { keptInputs } from './corpus.js';
import { allTargets } from './targets/all.js';

const seed = Number(process.env['CATENA_SEED'] ?? defaultSeed);
const inputsMin = 1_000_000;
const tallies: Tally[] = [];

for (const target of await allTargets()) {
  test.serial(`I1: ${target.name}: a typed error or the truth, whatever the bytes`, async (t) => {
    t.timeout(300_000);
    const tally = await runCampaign(target, {
      seed,
      kept: await keptInputs(target.name),
      isOver: (inputs) => inputs >= target.inputs,
    });
    tallies.push(tally);
    const { inputs, accepted, refused, cpuMs } = tally;
    const inputsPerSecond = Math.round((inputs / cpuMs) * 1000);
    t.log(
      `${inputs} inputs, ${accepted} accepted, ${refused} refused, ${inputsPerSecond} a second of CPU time`,
    );
    t.true(accepted > inputs / 1_000, `only ${accepted} of ${inputs} were accepted`);
    t.true(refused > inputs / 1_000, `only ${refused} of ${inputs} were refused`);
  });
}

test.serial('I1: these were a million inputs', (t) => {
  const inputs = tallies.reduce((sum, tally) => sum + tally.inputs, 0);
  const cpuMs = tallies.reduce((sum, tally) => sum + tally.cpuMs, 0);
  t.log(`${inputs} inputs with CATENA_SEED=${seed} in ${Math.round(cpuMs / 1000)} s of CPU time`);
  t.true(inputs >= inputsMin, `${inputs} inputs`);
});
