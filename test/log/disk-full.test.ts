/** D4: no room on the disk. What was acknowledged stays, whoever can still act is told early. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { DiskFullError, StorageError } from '../../src/errors.js';
import { openDataDirectory } from '../../src/log/data-directory.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import type { Opened } from './support.js';
import { filledDisk, isLogFile, makeRecord, openLog, range, seqs } from './support.js';

const isSpare = (path: string): boolean => path.endsWith('spare.new');

/** A log of one record in a segment for 5; whatever writes the segment after it gets this error. */
async function withoutSecondSegment(
  error: string,
): Promise<{ disk: MemoryDisk; tries: () => number } & Opened> {
  const disk = new MemoryDisk();
  let prepared = 0;
  let tries = 0;
  disk.setFault(({ kind, path }) => {
    if (!isSpare(path)) return undefined;
    // Each preparation begins by removing what is left of the one before.
    if (kind === 'remove') prepared++;
    if (kind !== 'write' || prepared < 2) return undefined;
    tries++;
    return { error, bytes: 100 };
  });
  const opened = await openLog(disk);
  opened.log.append(makeRecord(1, { bytes: 100 }));
  await opened.listener.durableThrough(1);
  return { disk, tries: () => tries, ...opened };
}

for (const error of ['ENOSPC', 'EDQUOT', 'EFBIG']) {
  test(`D4: ${error} for the next segment is told early, and fails the log when it needs it`, async (t) => {
    const { disk, log, listener, tries } = await withoutSecondSegment(error);
    const early = await listener.diskFull();
    t.true(early instanceof DiskFullError);
    t.regex(early.message, /\/data\/log/u, 'it says where room is needed');
    t.false(disk.paths().some(isSpare), 'the half of a file gives its room back');
    for (const seq of range(2, 5)) log.append(makeRecord(seq, { bytes: 100 }));
    await listener.durableThrough(5);
    t.deepEqual([listener.errors, tries()], [[], 1], 'it goes on without one');
    log.append(makeRecord(6, { bytes: 300 }));
    const fatal = await listener.fatal();
    t.is(fatal.code, 'DISK_FULL');
    t.deepEqual([tries(), listener.fullDisks.length], [2, 1], 'it tried again, and told one thing');
    await t.throwsAsync(log.cut(5), { instanceOf: DiskFullError });
    await log.close();
    t.deepEqual([listener.errors.length, listener.durableSeq], [1, 5]);
    disk.crash();
    t.deepEqual(seqs((await openLog(disk)).records), range(1, 5));
  });
}

test('D4: with room again before the next segment is needed the log goes on', async (t) => {
  const { disk, log, listener } = await withoutSecondSegment('ENOSPC');
  await listener.diskFull();
  disk.setFault(() => undefined);
  for (const seq of range(2, 20)) log.append(makeRecord(seq, { bytes: 100 }));
  await listener.durableThrough(20);
  await log.close();
  t.deepEqual([listener.errors, listener.fullDisks.length], [[], 1]);
  disk.crash();
  t.deepEqual(seqs((await openLog(disk)).records), range(1, 20));
});

test('D4: a preparation under way when its segment is needed fails the log once', async (t) => {
  const disk = new MemoryDisk();
  let open = (): void => {};
  const until = new Promise<void>((resolve) => {
    open = resolve;
  });
  disk.setFault(({ kind, path }) =>
    kind === 'write' && isSpare(path) ? { until, error: 'ENOSPC' } : undefined,
  );
  const { log, listener } = await openLog(disk);
  log.append(makeRecord(1));
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  open();
  t.is((await listener.fatal()).code, 'DISK_FULL');
  await log.close();
  t.deepEqual([listener.errors.length, listener.fullDisks.length], [1, 0]);
});

test('D4, D5: any other failure of the spare is fatal at once, though the segment has room', async (t) => {
  const { log, listener } = await withoutSecondSegment('EIO');
  t.is((await listener.fatal()).code, 'STORAGE');
  t.deepEqual([listener.fullDisks, listener.durableSeq], [[], 1]);
  await log.close();
});

test('D4: no room for a record in the segment in use fails the log at once', async (t) => {
  const { disk, log, listener } = await filledDisk([makeRecord(1)]);
  disk.setFault(({ kind, path }) =>
    kind === 'write' && isLogFile(path) ? { error: 'ENOSPC', bytes: 10 } : undefined,
  );
  log.append(makeRecord(2));
  t.is((await listener.fatal()).code, 'DISK_FULL');
  disk.crash(({ length }) => length);
  t.deepEqual(seqs((await openLog(disk)).records), [1]);
});

test('D4: a snapshot that finds no room leaves nothing, and the one before', async (t) => {
  for (const failing of range(0, 3)) {
    const disk = new MemoryDisk();
    const store = await SnapshotStore.open({ disk, directory: '/data/snapshots' });
    const first = await store.create({ seq: 5, epoch: 1 });
    await first.finish();
    let writes = 0;
    disk.setFault(({ kind }) => {
      if (kind !== 'write' || writes++ !== failing) return undefined;
      return { error: 'ENOSPC', bytes: 3 };
    });
    const attempt = async (): Promise<void> => {
      const writer = await store.create({ seq: 9, epoch: 1 });
      try {
        for (const chunk of ['a', 'b']) await writer.write(Buffer.from(chunk));
        await writer.finish();
      } finally {
        await writer.abort();
      }
    };
    const error = await t.throwsAsync(attempt(), { instanceOf: DiskFullError });
    t.regex(error?.message ?? '', /\/data\/snapshots/u);
    t.is(disk.paths().length, 1, `write ${failing}: ${disk.paths().join(' ')}`);
    t.is((await store.newest())?.meta.seq, 5);
  }
});

test('D4, D5: metadata that cannot be written says why, and what was there stays', async (t) => {
  for (const [code, instanceOf] of [
    ['ENOSPC', DiskFullError],
    ['EIO', StorageError],
  ] as const) {
    const disk = new MemoryDisk();
    const data = await openDataDirectory({ path: '/data', disk: disk.mount() });
    await data.writeMeta({ epoch: 1 });
    let failures = 0;
    disk.setFault(({ kind }) =>
      kind === 'sync' && failures++ === 0 ? { error: code } : undefined,
    );
    await t.throwsAsync(data.writeMeta({ epoch: 2 }), { instanceOf });
    await t.throwsAsync(data.writeMeta({ epoch: 3 }), { instanceOf }, 'never retried');
    t.is(failures, 1);
    disk.crash();
    const again = await openDataDirectory({ path: '/data', disk: disk.mount() });
    t.deepEqual(await again.readMeta(), { epoch: 1 });
  }
});

test('D4: a real file size limit is a full disk', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'catena-full-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const writer = fileURLToPath(new URL('./full-disk-writer.js', import.meta.url));
  const limited = 'ulimit -f 32; exec "$0" "$@"';
  const program = [process.execPath, writer, directory, String(64 * 1024)];
  const { stdout } = await promisify(execFile)('bash', ['-c', limited, ...program]);
  const report = JSON.parse(stdout) as Record<string, string>;
  t.regex(report['fatal'] ?? '', /^DISK_FULL: .*EFBIG/u);
  t.is(Number(report['durableSeq']), 0);
});
