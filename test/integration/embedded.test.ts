/** A chain in this process: it serves, survives each server's crash, keeps its data, and rebuilds a lost one. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { BadRequestError, ClosedError } from '../../src/errors.js';
import { connect, type KvClient } from '../../src/index.js';
import { keyBytesMax, valueBytesMax } from '../../src/limits.js';
import { createLogger } from '../../src/logger.js';
import { type EmbeddedCluster, startEmbeddedCluster } from '../../src/server/embedded.js';
import { ChainWatch } from '../support/deployment.js';
import { freePorts, RawClient, temporaryDirectory, until } from '../server/support.js';

interface Chain {
  readonly cluster: EmbeddedCluster;
  readonly watch: ChainWatch;
  readonly halts: string[];
  readonly log: string[];
  /** Called with each line of the log, at once. */
  onLog: (line: string) => void;
  readonly client: KvClient;
  readonly ports: readonly number[];
}

async function startChain(
  t: ExecutionContext,
  options: { servers?: number; dataPath?: string; basePort?: number } = {},
): Promise<Chain> {
  const servers = options.servers ?? 3;
  const dataPath = options.dataPath ?? (await temporaryDirectory(t));
  const basePort = options.basePort ?? (await freePorts(servers));
  const watch = new ChainWatch();
  const halts: string[] = [];
  const log: string[] = [];
  const onLog = (line: string): void => {
    log.push(line);
    chain?.onLog(line);
  };
  let chain: Chain | undefined;
  const cluster = await startEmbeddedCluster({
    servers,
    basePort,
    dataPath,
    // All servers and the test share one loop: its pauses are not to look like the death of a server.
    leaseMs: 2_000,
    logger: createLogger('info', {}, onLog),
    onLine: (line) => watch.onLine(line),
    onHalt: (number, reason) => halts.push(`${number}: ${reason.message}`),
  });
  t.teardown(() => cluster.stop());
  await watch.untilMembers(servers);
  const client = await connect({ servers: cluster.addresses, timeoutMs: 30_000 });
  t.teardown(() => client.close());
  const ports = Array.from({ length: servers }, (_, index) => basePort + index);
  chain = { cluster, watch, halts, log, onLog: () => {}, client, ports };
  return chain;
}

/** The whole table of one server, read from it alone. */
async function tableOf(port: number): Promise<Map<string, string>> {
  const client = await RawClient.open(port);
  const id = client.send({ kind: 'scan', values: true });
  const pages = client.request({ kind: 'size' });
  await pages;
  for (;;) {
    const answers = client.answers.get(id) ?? [];
    const last = answers.at(-1);
    if (last?.kind === 'failure') throw new Error(last.message);
    if (last?.kind === 'page' && last.last) break;
    await client.request({ kind: 'status' });
  }
  const table = new Map<string, string>();
  for (const page of client.answers.get(id) ?? []) {
    if (page.kind !== 'page') continue;
    for (const { key, value, version } of page.entries) {
      table.set(
        Buffer.from(key).toString('latin1'),
        `${version} ${Buffer.from(value).toString('latin1')}`,
      );
    }
  }
  client.close();
  return table;
}

async function assertTablesEqual(t: ExecutionContext, { ports }: Chain, keys: number) {
  const [first, ...others] = await Promise.all(ports.map(tableOf));
  t.is(first?.size, keys);
  for (const other of others) {
    t.is(other.size, keys);
    for (const [key, value] of first ?? []) {
      if (other.get(key) !== value) t.fail(`${key} differs`);
    }
  }
}

async function fill(client: KvClient, count: number, valueBytes: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, index) => index);
  await Promise.all(numbers.map((n) => client.put(`key-${n}`, Buffer.alloc(valueBytes, n))));
}

