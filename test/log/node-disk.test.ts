/** The essential cases on real files: what the twin promises, the real disk does, too. */

import {
  copyFile,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DataDamagedError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import { makeRecord, openLog, range, seqs } from './support.js';

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'catena-log-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('append, roll, read, cut, reopen, reset', async (t) => {
  const directory = join(await temporaryDirectory(t), 'deep', 'log');
  const { log, listener } = await openLog(nodeDisk, { directory, segmentBytes: 8192 });
  for (const seq of range(1, 200)) log.append(makeRecord(seq, { bytes: 300 }));
  await listener.durableThrough(200);
  t.deepEqual(seqs(await log.read(150, 1e6)), range(150, 200));
  log.append(makeRecord(201, { bytes: 100_000 }));
  await log.cut(100);
  log.append(makeRecord(101, { epoch: 2, bytes: 20_000 }));
  await log.close();
  const again = await openLog(nodeDisk, { directory, segmentBytes: 8192 });
  t.deepEqual(seqs(again.records), range(1, 101));
  t.is(again.log.lastEpoch, 2);
  await again.log.reset({ seq: 500, epoch: 3 });
  again.log.append(makeRecord(501, { epoch: 3 }));
  await again.log.close();
  const base = { seq: 500, epoch: 3 };
  const last = await openLog(nodeDisk, { directory, base });
  t.deepEqual(seqs(last.records), [501]);
  await last.log.close();
});

test('one group may have more buffers than one system call takes', async (t) => {
  const directory = await temporaryDirectory(t);
  const { log, listener } = await openLog(nodeDisk, { directory, segmentBytes: 1e6 });
  for (const seq of range(1, 5000)) log.append(makeRecord(seq));
  await listener.durableThrough(5000);
  t.deepEqual(listener.durable, [5000]);
  await log.close();
  t.deepEqual(seqs((await openLog(nodeDisk, { directory })).records), range(1, 5000));
});

test('a torn end is cut off, a flipped byte in the middle is damage', async (t) => {
  const directory = await temporaryDirectory(t);
  const { log, listener } = await openLog(nodeDisk, { directory, segmentBytes: 4096 });
  for (const seq of range(1, 5)) {
    log.append(makeRecord(seq, { bytes: 100 }));
    await listener.durableThrough(seq);
  }
  const path = join(directory, `${'1'.padStart(16, '0')}.log`);
  await log.close();
  // Without the closing marker, and in the middle of the last record.
  await truncate(path, 40 + 5 * (32 + 144) - 60);
  const torn = await openLog(nodeDisk, { directory, segmentBytes: 4096 });
  t.is(torn.log.recovery.outcome, 'torn');
  t.deepEqual(seqs(torn.records), [1, 2, 3, 4]);
  await torn.log.close();
  const file = await open(path, 'r+');
  await file.write(Buffer.from('rot'), 0, 3, 40 + 32 + 60);
  await file.close();
  await t.throwsAsync(openLog(nodeDisk, { directory }), { instanceOf: DataDamagedError });
});

test('a snapshot is written and read', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await SnapshotStore.open({ disk: nodeDisk, directory });
  const writer = await store.create({ seq: 7, epoch: 1 });
  const chunks = range(1, 9).map((size) => Buffer.alloc(size * 10_000, size));
  for (const chunk of chunks) await writer.write(chunk);
  await writer.finish();
  t.is((await readdir(directory)).length, 1);
  const reader = await (await SnapshotStore.open({ disk: nodeDisk, directory })).newest();
  const found: Uint8Array[] = [];
  for await (const chunk of reader?.chunks() ?? []) found.push(chunk);
  t.true(Buffer.concat(found).equals(Buffer.concat(chunks)));
});

test('a file id stays with the file, and is never that of another', async (t) => {
  const directory = await temporaryDirectory(t);
  const [path, copy, moved] = ['a', 'b', 'c'].map((name) => join(directory, name));
  if (!path || !copy || !moved) return t.fail();
  await writeFile(path, 'one');
  const id = await nodeDisk.fileId(path);
  await copyFile(path, copy);
  t.not(await nodeDisk.fileId(copy), id);
  await writeFile(path, 'more than one');
  await rename(path, moved);
  t.is(await nodeDisk.fileId(moved), id);
  await rm(moved);
  // Its inode may be given to the next file at once.
  await writeFile(path, 'one');
  t.not(await nodeDisk.fileId(path), id);
  await t.throwsAsync(nodeDisk.fileId(moved), { code: 'ENOENT' });
});

test('free bytes are those of the file system; the twin says what it is told', async (t) => {
  const free = await nodeDisk.freeBytes(await temporaryDirectory(t));
  t.true(Number.isSafeInteger(free) && free >= 0, String(free));
  const disk = new MemoryDisk();
  disk.free = 12;
  t.is(await disk.mount().freeBytes('/data'), 12);
});
