/**
 * The coordinator on a real ZooKeeper: the contract, then what happens when ZooKeeper, the child process or
 * the process itself stops, hangs or dies. After all of it there is exactly one node of the server.
 */

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import anyTest from 'ava';
import type { ExecutionContext } from 'ava';
import type { Coordinator } from '../../src/coordination/coordinator.js';
import { ZooKeeperCoordinator } from '../../src/coordination/zookeeper.js';
import { silentLogger } from '../../src/logger.js';
import type { ContractCluster } from '../coordination/contract.js';
import { registration, started, testContract } from '../coordination/contract.js';
import { runZooKeeper } from '../../scripts/zookeeper.js';
import { serialTestUnless } from '../support/requirement.js';
import { expireSession, missingZooKeeper } from '../support/zookeeper.js';
import type { LocalZooKeeper } from '../support/zookeeper.js';
import { ephemeralOwners, Operator } from '../support/zookeeper-operator.js';

const missing = await missingZooKeeper();
// One ZooKeeper that some of the tests stop: one test at a time.
const test = serialTestUnless(missing);
const parentPath = fileURLToPath(new URL('../coordination/parent-process.js', import.meta.url));
const shortSessionMs = 2_000;
const pollMs = 20;
/** So long that within a test it cannot time out: what goes away was closed. */
const longSessionMs = 110_000;

let zookeeper: LocalZooKeeper | undefined;

anyTest.before(async () => {
  if (missing === undefined) zookeeper = await runZooKeeper();
});

anyTest.after.always(async () => {
  await zookeeper?.remove();
});

interface RealCluster extends ContractCluster {
  readonly service: LocalZooKeeper;
  readonly name: string;
  coordinator(sessionTimeoutMs?: number): ZooKeeperCoordinator;
}

async function realCluster(
  _t: ExecutionContext,
  name: string = randomUUID(),
): Promise<RealCluster> {
  const service = zookeeper as LocalZooKeeper;
  const { connectString } = service;
  const made: Coordinator[] = [];
  const operator = new Operator(connectString, name);
  const cluster: RealCluster = {
    service,
    name,
    coordinator(sessionTimeoutMs = shortSessionMs) {
      const coordinator = new ZooKeeperCoordinator({
        connectString,
        cluster: name,
        sessionTimeoutMs,
        logger: silentLogger,
      });
      made.push(coordinator);
      return coordinator;
    },
    async expire(coordinator) {
      const sessionId = await sessionOf(service.port, operator.serversPath);
      await expireSession(service.port, sessionId, childOf(coordinator as ZooKeeperCoordinator));
    },
    overwriteChain: (data) => operator.writeChain(data),
    deleteChain: () => operator.deleteChain(),
    addServerNode: (data) => operator.addServerNode(randomUUID(), data),
    serverNodes: () => operator.serverNodes(),
    async close() {
      await Promise.all([...made.map((coordinator) => coordinator.close()), operator.close()]);
    },
  };
  await operator.connected;
  return cluster;
}

/** The session that owns the one ephemeral below `path`. */
async function sessionOf(port: number, path: string): Promise<bigint> {
  for (const [owned, session] of await ephemeralOwners(port)) {
    if (owned.startsWith(path)) return session;
  }
  throw new Error(`no session has an ephemeral below ${path}`);
}

function isAlive(processId: number): boolean {
  const statusPath = `/proc/${processId}/stat`;
  // Dead, and not yet buried by whoever is process 1 here.
  return existsSync(statusPath) && !/\) [ZX] /.test(readFileSync(statusPath, 'utf8'));
}

