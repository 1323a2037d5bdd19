/**
 * A chain of three that is written to all the time, its backups, and new chains made of them: each holds
 * exactly the effect of the acknowledged ops up to the op id of its backup.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { restoreBackup } from '../../src/backup/restore-backup.js';
import { type BackupResult, writeBackup } from '../../src/backup/write-backup.js';
import { DataDamagedError, RefusedToStartError } from '../../src/errors.js';
import { connect, type KvClient } from '../../src/index.js';
import { parseOpId } from '../../src/protocol/op-id.js';
import { type EmbeddedCluster, startEmbeddedCluster } from '../../src/server/embedded.js';
import { ChainWatch } from '../support/deployment.js';
import { freePorts, temporaryDirectory } from '../server/support.js';

interface Chain {
  readonly cluster: EmbeddedCluster;
  readonly client: KvClient;
  readonly watch: ChainWatch;
  readonly halts: string[];
}

async function start(t: ExecutionContext, dataPath: string, servers: number): Promise<Chain> {
  const watch = new ChainWatch();
  const halts: string[] = [];
  const cluster = await startEmbeddedCluster({
    servers,
    basePort: await freePorts(servers),
    dataPath,
    // All servers and the test share one loop: its pauses are not to look like the death of a server.
    leaseMs: 2_000,
    onLine: (line) => watch.onLine(line),
    onHalt: (number, reason) => halts.push(`${number}: ${reason.message}`),
  });
  t.teardown(() => cluster.stop());
  const client = await connect({ servers: cluster.addresses, timeoutMs: 30_000 });
  t.teardown(() => client.close());
  return { cluster, client, watch, halts };
}

interface Acknowledged {
  readonly opId: string;
  readonly key: string;
  /** Undefined: it was deleted. */
  readonly value: string | undefined;
}

/** Puts and deletes on few keys, until told to stop. Every op is acknowledged, or the test fails. */
async function write(
  client: KvClient,
  name: string,
  history: Acknowledged[],
  isOver: () => boolean,
): Promise<void> {
  for (let n = 0; !isOver(); n++) {
    const key = `key ${(n * 7 + name.length) % 40}`;
    const value = n % 5 === 4 ? undefined : `${name} wrote ${n}`.padEnd(20 + (n % 50) * 20, '.');
    const { opId } = value === undefined ? await client.delete(key) : await client.put(key, value);
    history.push({ opId, key, value });
  }
}

/** key -> version and value after op `seq`, as the acknowledgements tell. */
function tableAt(history: readonly Acknowledged[], seq: number): Map<string, string> {
  const newest = new Map<string, { seq: number; value: string | undefined }>();
  for (const { opId, key, value } of history) {
    const { seq: at } = parseOpId(opId);
    if (at <= seq && at > (newest.get(key)?.seq ?? 0)) newest.set(key, { seq: at, value });
  }
  const table = new Map<string, string>();
  for (const [key, { seq: at, value }] of newest) {
    if (value !== undefined) table.set(key, `${at} ${value}`);
  }
  return table;
}

async function tableOf(client: KvClient): Promise<Map<string, string>> {
  const table = new Map<string, string>();
  for await (const { key, value, version } of await client.snapshot()) {
    table.set(Buffer.from(key).toString(), `${version} ${Buffer.from(value).toString()}`);
  }
  return table;
}

const sorted = (table: Map<string, string>): string[] =>
  [...table].map(([key, entry]) => `${key} ${entry}`).sort();

