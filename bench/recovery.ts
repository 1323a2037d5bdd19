/**
 * `make bench-recovery`: what many puts onto few keys leave on the disk, and how long a restart takes; what
 * a member that missed a thousand writes is sent. A chain of three processes. Prints, asserts nothing.
 *
 * Arguments: puts (10,000,000), keys (100,000), value bytes (128), --log-retain of the servers (256M).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from '../src/client/connect.js';
import { type ProcessDeployment, deployProcesses } from '../test/support/processes.js';
import { runLoad } from './load.js';
import { processWith, residentBytes } from './memory.js';

const [putsText = '10000000', keysText = '100000', bytesText = '128', retain = '256M'] =
  process.argv.slice(2);
const puts = Number(putsText);
const keyCount = Number(keysText);
const value = Buffer.alloc(Number(bytesText), 'v');
const MiB = 1024 * 1024;

async function main(deployment: ProcessDeployment): Promise<void> {
  for (let number = 1; number <= 3; number++) {
    await deployment.start(number);
    await deployment.chain.untilMembers(number);
  }
  const startedAtMs = performance.now();
  await putMany(deployment, puts);
  const seconds = (performance.now() - startedAtMs) / 1000;
  console.log(
    `${puts} puts onto ${keyCount} keys of ${value.length} bytes, --log-retain ${retain}`,
  );
  console.log(`  ${Math.round(puts / seconds)} puts/s over ${Math.round(seconds)} s`);
  for (const number of [1, 2, 3]) {
    const path = join(deployment.directory, `server-${number}`);
    console.log(`  server ${number}: ${inMiB(await bytesBelow(path))} on disk`);
  }
  await deployment.kill(3);
  await deployment.chain.untilMembers(2);
  await putMany(deployment, 1_000);
  const restartedAtMs = performance.now();
  const firstLine = deployment.chain.lines.length;
  await deployment.start(3);
  await deployment.chain.untilMembers(3);
  const memberMs = performance.now() - restartedAtMs;
  const lines = deployment.chain.lines.slice(firstLine);
  const timeOf = (pattern: RegExp): number => {
    const line = lines.find((each) => pattern.test(each)) ?? '';
    return Date.parse(line.slice(0, 24)) - (performance.timeOrigin + restartedAtMs);
  };
  console.log(`  restart after kill -9, having missed 1000 puts:`);
  console.log(
    `    recovered after ${Math.round(timeOf(/ listens /))} ms, member after ${Math.round(memberMs)} ms`,
  );
  console.log(`    it says: ${lines.find((line) => line.includes('caught up:'))?.slice(25)}`);
  const port = deployment.address(3).split(':')[1] as string;
  const rss = await residentBytes(await processWith([port, deployment.zookeeper.connectString]));
  console.log(`    resident memory ${inMiB(rss)}`);
  const client = await connect({ servers: deployment.chain.newest.members });
  for (const outcome of await client.statuses()) {
    if (!('status' in outcome)) {
      console.log(`  ${outcome.address}: ${outcome.error.message}`);
      continue;
    }
    const { keys, tableBytes, disk } = outcome.status;
    console.log(
      `  ${outcome.address}: ${keys} keys, table ${inMiB(tableBytes)}, log ${inMiB(disk.logBytes)}, ` +
        `snapshot ${inMiB(disk.snapshotBytes)}`,
    );
  }
  await client.close();
}

async function putMany({ chain }: ProcessDeployment, count: number): Promise<void> {
  const issued = { count: 0 };
  const next = () => {
    const index = (issued.count++ * 7_919) % keyCount;
    const key = Buffer.from(`key-${String(index).padStart(12, '0')}`);
    const op = { kind: 'put', key, value } as const;
    return { kind: 'write', op, noWait: false, announce: false } as const;
  };
  const addresses = chain.newest.members.slice(0, 1);
  const load = { addresses, cluster: 'default', connections: 4, inFlight: 256 };
  // The load is bounded by time: it goes on in slices until enough were put.
  while (issued.count < count) {
    const durationMs = Math.min(5_000, Math.max(1, (count - issued.count) / 100));
    const { failures } = await runLoad({
      ...load,
      inFlight: Math.min(256, count - issued.count),
      durationMs,
      next,
    });
    if (failures > 0) throw new Error(`${failures} puts failed`);
  }
}

async function bytesBelow(path: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).blocks * 512;
  }
  return total;
}

function inMiB(bytes: number): string {
  return `${(bytes / MiB).toFixed(1)} MiB`;
}

const deployment = await deployProcesses(['--log-retain', retain]);
try {
  await main(deployment);
} finally {
  await deployment.remove();
}
