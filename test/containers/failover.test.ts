/**
 * The failover scenarios in containers: ZooKeeper, each server and the clients in one of their own, so that
 * a killed member takes its network with it and a paused one is frozen whole. One after the other, each on
 * a deployment of its own. Shorter than with processes: what is added here is the network between them.
 */
import test from 'ava';
import { failoverTests } from '../failover/suite.js';
import {
  buildImage,
  type BuiltImage,
  ContainerDeployment,
  missingDocker,
} from '../support/containers.js';
import { serialTestUnless } from '../support/requirement.js';

const missing = await missingDocker();
let image: BuiltImage | undefined;

test.before(async () => {
  if (missing === undefined) image = await buildImage();
});

test.after.always(async () => {
  await image?.remove();
});

failoverTests<ContainerDeployment>(serialTestUnless(missing), {
  deploy: () => ContainerDeployment.deploy((image as BuiltImage).name),
  fill: (deployment, keys) => deployment.fill(keys),
  orders: [
    [3, 1, 2],
    [2, 3, 1],
  ],
});
