/** Servers that return with too much, with damage, or not at all for a while: FAULTS P4, P6, D3. */
import { open, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { connect, type KvClient } from '../../src/index.js';
import { logRetainBytesMin } from '../../src/limits.js';
import { agree, loadUntil } from '../failover/membership.js';
import { startChain } from '../failover/scenarios.js';
import { checkStateHashes } from '../support/agreement.js';
import { deployFaulty, type FaultyDeployment } from '../support/faulty-deployment.js';
import { serialTestUnless } from '../support/requirement.js';
import { playOn } from '../support/scenario.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const test = serialTestUnless(await missingZooKeeper());
const smallLogs = ['--log-retain', String(logRetainBytesMin), '--revive-grace', '500'];

function scenario(
  name: string,
  serverOptions: readonly string[],
  play: (t: ExecutionContext, deployment: FaultyDeployment) => Promise<void>,
): void {
  test(
    name,
    playOn(() => deployFaulty({ serverOptions }), play),
  );
}

// Suspicion takes longer than the few steps while two of three stand still.
const patient = ['--lease', '3000', '--revive-grace', '500'];
const divergedCount = 20;

scenario(
  'P4: a head returns with a longer, diverged log that nobody acknowledged: it is cut',
  patient,
  async (t, deployment) => {
    const { chain } = deployment;
    await startChain(deployment, 3);
    const client = await connect({ servers: [deployment.address(1)] });
    t.teardown(() => client.close());
    await client.put('settled', 'before');
    await Promise.all([deployment.pause(2), deployment.pause(3)]);
    const opIds: string[] = [];
    for (let number = 0; number < divergedCount; number++) {
      const { opId } = await client.put(`diverged-${number}`, 'x', { wait: false });
      opIds.push(opId);
    }
    const lastSeq = Number(opIds.at(-1)?.split('-')[1]);
    while ((await client.status(deployment.address(1))).durableSeq < lastSeq) await sleep(5);
    t.is(chain.newest.members.length, 3, 'nobody was suspected meanwhile');
    await Promise.all([1, 2, 3].map((number) => deployment.kill(number)));

    const { epoch } = chain.newest;
    await Promise.all([deployment.start(2), deployment.start(3)]);
    await chain.until('2 and 3', ({ epoch: now, members }) => now > epoch && members.length === 2);
    t.is((await deployment.client(['put', 'settled', 'after'])).code, 0);
    await deployment.start(1);
    await chain.untilMembers(3);
    const lines = deployment.process(1).lines.join('\n');
    t.regex(lines, new RegExp(`log to ${lastSeq},`), 'it had them all on disk');
    t.regex(lines, new RegExp(`gave up ${divergedCount} ops that were never acknowledged`));

    const outcomes = await Promise.all(opIds.map((opId) => client.verify(opId)));
    t.deepEqual([...new Set(outcomes)], ['never']);
    t.is(await client.get('diverged-0'), undefined);
    await checkStateHashes(t, deployment);
  },
);

const tableKeys = 150;
const valueBytes = 64 * 1024;
/** About one a key. */
const chunksMin = 100;

/** Writes until the snapshot on this server's disk has so many bytes. */
async function untilSnapshot(client: KvClient, address: string, bytes: number): Promise<void> {
  for (let number = 0; ; number++) {
    await client.put(`table-${number % tableKeys}`, Buffer.alloc(valueBytes, number));
    if ((await client.status(address)).disk.snapshotBytes >= bytes) return;
  }
}

scenario(
  'P6: killed over and over while it joins, receives, and writes a snapshot: it converges',
  smallLogs,
  async (t, deployment) => {
    await startChain(deployment, 3);
    const client = await connect({ servers: [deployment.address(1)] });
    t.teardown(() => client.close());
    await untilSnapshot(client, deployment.address(3), chunksMin * valueBytes);
    const done = new AbortController();
    const history = loadUntil(deployment, done.signal);
    deployment.setFaultsAtStart(4, [{ operation: 'write', path: '/snapshots/', delayMs: 10 }]);
    for (const chunks of [1, 30, 80]) {
      const already = deployment.injected(4).length;
      const started = deployment.start(4).catch(() => undefined);
      await until(() => deployment.injected(4).length >= already + chunks);
      t.false(deployment.chain.newest.members.includes(deployment.address(4)), 'half way');
      await deployment.kill(4);
      await started;
    }
    for (let times = 0; times < 3; times++) {
      const started = deployment.start(4).catch(() => undefined);
      await until(() => deployment.process(4).lines.some((line) => line.includes(' listens ')));
      await deployment.kill(4);
      await started;
    }
    deployment.setFaultsAtStart(4, []);
    await deployment.start(4);
    await deployment.chain.untilMembers(4);
    for (const number of [2, 3]) {
      // The log grows until the next snapshot is due; each of its writes takes long enough to be met.
      await deployment.setFaults(number, [
        { operation: 'write', path: '/snapshots/', delayMs: 20 },
      ]);
      for (let key = 0; deployment.injected(number).length < 5; key++) {
        await client.put(`table-${key % tableKeys}`, Buffer.alloc(valueBytes, key));
      }
      await deployment.kill(number);
      const left = await readdir(join(deployment.dataPath(number), 'snapshots'));
      t.true(
        left.some((name) => name.endsWith('.partial')),
        `it was at work: ${left.join()}`,
      );
      await deployment.start(number);
      await deployment.chain.untilMembers(4);
    }
    done.abort();
    await agree(t, deployment, await history);
  },
);

scenario(
  'D3: a flipped bit in the log, in a snapshot: never served, back as a new server; alone it refuses',
  smallLogs,
  async (t, deployment) => {
    await startChain(deployment, 3);
    const client = await connect({ servers: [deployment.address(1)] });
    t.teardown(() => client.close());
    await untilSnapshot(client, deployment.address(2), 1);
    await untilSnapshot(client, deployment.address(3), 1);
    for (const [number, folder] of [
      [2, 'log'],
      [3, 'snapshots'],
    ] as const) {
      const before = await client.status(deployment.address(number));
      await deployment.stop(number);
      await deployment.chain.untilMembers(2);
      const flipped = await flipBit(join(deployment.dataPath(number), folder));
      await deployment.start(number);
      await deployment.chain.untilMembers(3);
      const lines = deployment.process(number).lines.join('\n');
      t.regex(lines, new RegExp(`data damaged: .*${basename(flipped)}`));
      const after = await client.status(deployment.address(number));
      t.not(after.serverId, before.serverId, 'a new name');
      const aside = await readdir(dirname(deployment.dataPath(number)));
      t.true(
        aside.some((name) => name.startsWith(`server-${number}.damaged-`)),
        aside.join(),
      );
      await checkStateHashes(t, deployment);
    }

    await Promise.all([deployment.stop(2), deployment.stop(3)]);
    await deployment.chain.untilMembers(1);
    await deployment.kill(1);
    await flipBit(join(deployment.dataPath(1), 'log'));
    await t.throwsAsync(deployment.start(1));
    const { code, lastLine } = await deployment.process(1).ended;
    t.is(code, 3);
    t.regex(lastLine, /DATA_DAMAGED: .*kv-server recover/);
  },
);

/** In the oldest file there. Answers which it was. */
async function flipBit(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) => !name.endsWith('.new')).sort();
  const path = join(directory, names[0] as string);
  const file = await open(path, 'r+');
  try {
    const bytes = Buffer.alloc(1);
    // Behind the headers, inside of the first value: each is 64 KiB.
    const position = 20_000;
    await file.read(bytes, 0, 1, position);
    bytes[0] = (bytes[0] as number) ^ 16;
    await file.write(bytes, 0, 1, position);
  } finally {
    await file.close();
  }
  return path;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(10);
}
