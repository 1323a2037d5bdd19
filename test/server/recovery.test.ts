/** What a server finds on its disk: the table as far as it is known to be committed, the rest as suffix. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Configuration } from '../../src/coordination/configuration.js';
import { DataDamagedError, RefusedToStartError } from '../../src/errors.js';
import type { Op } from '../../src/machine/op.js';
import { Machine } from '../../src/machine/machine.js';
import { entryOfBytes, sealRecord } from '../../src/protocol/entry-codec.js';
import { encodePage } from '../../src/protocol/messages.js';
import type { EpochRun } from '../../src/replica/epoch-runs.js';
import { metadataOf } from '../../src/server/snapshots/metadata.js';
import { type Recovered, recover, writeLastKnown } from '../../src/server/recovery.js';
import { temporaryDirectory } from './support.js';

const quiet = { onDurable: () => {}, onFatal: () => {} };
const put = (key: string, value = 'v'): Op => ({
  kind: 'put',
  key: Buffer.from(key),
  value: Buffer.from(value),
});

function append({ log }: Recovered, epoch: number, commit: number, ops: readonly Op[]): void {
  const header = { epoch, firstSeq: log.lastSeq + 1, count: ops.length, commit };
  const { firstSeq, lastSeq, record } = entryOfBytes(sealRecord(header, ops));
  log.append({ epoch, firstSeq, lastSeq, bytes: record });
}

async function close({ log, data }: Recovered): Promise<void> {
  await log.close();
  await data.close();
}

/** A log of three records: 1-2 and 3 are known to be committed by the third, 4-5 are not. */
async function directoryWithLog(t: ExecutionContext): Promise<string> {
  const path = await temporaryDirectory(t);
  const recovered = await recover(path, quiet);
  append(recovered, 1, 0, [put('a', 'first'), put('b')]);
  append(recovered, 1, 2, [put('a', 'second')]);
  append(recovered, 2, 3, [put('c'), put('d')]);
  await close(recovered);
  return path;
}

test('an empty directory: nothing, and a name', async (t) => {
  const recovered = await recover(await temporaryDirectory(t), quiet);
  t.is(recovered.machine.table.size, 0);
  t.is(recovered.log.lastSeq, 0);
  t.is(recovered.lastKnown, undefined);
  t.regex(recovered.data.identity.serverId, /^[0-9a-f-]{36}$/);
  await close(recovered);
});

test('what a later record proves committed is in the table, the rest is suffix', async (t) => {
  const path = await directoryWithLog(t);
  const recovered = await recover(path, quiet);
  const { machine, entryLog } = recovered;
  t.is(machine.appliedSeq, 3);
  t.is(machine.table.size, 2);
  t.is(Buffer.from(machine.table.get(Buffer.from('a')) ?? []).toString(), 'second');
  t.is(machine.table.version(Buffer.from('a')), 3);
  t.is(machine.table.get(Buffer.from('c')), undefined);
  t.deepEqual([entryLog.commit, entryLog.durable, entryLog.lastSeq], [3, 5, 5]);
  const suffix = [...entryLog.uncommitted()];
  t.deepEqual(
    suffix.map(({ epoch, firstSeq, lastSeq }) => [epoch, firstSeq, lastSeq]),
    [[2, 4, 5]],
  );
  t.deepEqual([entryLog.runs.epochAt(3), entryLog.runs.epochAt(4)], [1, 2]);
  t.true(entryLog.dirtyThrough('all') === 5);
  await close(recovered);
});

const oldEntry = { key: Buffer.from('old'), value: Buffer.from('v'), version: 7 };

/** A finished snapshot that holds one entry; `claimed`: the entry whose hash its metadata state. */
async function writeSnapshot(
  { snapshots }: Recovered,
  runs: readonly EpochRun[],
  claimed = oldEntry,
): Promise<void> {
  const machine = new Machine();
  machine.load(claimed.key, claimed.value, claimed.version);
  const { stateHash } = machine;
  const writer = await snapshots.create(metadataOf(runs, { id: 'x', keys: 1, stateHash }));
  await writer.write(encodePage({ entries: [oldEntry], last: false }));
  await writer.finish();
}

