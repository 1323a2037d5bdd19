/**
 * `make bench`: puts and gets against a chain of three kv-server processes, each write synced on all
 * three, at 1, 64 and 256 requests in flight over 1 and 50 connections. Prints ops/s and latencies and
 * asserts nothing. Machine, disk and neighbours matter: compare only within one run.
 */
import { cpus } from 'node:os';
import type { RequestBody } from '../src/protocol/messages.js';
import { type ProcessDeployment, deployProcesses } from '../test/support/processes.js';
import { runLoad } from './load.js';

const keyCount = 10_000;
const valueBytes = 128;
const durationMs = Number(process.argv[2] ?? 3_000);

const keys = Array.from({ length: keyCount }, (_, index) =>
  Buffer.from(`key-${String(index).padStart(12, '0')}`),
);
const value = Buffer.alloc(valueBytes, 'v');
let turn = 0;

function nextKey(): Buffer {
  turn = (turn + 7_919) % keyCount;
  return keys[turn] as Buffer;
}

const requests: Readonly<Record<string, () => RequestBody>> = {
  put: () => ({
    kind: 'write',
    op: { kind: 'put', key: nextKey(), value },
    noWait: false,
    announce: false,
  }),
  get: () => ({ kind: 'get', key: nextKey() }),
};

async function main(deployment: ProcessDeployment): Promise<void> {
  for (let number = 1; number <= 3; number++) {
    await deployment.start(number);
    await deployment.chain.untilMembers(number);
  }
  const { members } = deployment.chain.newest;
  const [cpu] = cpus();
  console.log('Chain of three processes, sync on each; client, servers and ZooKeeper share');
  console.log(
    `${cpus().length} x ${cpu?.model ?? 'cpu'}; keys of 16, values of ${valueBytes} bytes`,
  );
  console.log('op   connections  in flight      ops/s   p50 ms   p99 ms   max ms');
  await warmUp(members[0] as string);
  for (const [kind, next] of Object.entries(requests)) {
    for (const connections of [1, 50]) {
      for (const inFlight of [1, 64, 256]) {
        // Writes go to the head; reads are spread over the members.
        const addresses = kind === 'put' ? members.slice(0, 1) : members;
        const load = { addresses, cluster: 'default', connections, inFlight, durationMs, next };
        const result = await runLoad(load);
        const { opsPerSecond, p50Ms, p99Ms, maxMs, failures } = result;
        console.log(
          `${kind}  ${cell(connections, 11)}  ${cell(inFlight, 9)}  ` +
            `${cell(Math.round(opsPerSecond), 9)}  ${cell(p50Ms.toFixed(2), 7)}  ` +
            `${cell(p99Ms.toFixed(2), 7)}  ${cell(maxMs.toFixed(1), 7)}` +
            (failures === 0 ? '' : `  ${failures} failed`),
        );
      }
    }
  }
}

/** What is measured is the compiled code and the prepared log segment, not the start. */
async function warmUp(head: string): Promise<void> {
  const load = { addresses: [head], cluster: 'default', connections: 4, inFlight: 64 };
  for (const next of Object.values(requests)) await runLoad({ ...load, durationMs: 1_000, next });
}

function cell(content: string | number, width: number): string {
  return String(content).padStart(width);
}

const deployment = await deployProcesses();
try {
  await main(deployment);
} finally {
  await deployment.remove();
}
