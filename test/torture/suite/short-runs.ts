/** The runs with one fault each as tests: on one deployment, kept from run to run as long as none fails. */
import anyTest, { type TestFn } from 'ava';
import { serialTestUnless } from '../../support/requirement.js';
import { missingZooKeeper } from '../../support/zookeeper.js';
import { checkTheEnd } from '../agreement.js';
import { type ShortRun, shortRun } from '../short-run.js';
import type { NamedFault } from '../short-runs.js';
import { createWorld, type World } from '../world.js';

const load = { clients: 9, keys: 40, pauseMs: 2, valueBytes: 200, timeoutMs: 2_500 };

export async function shortRunTests(title: string, runs: readonly NamedFault[]): Promise<void> {
  const test: TestFn = serialTestUnless(await missingZooKeeper());
  let world: World | undefined;

  for (const [index, { name, fault }] of runs.entries()) {
    test(name, async (t) => {
      world ??= await createWorld({ servers: 3, load });
      try {
        const run = await shortRun(world, fault, `run-${index}`);
        t.log(textOf(run));
        t.deepEqual(run.violations, []);
      } catch (error) {
        // What is left of it says nothing about the next fault.
        t.log(world.chain.lines.slice(-40).join('\n'));
        await world.remove();
        world = undefined;
        throw error;
      }
    });
  }

  test(`${title}: at the end all members hold the same, and all that was acknowledged`, async (t) => {
    if (world === undefined) throw new Error('the last run failed');
    const { history, violations } = await checkTheEnd(world, title);
    t.log(`${history.length} ops`);
    t.deepEqual(violations, []);
  });

  // A hook: also when only some of the runs were asked for.
  anyTest.after.always(async () => {
    await world?.remove();
  });
}

function textOf({ injection, during, faultMs, recoveryMs }: ShortRun): string {
  const evidence = Object.entries(injection.evidence).map(([name, count]) => {
    return `${name} ${Math.round(count)}`;
  });
  return (
    `${injection.what} (${evidence.join(', ')}), ${Math.round(faultMs)} ms with ${during.reads} reads ` +
    `and ${during.writes} writes; whole ${Math.round(recoveryMs)} ms later`
  );
}
