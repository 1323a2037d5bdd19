/** What a real server does on a disk that is full, fails, lies or is slow: FAULTS D4 to D7. */
import { once } from 'node:events';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { connect, type KvClient } from '../../src/index.js';
import { logRetainBytesMin, unacknowledgedBytesMax } from '../../src/limits.js';
import { parseAddress } from '../../src/protocol/address.js';
import { agree, loadUntil } from '../failover/membership.js';
import { checkEveryMember, judge, startChain } from '../failover/scenarios.js';
import { checkStateHashes } from '../support/agreement.js';
import {
  deployFaulty,
  type FaultyDeployment,
  type FaultyOptions,
} from '../support/faulty-deployment.js';
import type { DiskFault } from '../support/faulty-disk.js';
import { serialTestUnless } from '../support/requirement.js';
import { playOn } from '../support/scenario.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const MiB = 1024 * 1024;
const test = serialTestUnless(await missingZooKeeper());
/** Small segments, snapshots after each MiB: so that all of the disk is used within seconds. */
const serverOptions = ['--log-retain', String(logRetainBytesMin), '--revive-grace', '500'];
const load = { clients: 4, keys: 100, pauseMs: 2, valueBytes: 4_000 };

function scenario(
  name: string,
  play: (t: ExecutionContext, deployment: FaultyDeployment) => Promise<void>,
  options: FaultyOptions = {},
): void {
  test(
    name,
    playOn(() => deployFaulty({ serverOptions, ...options }), play),
  );
}

scenario(
  'D4: the head has no room: it leaves, the others go on, it comes back when there is room',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const [head] = deployment.chain.newest.members;
    const history = deployment.workload({ ...load, durationMs: 7_000 });
    await deployment.setRoom(1, MiB / 2);
    const without = await deployment.chain.untilMembers(2);
    t.false(without.members.includes(deployment.address(1)));
    await line(deployment, 1, /waits for room/);
    t.true(deployment.injected(1).some(({ fault }) => fault === 'ENOSPC'));
    t.is(head, deployment.address(1), 'it was the head');
    const change = deployment.chain.lines.findLast((each) =>
      each.includes(`in epoch ${without.epoch}`),
    );
    t.regex(change ?? '', /leaves/, 'in good order, not found dead');
    t.is((await deployment.client(['put', 'while', 'full'])).code, 0);

    await deployment.setRoom(1, 1_000 * MiB);
    const { members } = await deployment.chain.untilMembers(3);
    t.is(members.at(-1), head);
    t.is(deployment.process(1).child.exitCode, null, 'the same process all the time');
    const seen = await history;
    judge(t, seen);
    await agree(t, deployment, seen);
  },
);

const fileLimitBytes = 4 * MiB;
scenario(
  'D4: a file size limit (ulimit -f): as a full disk, and back when it is lifted',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const client = await connect({ servers: deployment.chain.newest.members.slice(0, 1) });
    t.teardown(() => client.close());
    await client.put('small', 'value');
    // A record larger than a segment has a segment of its own, larger than the limit.
    await client.put('large', Buffer.alloc(fileLimitBytes + 1, 'x'));
    const { members } = await deployment.chain.untilMembers(2);
    t.deepEqual(
      members,
      [1, 3].map((number) => deployment.address(number)),
    );
    t.regex(await line(deployment, 2, /no room on/), /no room on/);
    t.true(
      deployment.process(2).lines.some((each) => each.includes('EFBIG')),
      'it met the limit',
    );

    const { pid, exitCode } = deployment.process(2).child;
    t.is(exitCode, null, 'it lives');
    execFileSync('prlimit', ['--pid', String(pid), '--fsize=unlimited:unlimited']);
    await deployment.chain.untilMembers(3);
    t.is((await client.get('large'))?.value.length, fileLimitBytes + 1);
    await checkStateHashes(t, deployment);
  },
  // The shell counts in KiB.
  { limitsOf: (number) => (number === 2 ? `-S -f ${fileLimitBytes / 1024}` : undefined) },
);

const fatal: Readonly<Record<string, DiskFault>> = {
  'D5: the log fails to sync once': { operation: 'sync', path: '/log/', error: 'EIO', times: 1 },
  'D5: a snapshot fails to sync once': {
    operation: 'sync',
    path: '/snapshots/',
    error: 'EIO',
    times: 1,
  },
  'D7: a write to the log fails with EIO once': {
    operation: 'write',
    path: '/log/',
    error: 'EIO',
    times: 1,
  },
};

scenario(
  'D5 D7: a sync or a write that fails once ends the server at once, with the reason as its last line',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const done = new AbortController();
    const history = loadUntil(deployment, done.signal, load);
    let number = 0;
    for (const [name, fault] of Object.entries(fatal)) {
      number += 1;
      await deployment.setFaults(number, [fault]);
      const { code, lastLine } = await deployment.process(number).ended;
      const injected = deployment.injected(number);
      t.is(injected.length, 1, `${name}: ${JSON.stringify(injected)}`);
      t.is(code, 1, name);
      t.regex(lastLine, /^kv-server: STORAGE: .*EIO/, name);
      await deployment.chain.untilMembers(2);
      await deployment.start(number);
      await deployment.chain.untilMembers(3);
    }
    done.abort();
    const seen = await history;
    judge(t, seen);
    await agree(t, deployment, seen);
  },
);

scenario('D7: short writes are completed', async (t, deployment) => {
  await startChain(deployment, 3);
  await deployment.setFaults(2, [{ operation: 'write', bytes: 1_000 }]);
  const history = deployment.workload({ ...load, durationMs: 3_000 });
  const seen = await history;
  t.true(deployment.injected(2).length > 100);
  judge(t, seen);
  // What it wrote in pieces is what it reads at its next start, alone.
  await Promise.all([1, 2, 3].map((number) => deployment.kill(number)));
  await deployment.start(2);
  await deployment.chain.until(
    'server 2 alone',
    ({ members, epoch }) => members.length === 1 && epoch > 3,
  );
  await checkEveryMember(t, deployment, seen);
});

