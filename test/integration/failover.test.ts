/** The failover scenarios on real kv-server processes and a real ZooKeeper. */
import type { ExecutionContext } from 'ava';
import {
  fourthServer,
  fullOutage,
  killsInTurn,
  pausedMember,
  withoutZooKeeper,
} from '../failover/scenarios.js';
import { deployProcesses, type ProcessDeployment } from '../support/processes.js';
import { fillKeys } from '../support/fill.js';
import { serialTestUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

// One at a time: how long writes are away after a kill means something only then.
const test = serialTestUnless(await missingZooKeeper());

/** One scenario on a deployment of its own. */
async function onProcesses(
  t: ExecutionContext,
  scenario: (deployment: ProcessDeployment) => Promise<void>,
): Promise<void> {
  const deployment = (await deployProcesses({}, t.log)) as ProcessDeployment;
  try {
    await scenario(deployment);
  } catch (error) {
    t.log(deployment.chain.lines.slice(-40).join('\n'));
    throw error;
  } finally {
    await deployment.remove();
  }
}

test('head, middle and tail killed in turn under load: nothing lost, nothing stale', (t) =>
  onProcesses(t, (deployment) =>
    killsInTurn(t, deployment, { clients: 8, keys: 200, durationMs: 20_000, pauseMs: 1 }),
  ));

test('ZooKeeper stopped and started: reads and writes go on', (t) =>
  onProcesses(t, (deployment) => withoutZooKeeper(t, deployment)));

test('members stopped for three seconds: no stale read, no acknowledged write lost', (t) =>
  onProcesses(t, (deployment) => pausedMember(t, deployment)));

test('all killed at once, started in any order: every acknowledged write is there', (t) =>
  onProcesses(t, (deployment) =>
    fullOutage(t, deployment, [
      [1, 2, 3],
      [3, 2, 1],
      [2, 3, 1],
    ]),
  ));

test('a fourth server joins 100,000 keys while writes go on: tables are equal', (t) =>
  onProcesses(t, (deployment) =>
    fourthServer(t, deployment, () => fillKeys(deployment.address(1), 100_000)),
  ));