test.serial('put, get and delete; a server that crashes, whichever, comes back', async (t) => {
  const chain = await startChain(t);
  const { cluster, watch, client } = chain;
  await client.put('key', 'before');
  for (const number of [1, 2, 3]) {
    await cluster.kill(number);
    t.false(cluster.isRunning(number));
    await watch.untilMembers(2);
    await client.put('key', `while ${number} is down`);
    await client.put(`key-${number}`, 'kept');
    await cluster.start(number);
    await watch.untilMembers(3);
    const found = await client.get('key');
    t.is(Buffer.from(found?.value ?? []).toString(), `while ${number} is down`);
  }
  await client.put('gone', 'soon');
  await client.delete('gone');
  t.is(await client.get('gone'), undefined);
  await assertTablesEqual(t, chain, 4);
  t.deepEqual(chain.halts, []);
});

test.serial('all data is there after a stop and a start of the whole', async (t) => {
  const dataPath = await temporaryDirectory(t);
  const basePort = await freePorts(3);
  const first = await startChain(t, { dataPath, basePort });
  await fill(first.client, 500, 100);
  await first.client.close();
  await first.cluster.stop();
  const second = await startChain(t, { dataPath, basePort });
  t.is(await second.client.size(), 500);
  await assertTablesEqual(t, second, 500);
  await second.client.put('after', 'the restart');
  t.is(Buffer.from((await second.client.get('after'))?.value ?? []).toString(), 'the restart');
});

test.serial('all crash at once and start again in another order', async (t) => {
  const chain = await startChain(t);
  await fill(chain.client, 200, 100);
  await Promise.all([1, 2, 3].map((number) => chain.cluster.kill(number)));
  for (const number of [3, 1, 2]) await chain.cluster.start(number);
  await chain.watch.untilMembers(3);
  t.is(await chain.client.size(), 200);
  await assertTablesEqual(t, chain, 200);
});

test.serial(
  'a server that lost its disk comes back by a snapshot, while writes go on',
  async (t) => {
    const dataPath = await temporaryDirectory(t);
    const chain = await startChain(t, { dataPath });
    const { cluster, watch, client } = chain;
    // Written over and over: the log is much longer than the table, so that a snapshot is cheaper.
    for (let round = 0; round < 5; round++) await fill(client, 1_000, 2_000);
    await cluster.kill(2);
    await watch.untilMembers(2);
    await rm(join(dataPath, 'server-2'), { recursive: true });
    await cluster.start(2);
    const writing = fill(client, 1_000, 2_000);
    await watch.untilMembers(3);
    await writing;
    t.true(chain.log.some((line) => line.includes('snapshot installed')));
    await assertTablesEqual(t, chain, 1_000);
    t.deepEqual(chain.halts, []);
    // It stands on its own: its log has the snapshot for its base now.
    await cluster.kill(2);
    await watch.untilMembers(2);
    await cluster.start(2);
    await watch.untilMembers(3);
    await assertTablesEqual(t, chain, 1_000);
  },
);

for (const [what, victim] of [
  ['the source', 2],
  ['the joiner', 3],
] as const) {
  test(`${what} of a snapshot crashes midway: in the end all are there again`, async (t) => {
    const dataPath = await temporaryDirectory(t);
    const chain = await startChain(t, { dataPath });
    const { cluster, watch, client, halts } = chain;
    for (let round = 0; round < 2; round++) await fill(client, 2_000, 5_000);
    await cluster.kill(3);
    await watch.untilMembers(2);
    await rm(join(dataPath, 'server-3'), { recursive: true });
    let crash: Promise<void> | undefined;
    chain.onLog = (line) => {
      if (line.includes('sending a snapshot')) crash ??= cluster.kill(victim);
    };
    await cluster.start(3);
    await until(() => crash !== undefined);
    await crash;
    const { epoch } = watch.newest;
    await client.put('meanwhile', 'written');
    await cluster.start(victim);
    const back = `127.0.0.1:${chain.ports[victim - 1]}`;
    await watch.until(
      'all three again',
      (now) => now.epoch > epoch && now.members.length === 3 && now.members.includes(back),
    );
    t.deepEqual(halts, []);
    await assertTablesEqual(t, chain, 2_001);
  });
}

