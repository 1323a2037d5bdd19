/**
 * The failover scenarios in containers: ZooKeeper, each server and the clients in one of their own, so that
 * a killed member takes its network with it and a paused one is frozen whole. One after the other, each on
 * a deployment of its own. Shorter than with processes: what is added here is the network between them.
 */
import anyTest, { type ExecutionContext } from 'ava';
import {
  fourthServer,
  fullOutage,
  killsInTurn,
  pausedMember,
  withoutZooKeeper,
} from '../failover/scenarios.js';
import {
  buildImage,
  type BuiltImage,
  ContainerDeployment,
  missingDocker,
} from '../support/containers.js';
import { serialTestUnless } from '../support/requirement.js';

const missing = await missingDocker();
const test = serialTestUnless(missing);
let image: BuiltImage | undefined;

anyTest.before(async () => {
  if (missing === undefined) image = await buildImage();
});

anyTest.after.always(async () => {
  await image?.remove();
});

async function inContainers(
  t: ExecutionContext,
  scenario: (deployment: ContainerDeployment) => Promise<void>,
): Promise<void> {
  const deployment = await ContainerDeployment.deploy((image as BuiltImage).name);
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
  inContainers(t, (deployment) =>
    killsInTurn(t, deployment, { clients: 8, keys: 200, durationMs: 20_000, pauseMs: 1 }),
  ));

test('ZooKeeper killed and started: reads and writes go on', (t) =>
  inContainers(t, (deployment) => withoutZooKeeper(t, deployment)));

test('members frozen for three seconds: no stale read, no acknowledged write lost', (t) =>
  inContainers(t, (deployment) => pausedMember(t, deployment)));

test('all killed at once, started in any order: every acknowledged write is there', (t) =>
  inContainers(t, (deployment) =>
    fullOutage(t, deployment, [
      [3, 1, 2],
      [2, 3, 1],
    ]),
  ));

test('a fourth server joins 100,000 keys while writes go on: tables are equal', (t) =>
  inContainers(t, (deployment) => fourthServer(t, deployment, () => deployment.fill(100_000))));
