/**
 * Servers that come, go and come back, under load: rolling restarts, sizes up and down, spares, outages from which
 * only some return. Each scenario is written once, for whatever deployment it is given.
 */
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/index.js';
import { checkStateHashes } from '../support/agreement.js';
import type { Deployment } from '../support/deployment.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import type { WorkloadOptions } from '../support/workload.js';
import { checkEveryMember, judge, startChain } from './scenarios.js';

const load = { clients: 4, keys: 60, pauseMs: 2 };
const ordersOfThree = [
  [1, 2, 3],
  [1, 3, 2],
  [2, 1, 3],
  [2, 3, 1],
  [3, 1, 2],
  [3, 2, 1],
] as const;

/** O1: each server leaves in good order and comes back, in every order. Nothing is even in doubt. */
export async function rollingRestarts(t: ExecutionContext, deployment: Deployment): Promise<void> {
  await startChain(deployment, 3);
  const done = new AbortController();
  const history = loadUntil(deployment, done.signal);
  let restarts = 0;
  for (const order of ordersOfThree) {
    for (const number of order) {
      t.is(await deployment.stop(number), 0);
      t.false(deployment.chain.newest.members.includes(deployment.address(number)), 'it left');
      await deployment.start(number);
      await deployment.chain.untilMembers(3);
      restarts += 1;
    }
  }
  done.abort();
  const seen = await history;
  t.is(restarts, 18);
  judge(t, seen);
  t.deepEqual(
    seen.filter(({ outcome }) => outcome === 'failed').slice(0, 10),
    [],
    'nothing was refused',
  );
  await agree(t, deployment, seen);
}

/** O2: two removals at once, two joins at once, a failure while others join, and leaves at once. */
export async function sizes(t: ExecutionContext, deployment: Deployment): Promise<void> {
  const { chain } = deployment;
  await startChain(deployment, 3);
  const done = new AbortController();
  const history = loadUntil(deployment, done.signal);

  await Promise.all([deployment.kill(2), deployment.kill(3)]);
  await chain.untilMembers(1);
  await Promise.all([deployment.start(2), deployment.start(3)]);
  await chain.untilMembers(3);

  // 4 and 5 join while the head and with it a neighbour of the rest fails.
  await Promise.all([deployment.start(4), deployment.start(5), deployment.kill(1)]);
  await chain.until(
    '2 to 5',
    ({ members }) => members.length === 4 && !members.includes(deployment.address(1)),
  );
  await deployment.start(1);
  await chain.untilMembers(5);

  t.deepEqual(await Promise.all([deployment.stop(4), deployment.stop(2)]), [0, 0]);
  await chain.untilMembers(3);
  await moreTraffic(deployment);
  done.abort();
  const seen = await history;
  judge(t, seen);
  await agree(t, deployment, seen);
}

/** Deployed with `--replicas 3`: of five servers two are spares, and take the places of killed members. */
export async function spares(t: ExecutionContext, deployment: Deployment): Promise<void> {
  const { chain } = deployment;
  await startChain(deployment, 3);
  await deployment.start(4);
  await deployment.start(5);
  for (const number of [4, 5]) {
    await chain.untilLine([`${deployment.address(number)} is learner`]);
  }
  t.is(chain.newest.members.length, 3, 'they stay spares');
  const done = new AbortController();
  const history = loadUntil(deployment, done.signal);
  for (const killed of [1, 3]) {
    t.is(chain.newest.members.length, 3);
    const address = deployment.address(killed);
    await deployment.kill(killed);
    await chain.until('a spare in its place', ({ members }) => {
      return members.length === 3 && !members.includes(address);
    });
  }
  const expected = [2, 4, 5].map((number) => deployment.address(number));
  t.deepEqual([...chain.newest.members].sort(), expected.sort());
  await moreTraffic(deployment);
  done.abort();
  const seen = await history;
  judge(t, seen);
  await agree(t, deployment, seen);
}

/** P5: all lose power; some come back and go on alone; the others come back later and bring nothing of their own. */
export async function someReturn(
  t: ExecutionContext,
  deployment: Deployment,
  subsets: readonly (readonly number[])[],
): Promise<void> {
  const all = [1, 2, 3];
  await startChain(deployment, 3);
  let seen: HistoryOp[] = [];
  for (const [round, subset] of subsets.entries()) {
    const done = new AbortController();
    const history = loadUntil(deployment, done.signal, { label: `round${round}` });
    await answered(deployment, `before${round}`);
    await Promise.all(all.map((number) => deployment.kill(number)));
    await Promise.all(subset.map((number) => deployment.start(number)));
    const expected = subset
      .map((number) => deployment.address(number))
      .sort()
      .join();
    await deployment.chain.until(`only ${subset.join()}`, ({ members }) => {
      return [...members].sort().join() === expected;
    });
    await answered(deployment, `without${round}`);
    for (const number of all) if (!subset.includes(number)) await deployment.start(number);
    await deployment.chain.untilMembers(3);
    done.abort();
    seen = [...seen, ...(await history)];
    await agree(t, deployment, seen);
  }
  judge(t, seen);
}

/** One short load after the other: how long a scenario takes is not known before. */
export async function loadUntil(
  deployment: Deployment,
  signal: AbortSignal,
  { label = 'load', ...changed }: Partial<Omit<WorkloadOptions, 'connect'>> = {},
): Promise<HistoryOp[]> {
  const seen: HistoryOp[] = [];
  for (let part = 0; part === 0 || !signal.aborted; part++) {
    const options = { ...load, ...changed, label: `${label}.${part}`, durationMs: 1_500 };
    seen.push(...(await deployment.workload(options)));
  }
  return seen;
}

/** A write of its own, acknowledged. */
/** Mostly the chain was changing: traffic enough to judge by comes now, however slow the machine is. */
async function moreTraffic({ chain }: Deployment): Promise<void> {
  const client = await connect({ servers: chain.newest.members });
  for (let number = 0; number < 500; number++) await client.put('steady', String(number));
  await client.close();
}

async function answered(deployment: Deployment, value: string): Promise<void> {
  const { code, stderr } = await deployment.client(['put', 'marker', value]);
  if (code !== 0) throw new Error(`put ended with ${code}: ${stderr}`);
}

export async function agree(
  t: ExecutionContext,
  deployment: Deployment,
  seen: readonly HistoryOp[],
): Promise<void> {
  await checkEveryMember(t, deployment, seen);
  await checkStateHashes(t, deployment);
}