test.serial(
  'the largest key with the largest value: record, frames, snapshot, page and answers',
  async (t) => {
    const dataPath = await temporaryDirectory(t);
    const chain = await startChain(t, { dataPath });
    const { cluster, watch, client } = chain;
    const key = Buffer.alloc(keyBytesMax, 'k');
    const value = Buffer.alloc(valueBytesMax);
    for (let at = 0; at < value.length; at += 4) value.writeUInt32LE(at, at);
    for (let round = 0; round < 4; round++) await client.put(key, value);
    t.true(value.equals((await client.get(key))?.value ?? Buffer.alloc(0)));
    await cluster.kill(3);
    await watch.untilMembers(2);
    await rm(join(dataPath, 'server-3'), { recursive: true });
    await cluster.start(3);
    await watch.untilMembers(3);
    t.true(chain.log.some((line) => line.includes('snapshot installed')));
    await assertTablesEqual(t, chain, 1);
    t.deepEqual(chain.halts, []);
  },
);

test.serial(
  'D3: the first of three is damaged at the start of all: it does not hold up the others, and is back as another',
  async (t) => {
    const dataPath = await temporaryDirectory(t);
    const first = await startChain(t, { dataPath });
    await fill(first.client, 100, 1_000);
    await first.client.close();
    await first.cluster.stop();
    const path = join(dataPath, 'server-1', 'meta.json');
    const meta = await readFile(path);
    meta[meta.length >> 1] = (meta[meta.length >> 1] as number) ^ 1;
    await writeFile(path, meta);
    const again = await startChain(t, { dataPath });
    t.true(again.cluster.isRunning(1));
    const { lines } = again.watch;
    const line = lines.find((each) => each.includes('comes back as a new server'));
    t.regex(line ?? lines.join('\n'), /data is kept in \S+server-1\.damaged-/);
    await assertTablesEqual(t, again, 100);
    t.deepEqual(again.halts, []);
  },
);

test.serial('a chain of one, and back to it', async (t) => {
  const chain = await startChain(t, { servers: 1 });
  await chain.client.put('key', 'value');
  await chain.cluster.kill(1);
  await chain.cluster.start(1);
  t.is(Buffer.from((await chain.client.get('key'))?.value ?? []).toString(), 'value');
});

test.serial('starts, kills and the stop take their turns', async (t) => {
  const { cluster } = await startChain(t, { servers: 2 });
  await Promise.all([cluster.start(1), cluster.start(1), cluster.kill(1), cluster.start(1)]);
  t.true(cluster.isRunning(1));
  const killing = cluster.kill(2);
  const starting = cluster.start(2);
  // What was asked for and has not begun is not begun any more.
  const refused = t.throwsAsync(starting, { instanceOf: ClosedError });
  await cluster.stop();
  await killing;
  await refused;
  t.false(cluster.isRunning(1));
  t.false(cluster.isRunning(2));
  await t.throwsAsync(cluster.start(1), { instanceOf: ClosedError });
  await cluster.stop();
});

test.serial('what cannot be started is refused with a typed error', async (t) => {
  const dataPath = await temporaryDirectory(t);
  const options = { servers: 3, basePort: 5000, dataPath, onLine: () => {} };
  for (const wrong of [{ servers: 0 }, { servers: 17 }, { servers: 1.5 }, { basePort: 65_534 }]) {
    const start = startEmbeddedCluster({ ...options, ...wrong });
    await t.throwsAsync(start, { instanceOf: BadRequestError });
  }
  const { cluster, ports } = await startChain(t, { servers: 1 });
  for (const number of [0, 2, 1.5]) {
    await t.throwsAsync(cluster.kill(number), { instanceOf: BadRequestError });
  }
  const taken = startEmbeddedCluster({ ...options, servers: 1, basePort: ports[0] as number });
  const error = await t.throwsAsync(taken);
  t.is((error as { code?: string }).code, 'REFUSED_TO_START');
});
