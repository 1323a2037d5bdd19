/**
 * A process that keeps one registration in ZooKeeper and does nothing else, for tests that stop or kill it.
 * Arguments: connect string, cluster, session timeout in ms, registration as JSON. Prints the id of its child process.
 */

import { ZooKeeperCoordinator } from '../../src/coordination/zookeeper.js';
import { silentLogger } from '../../src/logger.js';
import type { Registration } from '../../src/coordination/coordinator.js';

const [connectString = '', cluster = '', sessionTimeoutMs, registration = ''] =
  process.argv.slice(2);

const coordinator = new ZooKeeperCoordinator({
  connectString,
  cluster,
  sessionTimeoutMs: Number(sessionTimeoutMs),
  logger: silentLogger,
});
coordinator.start({ onChain() {}, onServers() {}, onSession() {} });
coordinator.announce(JSON.parse(registration) as Registration);
process.stdout.write(`${coordinator.childProcessId}\n`);
