/**
 * FAULTS Z3, Z4, Z5, O4: sessions that expire, answers that are lost, and two processes with one identity. Each server is
 * a member once, each configuration is written once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { serverScript } from '../support/processes.js';
import {
  deployTroubled,
  eventually,
  expireServers,
  patientLease,
  type Troubled,
  withTroubled,
} from '../support/troubled.js';
import { freePort, type LocalZooKeeper, runZooKeeper } from '../support/zookeeper.js';
import { ZooKeeperProxy } from '../support/zookeeper-proxy.js';
import { checkEveryMember, judge, startChain } from './scenarios.js';

const load = { clients: 4, keys: 50, pauseMs: 5 };

/** Z3, Z4. Server 4 is a spare: no expiry may make it a member, let alone a head. */
export async function sessionsExpire(t: ExecutionContext): Promise<void> {
  await withTroubled(
    t,
    async (deployment, zookeeper) => {
      await startChain(deployment, 3);
      await deployment.start(4);
      const before = deployment.chain.newest;
      const history = deployment.workload({ ...load, durationMs: 9_000 });
      history.catch(() => {});
      const expired = await expireServers(deployment, zookeeper.port, [1, 2, 3, 4]);
      t.is(new Set(expired).size, 4, 'all sessions ended');
      await untilRegistered(deployment, zookeeper, expired);
      const [again = ''] = await expireServers(deployment, zookeeper.port, [2]);
      await untilRegistered(deployment, zookeeper, [...expired, again]);
      const seen = await history;
      t.deepEqual(
        seen.filter(({ outcome }) => outcome !== 'ok'),
        [],
        'every op is answered',
      );
      t.deepEqual(deployment.chain.newest, before, 'an intact chain stays as it is');
      const spare = deployment.address(4);
      t.false(
        deployment.chain.lines.some(
          (line) => /is (head|single|middle|tail) in/.test(line) && line.includes(`${spare} is`),
        ),
        'the spare was never more than that',
      );
      judge(t, seen);
      await checkEveryMember(t, deployment, seen);
    },
    { serverOptions: [...patientLease, '--replicas', '3'] },
  );
}

/** Each server has one node, and none of these. */
async function untilRegistered(
  deployment: Troubled,
  zookeeper: LocalZooKeeper,
  gone: readonly string[],
): Promise<void> {
  await eventually(async () => {
    const sessions = await Promise.all(
      [1, 2, 3, 4].map((number) => deployment.sessionOf(number, zookeeper.port)),
    );
    return sessions.every(({ path }) => !gone.includes(path));
  });
}