test('a snapshot and the log behind it', async (t) => {
  const path = await temporaryDirectory(t);
  const first = await recover(path, quiet);
  const runs = [{ epoch: 4, lastSeq: 10 }];
  await writeSnapshot(first, runs);
  await first.log.reset({ seq: 10, epoch: 4 });
  append(first, 5, 10, [put('new')]);
  append(first, 5, 11, [put('open')]);
  await close(first);
  const second = await recover(path, quiet);
  t.is(second.machine.appliedSeq, 11);
  t.is(second.machine.table.version(Buffer.from('old')), 7);
  t.is(second.machine.table.version(Buffer.from('new')), 11);
  t.is(second.machine.table.get(Buffer.from('open')), undefined);
  t.deepEqual([...second.entryLog.runs.upTo(12)], [...runs, { epoch: 5, lastSeq: 12 }]);
  await close(second);
});

test('a snapshot that was finished just before a crash replaces the log', async (t) => {
  const path = await directoryWithLog(t);
  const first = await recover(path, quiet);
  await writeSnapshot(first, [{ epoch: 3, lastSeq: 50 }]);
  await close(first);
  const second = await recover(path, quiet);
  t.is(second.machine.table.size, 1);
  t.deepEqual([second.entryLog.commit, second.entryLog.lastSeq, second.log.lastSeq], [50, 50, 50]);
  await close(second);
});

test('a snapshot whose entries do not have the hash of its state is damaged, though its sums are right', async (t) => {
  const path = await temporaryDirectory(t);
  const first = await recover(path, quiet);
  await writeSnapshot(first, [{ epoch: 3, lastSeq: 50 }], { ...oldEntry, value: Buffer.from('w') });
  await close(first);
  const error = await t.throwsAsync(recover(path, quiet), { instanceOf: DataDamagedError });
  t.regex(error?.message ?? '', /seq 50 .* hash [0-9a-f]{16}, its metadata says [0-9a-f]{16}/);
});

test('a half-received snapshot is forgotten', async (t) => {
  const path = await directoryWithLog(t);
  const first = await recover(path, quiet);
  await first.snapshots.create({ seq: 50, epoch: 3, runs: [] });
  await close(first);
  const second = await recover(path, quiet);
  t.is(second.machine.appliedSeq, 3);
  await close(second);
});

test('what was adopted last is known again', async (t) => {
  const path = await temporaryDirectory(t);
  const first = await recover(path, quiet);
  const member = { serverId: 's', incarnation: 'i', address: '127.0.0.1:1' };
  const configuration: Configuration = {
    clusterId: 'c',
    generation: 1,
    epoch: 3,
    configId: 'x',
    members: [member],
    left: [],
    change: { kind: 'first', reason: 'r', by: 'b' },
    restartEpoch: 0,
  };
  await writeLastKnown(first.data, configuration);
  await close(first);
  const second = await recover(path, quiet);
  t.deepEqual(second.lastKnown, configuration);
  t.is(second.data.identity.clusterId, 'c');
  await close(second);
});

test('the same directory twice is refused', async (t) => {
  const path = await temporaryDirectory(t);
  const first = await recover(path, quiet);
  await t.throwsAsync(recover(path, quiet), { instanceOf: RefusedToStartError });
  await close(first);
  await close(await recover(path, quiet));
});

for (const [what, folder, offset] of [
  ['the log', 'log', 4096],
  ['the metadata', '.', 10],
] as const) {
  test(`damage in ${what} is refused, again and again, and the lock is given back`, async (t) => {
    const path = await directoryWithLog(t);
    const first = await recover(path, quiet);
    await first.data.writeMeta({ configuration: { epoch: 1 } });
    await first.log.seal();
    await close(first);
    const directory = join(path, folder);
    const names = await readdir(directory);
    const name = folder === 'log' ? names.find((each) => /^\d/.test(each)) : 'meta.json';
    const file = join(directory, name ?? '');
    const bytes = await readFile(file);
    const at = folder === 'log' ? bytes.indexOf('second') : Math.min(offset, bytes.length - 1);
    bytes[at] = (bytes[at] as number) ^ 1;
    await writeFile(file, bytes);
    for (let times = 0; times < 2; times++) {
      await t.throwsAsync(recover(path, quiet), { instanceOf: DataDamagedError });
    }
  });
}
