/** Servers that come and go, on real kv-server processes: FAULTS O1, O2, O4, P5, and spares. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { rollingRestarts, sizes, someReturn, spares } from '../failover/membership.js';
import { startChain } from '../failover/scenarios.js';
import type { Deployment } from '../support/deployment.js';
import { deployFaulty } from '../support/faulty-deployment.js';
import {
  deployProcesses,
  type ProcessDeployment,
  runToEnd,
  serverScript,
} from '../support/processes.js';
import { serialTestUnless } from '../support/requirement.js';
import { playOn } from '../support/scenario.js';
import { freePort, missingZooKeeper } from '../support/zookeeper.js';

const test = serialTestUnless(await missingZooKeeper());

function scenario<D extends Deployment>(
  name: string,
  deploy: () => Promise<D>,
  play: (t: ExecutionContext, deployment: D) => Promise<void>,
): void {
  test(name, playOn(deploy, play));
}

scenario(
  'O1: rolling restarts under load, in every order',
  () => deployProcesses(),
  rollingRestarts,
);
scenario(
  'O2: 3 -> 1 -> 3 -> 5 -> 3 servers: removals, joins and leaves at once, joins during a failure',
  () => deployProcesses(),
  sizes,
);
scenario(
  'two spares of five servers take the places of killed members',
  () => deployProcesses(['--replicas', '3']),
  spares,
);
scenario(
  'P5: all lose power, some return and go on, the others later',
  () => deployFaulty({ serverOptions: ['--revive-grace', '1000'], writeBack: { flushMs: 1 } }),
  (t, deployment) => someReturn(t, deployment, [[3], [1, 2]]),
);

scenario(
  'O4: a second process on the data directory of a running one is refused, and harms nothing',
  () => deployProcesses(),
  async (t: ExecutionContext, deployment: ProcessDeployment) => {
    await startChain(deployment, 2);
    const before = deployment.chain.newest;
    const data = join(deployment.directory, 'server-1');
    await access(join(data, 'identity.json'));
    const port = String(await freePort());
    const { connectString } = deployment.zookeeper;
    const second = await runToEnd(serverScript, [connectString, port, '--data', data]);
    t.is(second.code, 3);
    t.regex(second.stderr, /REFUSED_TO_START: .*server-1.* is in use by process/);
    t.is((await deployment.client(['put', 'key', 'value'])).code, 0);
    t.deepEqual(deployment.chain.newest, before);
  },
);
