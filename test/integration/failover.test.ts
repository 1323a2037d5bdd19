/** The failover scenarios on real kv-server processes and a real ZooKeeper. */
import { failoverTests } from '../failover/suite.js';
import { fillKeys } from '../support/fill.js';
import { deployProcesses, type ProcessDeployment } from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { missingZooKeeper } from '../support/zookeeper.js';

failoverTests<ProcessDeployment>(serialTestUnless(await missingZooKeeper()), {
  deploy: () => deployProcesses(),
  fill: (deployment, keys) => fillKeys(deployment.address(1), keys),
  orders: [
    [1, 2, 3],
    [3, 2, 1],
    [2, 3, 1],
  ],
  leavesStopsToTorture: true,
});
