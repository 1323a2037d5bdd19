/**
 * FAULTS I4: ten thousand clients at once, and others that come and go beside them, at one server of a chain whose
 * clients are served right all the while. What the honest ones wait is printed, not judged.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { connect, type KvClient } from '../../src/index.js';
import { freePorts, RawClient, until } from '../server/support.js';
import { ChainWatch } from '../support/deployment.js';
import { serverScript, untilServing } from '../support/processes.js';

const crowds = 4;
const connectionsPerCrowd = 2_500;
const churnPerCrowd = 2_000;
/** Of the server's memory, for a client that has opened and asks for nothing. */
const connectionBytesMax = 32 * 1024;
const crowdScript = new URL('../support/crowd.js', import.meta.url).pathname;

let server: ChildProcess;
let directory: string;
let port: number;
let honest: KvClient;
const watch = new ChainWatch();

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'catena-crowd-'));
  port = await freePorts(3);
  const args = ['--embedded', '3', '--listen', String(port), '--data', directory];
  server = spawn(process.execPath, [serverScript, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  await untilServing(server, watch);
  await watch.untilMembers(3);
  honest = await connect({ servers: [`127.0.0.1:${port}`], timeoutMs: 30_000 });
});

test.after.always(async () => {
  await honest.close();
  if (server.exitCode === null) {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  await rm(directory, { recursive: true, force: true });
});

/** Writes and reads until `harm` is over, and at least a hundred times; the times that took, in ms. */
async function latenciesDuring(harm: () => Promise<void>): Promise<number[]> {
  const over = new AbortController();
  const latencies: number[] = [];
  const serving = (async () => {
    while (!over.signal.aborted || latencies.length < 100) {
      const value = `round ${latencies.length}`;
      const startedAtMs = performance.now();
      await honest.put('honest', value);
      const found = await honest.get('honest');
      latencies.push(performance.now() - startedAtMs);
      const read = Buffer.from(found?.value ?? []).toString();
      if (read !== value) throw new Error(`read '${read}', wrote '${value}'`);
    }
  })();
  await Promise.all([harm().finally(() => over.abort()), serving]);
  return latencies.sort((a, b) => a - b);
}

function percentiles(latencies: readonly number[]): string {
  const at = (share: number): string =>
    (latencies[Math.floor(share * (latencies.length - 1))] as number).toFixed(1);
  return `${latencies.length} rounds of put and get, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** Tells the crowd to do something; what it says when that is done. */
async function told(crowd: ChildProcess, command: object): Promise<unknown> {
  crowd.send(command);
  const [answer] = (await once(crowd, 'message')) as [unknown];
  return answer;
}

test.serial('I4: 10,000 connections, and others that come and go: the chain serves', async (t) => {
  t.timeout(180_000);
  const raw = await RawClient.open(port);
  const connections = async (): Promise<number> => {
    const status = await raw.request({ kind: 'status' });
    return status.kind === 'status' ? status.clientConnections : -1;
  };
  const before = await connections();
  t.log(`alone: ${percentiles(await latenciesDuring(async () => {}))}`);
  const processes = Array.from({ length: crowds }, (_, index) =>
    fork(crowdScript, [String(port), `127.0.0.${index + 2}`]),
  );
  t.teardown(() => {
    for (const crowd of processes) crowd.kill('SIGKILL');
  });
  const bytesBefore = await residentBytes();
  const all = (command: object): Promise<unknown[]> =>
    Promise.all(processes.map((crowd) => told(crowd, command)));

  const coming = await latenciesDuring(async () => {
    t.deepEqual(
      await all({ hold: connectionsPerCrowd }),
      processes.map(() => ({ held: connectionsPerCrowd })),
    );
  });
  const held = crowds * connectionsPerCrowd;
  t.is(await connections(), before + held);
  t.log(`while ${held} come: ${percentiles(coming)}`);
  const bytesEach = Math.round(((await residentBytes()) - bytesBefore) / held);
  t.log(`${bytesEach} bytes of the server's memory for each of them`);
  t.true(bytesEach < connectionBytesMax, `${bytesEach} bytes a connection`);

  const churning = await latenciesDuring(async () => {
    t.deepEqual(
      await all({ churn: churnPerCrowd }),
      processes.map(() => ({ churned: churnPerCrowd })),
    );
  });
  t.log(`while ${crowds * churnPerCrowd} come and go beside them: ${percentiles(churning)}`);
  await until(async () => (await connections()) === before + held);
  const bytesAfter = Math.round(((await residentBytes()) - bytesBefore) / held);
  t.true(bytesAfter < connectionBytesMax, `${bytesAfter} bytes a connection after the churn`);

  for (const crowd of processes) crowd.kill('SIGKILL');
  await until(async () => (await connections()) === before);
  t.log(`when they are gone: ${percentiles(await latenciesDuring(async () => {}))}`);
  t.is(server.exitCode, null);
  t.is(watch.newest.members.length, 3);
  t.deepEqual(
    watch.lines.filter((line) => / halted/.test(line)),
    [],
  );
  raw.close();
});
