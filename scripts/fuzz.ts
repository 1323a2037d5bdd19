/**
 * Fuzzes for longer than the tests do, guided by coverage, and keeps what led somewhere new in
 * test/fuzz/corpus, from where the tests begin. Prints the input and the commands that repeat it when something
 * breaks.
 *
 *     node dist/scripts/fuzz.js [--minutes 5] [--seed N] [--target NAME]
 *     node dist/scripts/fuzz.js --target NAME --input HEX       one input again, with its stack
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runCampaign } from '../test/fuzz/campaign.js';
import { keepInputs, keptInputs } from '../test/fuzz/corpus.js';
import { Coverage } from '../test/fuzz/coverage.js';
import type { Target } from '../test/fuzz/target.js';
import { allTargets } from '../test/fuzz/targets/all.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: process.env['CATENA_SEED'] ?? String(randomInt(2 ** 31)) },
    target: { type: 'string' },
    input: { type: 'string' },
  },
});
const targets = (await allTargets()).filter(
  ({ name }) => values.target === undefined || name === values.target,
);
const [first] = targets;
if (first === undefined) {
  const names = (await allTargets()).map(({ name }) => `'${name}'`).join(', ');
  console.error(`No target '${values.target}'; there are: ${names}`);
  process.exit(2);
}
if (values.input !== undefined) await runOne(first, values.input);
else for (const target of targets) await runLong(target);

async function runOne(target: Target, hex: string): Promise<void> {
  console.log(`${target.name}: ${await target.check(Buffer.from(hex, 'hex'))}`);
}

async function runLong(target: Target): Promise<void> {
  const endAtMs = performance.now() + (Number(values.minutes) * 60_000) / targets.length;
  const coverage = new Coverage();
  const kept = await keptInputs(target.name);
  try {
    const tally = await runCampaign(target, {
      seed: Number(values.seed),
      kept,
      coverage,
      isOver: () => performance.now() >= endAtMs,
    });
    const { inputs, accepted, refused, cpuMs, found } = tally;
    await keepInputs(target.name, [...kept, ...found]);
    console.log(
      `${target.name}: ${inputs} inputs (seed ${values.seed}), ${accepted} accepted, ${refused} refused, ` +
        `${Math.round((inputs / cpuMs) * 1000)} a second; ${kept.length} kept before, ${found.length} new`,
    );
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  } finally {
    coverage.close();
  }
}
