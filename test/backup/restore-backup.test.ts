/**
 * Restoring changes nothing before the whole file was verified, and whenever it breaks off, what it leaves is
 * refused by a server: never half a table.
 */
import test from 'ava';
import { restoreBackup } from '../../src/backup/restore-backup.js';
import { DataDamagedError, RefusedToStartError } from '../../src/errors.js';
import type { MemoryDisk } from '../../src/log/memory-disk.js';
import { recover, type Recovered } from '../../src/server/recovery.js';
import { backupPath, diskWithBackup, writeFile } from './support.js';

const dataPath = '/data/server';
const silent = { onDurable: () => {}, onFatal: () => {} };

/** What a server finds that is started there; an error if it refuses. */
async function startOn(disk: MemoryDisk): Promise<Recovered | Error> {
  try {
    const found = await recover(dataPath, silent, { disk: disk.mount() });
    await found.log.close();
    await found.data.close();
    return found;
  } catch (error) {
    return error as Error;
  }
}

test('a restored directory holds the backup, founds a cluster, and a second restore into it is refused', async (t) => {
  const disk = await diskWithBackup(20);
  const before = disk.contents(backupPath);
  const { metadata, serverId } = await restoreBackup({ backupPath, dataPath, disk });
  t.like(metadata, { seq: 23, keys: 20 });
  disk.crash();
  const found = await startOn(disk);
  if (found instanceof Error) throw found;
  t.is(found.data.identity.serverId, serverId);
  t.is(found.data.identity.clusterId, undefined, 'of no cluster yet');
  t.regex(found.founding?.reason ?? '', /backup of cluster fake at op 1-23/);
  t.is(found.lastKnown, undefined);
  t.is(found.entryLog.lastSeq, 23);
  t.is(found.machine.stateHash, metadata.stateHash);
  t.is(found.machine.table.version(Buffer.from('key 7')), 7);
  const paths = disk.paths();
  await t.throwsAsync(restoreBackup({ backupPath, dataPath, disk }), {
    instanceOf: RefusedToStartError,
    message: /not empty/,
  });
  t.deepEqual(disk.paths(), paths);
  t.deepEqual(disk.contents(backupPath), before);
});

test('a damaged file is refused before anything is made', async (t) => {
  const disk = await diskWithBackup(20);
  disk.flipBit(backupPath, 8 * (disk.contents(backupPath).length - 60));
  const writes: string[] = [];
  disk.setFault(({ kind, path }) => {
    if (kind !== 'open' && kind !== 'read') writes.push(`${kind} ${path}`);
    return undefined;
  });
  await t.throwsAsync(restoreBackup({ backupPath, dataPath, disk }), {
    instanceOf: DataDamagedError,
  });
  t.deepEqual(writes, []);
  t.deepEqual(disk.paths(), [backupPath]);
});

test('a directory that is not empty stays as it is', async (t) => {
  const disk = await diskWithBackup(3);
  await writeFile(disk, `${dataPath}/notes.txt`, Buffer.from('mine'));
  await t.throwsAsync(restoreBackup({ backupPath, dataPath, disk }), {
    instanceOf: RefusedToStartError,
  });
  t.deepEqual(disk.paths(), [backupPath, `${dataPath}/notes.txt`]);
});

for (const [what, keepsAll] of [
  ['power cut that loses all that was not synced', false],
  ['kill -9', true],
] as const) {
  test(`a ${what} at each step: nothing, refused, or whole`, async (t) => {
    const ends = new Map<string, number>();
    let isDone = false;
    for (let dying = 1; !isDone; dying++) {
      const disk = await diskWithBackup(20);
      let count = 0;
      let died = false;
      const dead = new Promise<void>((resolve) => {
        disk.setFault(({ kind }) => {
          if (kind === 'read') return undefined;
          count += 1;
          if (count !== dying) return undefined;
          died = true;
          // The operation takes effect, and the process dies before it hears of that.
          setImmediate(resolve);
          return { until: new Promise(() => {}) };
        });
      });
      const restoring = restoreBackup({ backupPath, dataPath, disk: disk.mount() });
      await Promise.race([restoring, dead]);
      isDone = !died;
      disk.crash(keepsAll ? ({ length }) => length : () => 0);
      const found = await startOn(disk);
      const end = endOf(found);
      t.not(end, 'half', `after step ${dying}`);
      t.true(!isDone || end === 'whole');
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    t.true((ends.get('refused') ?? 0) >= 5, JSON.stringify([...ends]));
    t.true(ends.has('nothing') && ends.has('whole'));
  });
}

function endOf(found: Recovered | Error): string {
  if (found instanceof RefusedToStartError && /broke off/.test(found.message)) return 'refused';
  if (found instanceof Error) return found.message;
  const { size } = found.machine.table;
  if (size === 20 && found.founding !== undefined) return 'whole';
  return size === 0 && found.founding === undefined && found.entryLog.lastSeq === 0
    ? 'nothing'
    : 'half';
}