scenario(
  'D6: syncs of 100 ms, then of 2 s, on one member: slower, bounded, nothing lost',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const done = new AbortController();
    // Many, since all wait for the same syncs.
    const history = loadUntil(deployment, done.signal, { ...load, clients: 64 });
    for (const [delayMs, count] of [
      [100, 20],
      [2_000, 3],
    ] as const) {
      await deployment.setFaults(2, [{ operation: 'sync', delayMs }]);
      const before = deployment.injected(2).length;
      while (deployment.injected(2).length < before + count) await sleep(20);
    }
    await deployment.setFaults(2, []);
    await deployment.chain.untilMembers(3);
    done.abort();
    const seen = await history;
    judge(t, seen);
    await agree(t, deployment, seen);
  },
);

const flood = { values: 1_400, bytes: 64 * 1024 };
/** What the head takes before it stops reading, and a turn of its loop more. */
const waitingBytesMax = unacknowledgedBytesMax + 16 * MiB;
/** As entries, in the output to the successor, in the log's queue, and what the collector has not seen yet. */
const grownMiBMax = 400;

scenario(
  'D6: a flood against a member whose syncs take 50 ms: backpressure, memory stays bounded',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const before = [1, 2, 3].map((number) => peakMiB(deployment, number));
    await deployment.setFaults(2, [{ operation: 'sync', delayMs: 50 }]);
    const client = await connect({ servers: [deployment.address(1)], timeoutMs: 100_000 });
    t.teardown(() => client.close());
    const value = Buffer.alloc(flood.bytes, 'x');
    const puts = Array.from({ length: flood.values }, (_, n) => client.put(`key-${n % 50}`, value));
    const settled = Promise.allSettled(puts);
    const waitingBytes = await mostWaitingBytes(client, deployment.address(2), settled);
    t.log(`at most ${Math.round(waitingBytes / MiB)} MiB waited to be acknowledged`);
    t.true(waitingBytes > unacknowledgedBytesMax / 2, 'the flood was no flood');
    t.true(waitingBytes < waitingBytesMax);

    const done = (await settled).filter((put) => put.status === 'fulfilled');
    t.true(done.length > flood.values / 2, `only ${done.length} were answered`);
    const outcomes = await Promise.all(done.map((put) => client.verify(put.value.opId)));
    t.deepEqual([...new Set(outcomes)], ['executed']);
    t.true(deployment.injected(2).length > 0);
    const grown = [1, 2, 3].map((number, index) => {
      return peakMiB(deployment, number) - (before[index] as number);
    });
    t.log(`peak memory grew by ${grown.join(', ')} MiB`);
    t.true(Math.max(...grown) < grownMiBMax);
    // It is tolerated, or was removed and came back.
    await deployment.chain.untilMembers(3);
    await checkStateHashes(t, deployment);
  },
  { serverOptions: ['--log-retain', '64M'] },
);

/** The most that a member had and did not know to be committed, until the writes are settled. */
async function mostWaitingBytes(
  client: KvClient,
  address: string,
  settled: Promise<unknown>,
): Promise<number> {
  const over = new AbortController();
  void settled.then(() => over.abort());
  let most = 0;
  while (!over.signal.aborted) {
    const { lastSeq, commitSeq } = await client.status(address);
    most = Math.max(most, (lastSeq - commitSeq) * flood.bytes);
    await sleep(50);
  }
  return most;
}

const openFilesMax = 96;
scenario(
  'D7: out of descriptors (ulimit -n): new clients are refused, the chain goes on',
  async (t, deployment) => {
    await startChain(deployment, 3);
    const { members, epoch } = deployment.chain.newest;
    const { host, port } = parseAddress(deployment.address(2));
    const sockets: Socket[] = [];
    t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    for (let count = 0; count < 2 * openFilesMax; count++) {
      const socket = connectSocket({ host, port });
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    await Promise.all(
      sockets.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])),
    );
    // The log gets new segments and snapshots meanwhile.
    const servers = members.filter((member) => member !== deployment.address(2));
    const client = await connect({ servers });
    t.teardown(() => client.close());
    const value = Buffer.alloc(64 * 1024, 'x');
    for (let count = 0; count < 128; count++) await client.put(`key-${count % 10}`, value);
    const closed = sockets.filter(({ closed }) => closed).length;
    t.true(closed >= openFilesMax, `only ${closed} of ${sockets.length} were refused`);
    t.deepEqual(deployment.chain.newest, { members, epoch }, 'no member was lost over it');
    for (const socket of sockets) socket.destroy();
    const again = await connect({ servers: [deployment.address(2)] });
    t.is((await again.get('key-1'))?.value.length, value.length);
    await again.close();
    await checkStateHashes(t, deployment);
  },
  { limitsOf: (number) => (number === 2 ? `-n ${openFilesMax}` : undefined) },
);

/** The first line of its latest process that matches, now or later. */
async function line(
  deployment: FaultyDeployment,
  number: number,
  pattern: RegExp,
): Promise<string> {
  const { lines, child } = deployment.process(number);
  for (;;) {
    const found = lines.find((each) => pattern.test(each));
    if (found !== undefined) return found;
    if (child.stdout === null) throw new Error('its output must be piped');
    await once(child.stdout, 'data');
  }
}

function peakMiB(deployment: FaultyDeployment, number: number): number {
  const status = readFileSync(`/proc/${deployment.process(number).child.pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) / 1024);
}