/** Z5, on the way of whichever server asks. */
export async function answersLost(t: ExecutionContext): Promise<void> {
  const zookeeper = await runZooKeeper();
  const proxy = await ZooKeeperProxy.start(zookeeper.port);
  const connectStringOf = (): string => proxy.connectString;
  const deployment = await deployTroubled({ service: zookeeper, connectStringOf });
  const { operator, chain } = deployment;
  try {
    await operator.connected;
    // With its parents there, the first create is the one that counts.
    await operator.makeParents();
    const node = { path: `${operator.serversPath}/` };
    const configuration = { path: operator.chainPath };

    const first = [
      proxy.cutAt({ op: 'create', kind: 'unanswered', ...node }),
      proxy.cutAt({ op: 'create', kind: 'unanswered', ...configuration }),
    ];
    await deployment.start(1);
    await chain.untilMembers(1);
    t.deepEqual(await Promise.all(first), [0, 0], 'both creates were done, and not answered');
    await untilOneNodeEach(deployment, 1);
    t.is((await operator.readChain())?.version, 0, 'one configuration');

    const admission = proxy.cutAt({ op: 'set', kind: 'unanswered', ...configuration });
    const announced = proxy.cutAt({ op: 'set', kind: 'unanswered', ...node });
    await deployment.start(2);
    await chain.untilMembers(2);
    t.deepEqual(await Promise.all([admission, announced]), [0, 0], 'both sets were done');

    const lost = [
      proxy.cutAt({ op: 'create', kind: 'lost', ...node }),
      proxy.cutAt({ op: 'set', kind: 'lost', ...configuration }),
    ];
    await deployment.start(3);
    await chain.untilMembers(3);
    t.deepEqual(await Promise.all(lost), [undefined, undefined], 'neither arrived');
    await untilOneNodeEach(deployment, 3);

    const history = deployment.workload({ ...load, durationMs: 9_000 });
    history.catch(() => {});
    // Without a goodbye: the node of the dead process is for the next one to delete.
    process.kill(deployment.sessionProcessId(3), 'SIGSTOP');
    const removal = proxy.cutAt({ op: 'set', kind: 'unanswered', ...configuration });
    const deletion = proxy.cutAt({ op: 'delete', kind: 'unanswered', ...node });
    const orphan = deployment.sessionProcessId(3);
    await deployment.kill(3);
    process.kill(orphan, 'SIGKILL');
    await chain.until('server 3 removed', ({ members }) => members.length === 2);
    t.is(await removal, 0, 'the removal was done');
    await deployment.start(3);
    await chain.untilMembers(3);
    t.is(await deletion, 0, 'the deletion was done');
    await untilOneNodeEach(deployment, 3);

    const read = await operator.readChain();
    t.is(
      (read?.version ?? 0) + 1,
      chain.newest.epoch,
      'as many configurations as there were writes of it',
    );
    const seen = await history;
    judge(t, seen);
    await checkEveryMember(t, deployment, seen);
  } catch (error) {
    t.log(chain.lines.slice(-40).join('\n'));
    throw error;
  } finally {
    await deployment.remove();
    await proxy.close();
  }
}

/** Waits until this many servers are registered, and checks that none is twice. */
async function untilOneNodeEach(deployment: Troubled, count: number): Promise<void> {
  await eventually(async () => {
    const nodes = await deployment.operator.registrations();
    const servers = new Set(nodes.map(({ serverId }) => serverId));
    return servers.size === count && nodes.length === count;
  });
}

/**
 * O4: a copy at another address is refused and harms nobody; one that took the name over makes the older
 * process halt.
 */
export async function copiedDirectories(t: ExecutionContext): Promise<void> {
  await withTroubled(t, async (deployment) => {
    const { chain, operator, zookeeper, directory } = deployment;
    await startChain(deployment, 3);
    const before = chain.newest;
    const client = await deployment.connectClient();
    await client.put('key', 'before');
    const startCopy = async (number: number, ...options: string[]) => {
      const data = join(directory, `copy-of-${number}`);
      await cp(join(directory, `server-${number}`), data, {
        recursive: true,
        filter: (path) => !/\/lock-/.test(path),
      });
      const port = String(await freePort());
      const args = [zookeeper.connectString, port, '--data', data, '--moved-data', ...options];
      const child = spawn(process.execPath, [serverScript, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      t.teardown(() => child.kill('SIGKILL'));
      const text: Buffer[] = [];
      for (const output of [child.stdout, child.stderr]) {
        output.on('data', (bytes: Buffer) => text.push(bytes));
      }
      return { child, text: () => Buffer.concat(text).toString() };
    };
    const elsewhere = await startCopy(1);
    const from = chain.lines.length;
    const successor = await startCopy(2, '--advertise', deployment.address(2));
    const [code] = (await once(elsewhere.child, 'exit')) as [number | null];
    t.is(code, 3, elsewhere.text());
    t.regex(elsewhere.text(), /REFUSED_TO_START: server .* already runs at .*copy of the other/);

    await chain.untilLine(['INVARIANT', 'another live process'], from);
    const { members } = await chain.until('2 members', (state) => state.members.length === 2);
    t.deepEqual(members, [before.members[0], before.members[2]], 'nobody else was removed for it');
    await client.put('key', 'after');
    t.is(successor.child.exitCode, null, successor.text());
    const nodes = await operator.registrations();
    t.is(new Set(nodes.map(({ serverId }) => serverId)).size, 3);
    t.is(nodes.length, 3, 'one node for each identity');
  });
}