/** Waits for what sends no event; the test's timeout is the bound. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(pollMs);
}

function childOf(coordinator: ZooKeeperCoordinator): number {
  const { childProcessId } = coordinator;
  if (childProcessId === undefined) throw new Error('no child process');
  return childProcessId;
}

async function startParent(
  t: ExecutionContext,
  { service, name }: RealCluster,
  sessionTimeoutMs: number,
): Promise<{ parent: ChildProcess; childId: number }> {
  const parent = spawn(
    process.execPath,
    [
      parentPath,
      service.connectString,
      name,
      String(sessionTimeoutMs),
      JSON.stringify(registration('p', 'p1')),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => parent.kill('SIGKILL'));
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  return { parent, childId: Number(line.toString()) };
}

testContract(test, realCluster);

function testReal(
  title: string,
  body: (t: ExecutionContext, cluster: RealCluster) => Promise<void>,
): void {
  test(title, async (t) => {
    const cluster = await realCluster(t);
    t.teardown(() => cluster.close());
    await body(t, cluster);
  });
}

testReal('a killed ZooKeeper comes back: suspended, connected, one node', async (t, cluster) => {
  const one = cluster.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  t.is(await one.createChain('0'), 'done');
  await cluster.service.stop();
  await sees.untilSession('suspended');
  t.is(await one.setChain('1', 0), 'unavailable');
  await t.throwsAsync(one.readChain(), { code: 'COORDINATION' });
  await cluster.service.start();
  await sees.untilSession('connected');
  t.is(await one.setChain('1', 0), 'done');
  await sees.untilChain('1');
  await until(async () => (await cluster.serverNodes()).length === 1);
  t.deepEqual(sees.servers.at(-1), [registration('a', 'a1')]);
});

testReal(
  'ZooKeeper away for longer than a session: another session, one node',
  async (t, cluster) => {
    const one = cluster.coordinator();
    const sees = started(one);
    one.announce(registration('a', 'a1'));
    await sees.untilIncarnations('a1');
    await cluster.service.stop();
    await sees.untilSession('expired');
    await cluster.service.start();
    await sees.untilSession('connected');
    await until(async () => (await cluster.serverNodes()).length === 1);
    t.is(await one.createChain('0'), 'done');
  },
);

testReal(
  'a coordinator that starts before ZooKeeper connects once it is there',
  async (t, cluster) => {
    await cluster.service.stop();
    const one = cluster.coordinator();
    const sees = started(one);
    one.announce(registration('a', 'a1'));
    await sees.untilSession('suspended');
    await cluster.service.start();
    await sees.untilIncarnations('a1');
    t.is(sees.sessions.at(-1), 'connected');
  },
);

testReal('a write to a hanging ZooKeeper is unknown and ends in time', async (t, cluster) => {
  const one = cluster.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  await one.createChain('0');
  await cluster.service.pause();
  const outcome = await one.setChain('1', 0);
  await cluster.service.resume();
  t.is(outcome, 'unknown');
  await sees.untilSession('connected');
  // Whether it came late or never is for a compare-and-set to find out, not for a guess.
  const read = await one.readChain();
  t.true(read.kind === 'found' && (await one.setChain('2', read.version)) === 'done');
  await sees.untilChain('2');
  await until(async () => (await cluster.serverNodes()).length === 1);
});

testReal('a session that expires under a live connection is replaced', async (t, cluster) => {
  const one = cluster.coordinator(longSessionMs);
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  const firstChild = childOf(one);
  for (let round = 0; round < 3; round += 1) {
    const told = sees.sessions.length;
    await cluster.expire(one);
    await sees.until(() => sees.sessions.slice(told).includes('connected'));
    t.is(sees.sessions.filter((state) => state === 'expired').length, round + 1);
    await until(async () => (await cluster.serverNodes()).length === 1);
  }
  t.false(isAlive(firstChild));
});

for (const signal of ['SIGSTOP', 'SIGKILL'] as const) {
  testReal(`a child process that gets ${signal} is replaced`, async (t, cluster) => {
    const one = cluster.coordinator();
    const watcher = cluster.coordinator();
    const [sees, watcherSees] = [started(one), started(watcher)];
    one.announce(registration('a', 'a1'));
    await watcherSees.untilIncarnations('a1');
    const firstChild = childOf(one);
    process.kill(firstChild, signal);
    const write = one.createChain('0');
    t.is(await write, 'unknown');
    await sees.untilSession('connected');
    t.not(childOf(one), firstChild);
    t.false(isAlive(firstChild));
    await until(async () => (await cluster.serverNodes()).length === 1);
    await watcherSees.untilIncarnations('a1');
  });
}

testReal(
  'a stopped process loses its session, and comes back when it goes on',
  async (t, cluster) => {
    const watcher = cluster.coordinator();
    const sees = started(watcher);
    const { parent, childId } = await startParent(t, cluster, shortSessionMs);
    await sees.untilIncarnations('p1');
    parent.kill('SIGSTOP');
    await sees.untilIncarnations();
    await until(() => !isAlive(childId));
    parent.kill('SIGCONT');
    await sees.untilIncarnations('p1');
    t.is((await cluster.serverNodes()).length, 1);
  },
);

testReal('a killed process takes its session and its child with it', async (t, cluster) => {
  const watcher = cluster.coordinator();
  const sees = started(watcher);
  const { parent, childId } = await startParent(t, cluster, longSessionMs);
  await sees.untilIncarnations('p1');
  t.true(isAlive(childId));
  parent.kill('SIGKILL');
  await sees.untilIncarnations();
  await until(() => !isAlive(childId));
  t.deepEqual(await cluster.serverNodes(), []);
});

testReal('a signal to the whole group leaves the child to its parent', async (t, cluster) => {
  const one = cluster.coordinator();
  const sees = started(one);
  one.announce(registration('a', 'a1'));
  await sees.untilIncarnations('a1');
  const child = childOf(one);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(child, signal);
  t.is(await one.createChain('0'), 'done');
  t.is(childOf(one), child);
  await one.close();
  t.false(isAlive(child));
  await until(async () => (await cluster.serverNodes()).length === 0);
});
