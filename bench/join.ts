/**
 * `make bench-join`: what a joiner that is sent a large table costs the clients of the chain, and both sides'
 * memory. Two servers with the table and a load of small puts; a third joins. Prints, asserts nothing.
 *
 * Arguments: MiB of table (1024), bytes a value (4096).
 */
import { connect } from '../src/client/connect.js';
import { type ProcessDeployment, deployProcesses } from '../test/support/processes.js';
import { type LoadResult, runLoad } from './load.js';
import { processWith, residentBytes, watchPeak } from './memory.js';

const [tableText = '1024', valueText = '4096'] = process.argv.slice(2);
const MiB = 1024 * 1024;
const valueBytes = Number(valueText);
const keyCount = Math.ceil((Number(tableText) * MiB) / valueBytes);
const largeValue = Buffer.alloc(valueBytes, 'v');
const small = Buffer.alloc(128, 's');
const quietMs = 10_000;

async function main(deployment: ProcessDeployment): Promise<void> {
  for (let number = 1; number <= 2; number++) {
    await deployment.start(number);
    await deployment.chain.untilMembers(number);
  }
  const head = deployment.chain.newest.members.slice(0, 1);
  const shared = { addresses: head, cluster: 'default', connections: 4 };
  const large = { count: 0 };
  const nextLarge = () => {
    return putOf(`large-${String(large.count++).padStart(10, '0')}`, largeValue);
  };
  while (large.count < keyCount) {
    await runLoad({ ...shared, inFlight: 64, durationMs: 500, next: nextLarge });
  }
  const client = await connect({ servers: head });
  const tailStatus = () => client.status(deployment.chain.newest.members.at(-1) as string);
  let turn = 0;
  const next = () => putOf(`small-${(turn = (turn + 7_919) % 10_000)}`, small);
  const load = { ...shared, inFlight: 32, next };
  await runLoad({ ...load, durationMs: 2_000 });
  const quiet = await runLoad({ ...load, durationMs: quietMs });

  const tail = await processOf(deployment, 2);
  const tailBefore = await residentBytes(tail);
  const tailPeak = watchPeak(tail);
  const startedAtMs = performance.now();
  await deployment.start(3);
  const joiner = await processOf(deployment, 3);
  const joinerBefore = await residentBytes(joiner);
  const joinerPeak = watchPeak(joiner);
  const during: LoadResult[] = [];
  while (deployment.chain.newest.members.length < 3)
    during.push(await runLoad({ ...load, durationMs: 1_000 }));
  const seconds = (performance.now() - startedAtMs) / 1000;
  const [tailMax, joinerMax] = [await tailPeak(), await joinerPeak()];
  const after = await runLoad({ ...load, durationMs: quietMs });

  const { tableBytes, keys } = await tailStatus();
  const tailAfter = await residentBytes(tail);
  await client.close();
  console.log(`table of ${inMiB(tableBytes)}, ${keys} keys; puts of 128 bytes, 32 in flight`);
  console.log(`  joined after ${seconds.toFixed(1)} s`);
  for (const line of deployment.chain.lines) {
    if (/snapshot|caught up:/.test(line)) console.log(`    ${line.slice(11)}`);
  }
  const worst = during.toSorted((a, b) => b.p99Ms - a.p99Ms)[0] ?? quiet;
  row('before', quiet);
  row('while it joins, mean of seconds', meanOf(during));
  row('while it joins, worst second', worst);
  row('after, chain of three', after);
  console.log(`  tail: ${inMiB(tailMax - tailBefore)} more than before at most`);
  console.log(
    `  joiner: ${inMiB(joinerMax - joinerBefore - tableBytes)} beyond its table at most; ${inMiB(joinerMax)} resident ` +
      `in all, while the former tail, with the same table, has ${inMiB(tailAfter)}`,
  );
}

function putOf(key: string, value: Buffer) {
  const op = { kind: 'put', key: Buffer.from(key), value } as const;
  return { kind: 'write', op, noWait: false, announce: false } as const;
}

function processOf(deployment: ProcessDeployment, number: number): Promise<number> {
  const port = deployment.address(number).split(':')[1] as string;
  return processWith([port, deployment.zookeeper.connectString]);
}

function meanOf(results: readonly LoadResult[]): LoadResult {
  const mean = (of: (result: LoadResult) => number): number =>
    results.reduce((sum, result) => sum + of(result), 0) / Math.max(1, results.length);
  return {
    opsPerSecond: mean((result) => result.opsPerSecond),
    p50Ms: mean((result) => result.p50Ms),
    p99Ms: mean((result) => result.p99Ms),
    maxMs: Math.max(...results.map(({ maxMs }) => maxMs)),
    failures: mean((result) => result.failures),
  };
}

function row(what: string, { opsPerSecond, p50Ms, p99Ms, maxMs }: LoadResult): void {
  console.log(
    `  ${what.padEnd(34)}${String(Math.round(opsPerSecond)).padStart(8)} puts/s  p50 ${p50Ms.toFixed(2)}  ` +
      `p99 ${p99Ms.toFixed(2)}  max ${maxMs.toFixed(1)} ms`,
  );
}

function inMiB(bytes: number): string {
  return `${(bytes / MiB).toFixed(1)} MiB`;
}

const deployment = await deployProcesses();
try {
  await main(deployment);
} finally {
  await deployment.remove();
}
