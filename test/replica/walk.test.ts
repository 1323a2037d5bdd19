/**
 * A random walk over simulated clusters with every fault, the checks after each step, and healing at the
 * end. `CATENA_WALK_SEEDS` and `CATENA_WALK_STEPS` make it longer, `CATENA_WALK_FROM` sets the first seed.
 */
import test from 'ava';
import { ChainWalk } from '../support/chain-walk.js';

const seeds = Number(process.env['CATENA_WALK_SEEDS'] ?? 300);
const steps = Number(process.env['CATENA_WALK_STEPS'] ?? 400);
const first = Number(process.env['CATENA_WALK_FROM'] ?? 1);

test(`${seeds} random walks of ${steps} steps from seed ${first}`, (t) => {
  t.timeout(60_000 + seeds * 1_000);
  let compared = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      const walk = new ChainWalk({ seed, steps });
      walk.run();
      compared += walk.world.checks.statesFoundEqual;
    } catch (error) {
      const again = new ChainWalk({ seed, steps, traced: true });
      t.throws(() => again.run());
      t.log(again.world.lines.slice(-60).join('\n'));
      t.fail(
        `${String(error)}\nagain: CATENA_WALK_FROM=${seed} CATENA_WALK_SEEDS=1 CATENA_WALK_STEPS=${steps}` +
          ` npx ava dist/test/replica/walk.test.js`,
      );
    }
  }
  // Besides what the checks watch, the servers watched one another's state hashes.
  t.true(compared > seeds, `${compared} comparisons`);
  t.log(`${compared} comparisons of states`);
});