test.serial('a backup of a busy chain, restored: the table at that very op', async (t) => {
  t.timeout(120_000);
  const directory = await temporaryDirectory(t);
  const { client, cluster, watch } = await start(t, join(directory, 'old'), 3);
  await watch.untilMembers(3);
  const history: Acknowledged[] = [];
  let isOver = false;
  const writers = ['a', 'bb', 'ccc', 'dddd'].map((name) =>
    write(client, name, history, () => isOver),
  );
  const backups: BackupResult[] = [];
  for (const [number, at] of cluster.addresses.entries()) {
    const acknowledged = history.length;
    while (history.length < acknowledged + 200) await client.size();
    const path = join(directory, `${number}.backup`);
    backups.push(await writeBackup(client, { path, cluster: 'old', writtenBy: 'a test', at }));
  }
  const after = history.length;
  while (history.length < after + 100) await client.size();
  isOver = true;
  await Promise.all(writers);
  const oldClusterId = (await client.view()).clusterId;
  await cluster.stop();

  for (const [number, backup] of backups.entries()) {
    const { seq, epoch } = parseOpId(backup.opId);
    const [earlier, later] = [history, history].map((ops, index) =>
      ops.filter(({ opId }) => parseOpId(opId).seq <= seq === (index === 0)),
    ) as [Acknowledged[], Acknowledged[]];
    t.true(earlier.length >= 200 && later.length >= 100, 'writes went on before and after it');
    const expected = sorted(tableAt(history, seq));
    const dataPath = join(directory, `new-${number}`);
    const restored = join(dataPath, 'server-1');
    await restoreBackup({ backupPath: backup.path, dataPath: restored });

    const founder = await start(t, dataPath, 1);
    await founder.watch.untilMembers(1);
    t.deepEqual(sorted(await tableOf(founder.client)), expected);
    const snapshot = await founder.client.snapshot();
    t.is(snapshot.head.stateHash, backup.stateHash);
    t.is(snapshot.head.keys, backup.keys);
    snapshot.close();
    const view = await founder.client.view();
    t.not(view.clusterId, oldClusterId);
    t.is(view.epoch, epoch + 1, 'epochs go on above those of the ops that were restored');
    t.true(founder.watch.lines.some((line) => line.includes(`at op ${backup.opId}`)));
    const { opId: last } = earlier.reduce((left, right) =>
      parseOpId(left.opId).seq > parseOpId(right.opId).seq ? left : right,
    );
    t.is(await founder.client.verify(last), 'executed');
    t.is(await founder.client.verify((later[0] as Acknowledged).opId), 'never');
    await founder.cluster.stop();

    // The next start is one like any other, and the others join with empty directories.
    const again = await start(t, dataPath, 3);
    await again.watch.untilMembers(3);
    for (const at of again.cluster.addresses) {
      const one = await connect({ servers: [at], timeoutMs: 30_000 });
      t.deepEqual(sorted(await tableOf(one)), expected, at);
      await one.close();
    }
    t.true(parseOpId((await again.client.put('new', 'write')).opId).seq > seq);
    t.deepEqual(again.halts, []);
    await again.cluster.stop();
  }
});

test.serial('restored data founds a cluster of its own, or does not start', async (t) => {
  t.timeout(60_000);
  const directory = await temporaryDirectory(t);
  const old = await start(t, join(directory, 'old'), 1);
  await old.watch.untilMembers(1);
  await old.client.put('k', 'v');
  const path = join(directory, 'one.backup');
  await writeBackup(old.client, { path, cluster: 'old', writtenBy: 'a test' });
  await old.cluster.stop();

  // Beside a founder that is restored too: it is another history of the same ops.
  const dataPath = join(directory, 'new');
  for (const number of [1, 2]) {
    await restoreBackup({ backupPath: path, dataPath: join(dataPath, `server-${number}`) });
  }
  const chain = await start(t, dataPath, 2);
  await chain.watch.untilMembers(1);
  while (chain.cluster.isRunning(2)) await chain.client.size();
  t.is(chain.halts.length, 1);
  t.regex(chain.halts[0] ?? '', /2: there is a chain already .*--cluster/);
  t.deepEqual(await tableOf(chain.client), new Map([['k', '2 v']]));
  t.is((await chain.client.view()).members.length, 1);
});

test.serial('a truncated or damaged file is refused, and nothing is made', async (t) => {
  t.timeout(60_000);
  const directory = await temporaryDirectory(t);
  const { client, watch, cluster } = await start(t, join(directory, 'old'), 1);
  await watch.untilMembers(1);
  for (let n = 0; n < 200; n++) {
    await client.put(`key ${n}`, createHash('sha512').update(`${n}`).digest());
  }
  const path = join(directory, 'whole.backup');
  await writeBackup(client, { path, cluster: 'old', writtenBy: 'a test' });
  await cluster.stop();
  const whole = await readFile(path);
  const bad = join(directory, 'bad.backup');
  const dataPath = join(directory, 'new');
  const before = (await readdir(directory)).concat('bad.backup').sort();
  const refused = async (content: Buffer, what: string): Promise<void> => {
    await writeFile(bad, content);
    const restoring = restoreBackup({ backupPath: bad, dataPath });
    const error = await t.throwsAsync(restoring, undefined, what);
    t.true(error instanceof DataDamagedError || error instanceof RefusedToStartError, what);
    t.deepEqual((await readdir(directory)).sort(), before, what);
  };
  for (let sample = 0; sample < 40; sample++) {
    const length = Math.floor((whole.length * sample) / 40);
    await refused(whole.subarray(0, length), `cut to ${length} of ${whole.length}`);
    const flipped = Buffer.from(whole);
    flipped[length] = (flipped[length] as number) ^ (1 << (sample % 8));
    await refused(flipped, `a bit of byte ${length} flipped`);
  }
  await refused(whole.subarray(0, whole.length - 1), 'the last byte missing');
  await restoreBackup({ backupPath: path, dataPath });
  t.true((await readdir(dataPath)).includes('identity.json'));
});
