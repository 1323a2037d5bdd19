/** Snapshots at rest: whole or not there, whatever a crash or rot does. */

import test from 'ava';
import { DataDamagedError, InvariantError, StorageError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import { filledDisk, makeRecord, openLog, range, seqs } from './support.js';

const directory = '/data/snapshots';

function openStore(disk: MemoryDisk): Promise<SnapshotStore> {
  return SnapshotStore.open({ disk: disk.mount(), directory });
}

async function writeSnapshot(store: SnapshotStore, seq: number, chunks: string[]): Promise<void> {
  const writer = await store.create({ seq, epoch: 2, note: 'opaque' });
  for (const chunk of chunks) await writer.write(Buffer.from(chunk));
  await writer.finish();
}

async function readSnapshot(store: SnapshotStore): Promise<{ seq: number; chunks: string[] }> {
  const reader = await store.newest();
  if (!reader) return { seq: 0, chunks: [] };
  const chunks: string[] = [];
  for await (const chunk of reader.chunks()) chunks.push(Buffer.from(chunk).toString());
  return { seq: reader.meta.seq, chunks };
}

test('the newest is read back, older ones are gone, an aborted one was never there', async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  t.is(await store.newest(), undefined);
  await writeSnapshot(store, 5, ['old']);
  await writeSnapshot(store, 9, ['a', 'bc', 'def']);
  const writer = await store.create({ seq: 12, epoch: 3 });
  await writer.write(Buffer.from('x'));
  await writer.abort();
  await t.throwsAsync(writer.write(Buffer.from('y')), { instanceOf: InvariantError });
  const older = await store.create({ seq: 8, epoch: 2 });
  await t.throwsAsync(older.finish(), { instanceOf: InvariantError });
  t.deepEqual(disk.paths(), [`${directory}/${'9'.padStart(16, '0')}.snapshot`]);
  disk.crash();
  const again = await openStore(disk);
  t.deepEqual(await readSnapshot(again), { seq: 9, chunks: ['a', 'bc', 'def'] });
  t.like((await again.newest())?.meta, { seq: 9, epoch: 2, note: 'opaque' });
  await again.removeAll();
  t.is(await again.newest(), undefined);
});

test('D2: a power cut at any operation leaves the old or the new one, whole', async (t) => {
  const outcomes = new Set<number>();
  for (let stop = 0; stop < 40; stop++) {
    for (const survives of [0, 1e9]) {
      const disk = new MemoryDisk();
      const store = await openStore(disk);
      await writeSnapshot(store, 5, ['old']);
      let operations = 0;
      let stopped = (): void => {};
      const atStop = new Promise<void>((resolve) => {
        stopped = resolve;
      });
      disk.setFault(() => {
        if (operations++ < stop) return undefined;
        stopped();
        return { until: new Promise(() => {}) };
      });
      await Promise.race([writeSnapshot(store, 9, ['new', 'er']), atStop]);
      disk.crash(() => survives);
      const found = await readSnapshot(await openStore(disk));
      t.deepEqual(found.chunks, found.seq === 5 ? ['old'] : ['new', 'er']);
      outcomes.add(found.seq);
    }
  }
  t.deepEqual(
    [...outcomes].sort((left, right) => left - right),
    [5, 9],
  );
});

test('D3: every flipped bit and every truncation is found', async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await writeSnapshot(store, 5, ['one', 'three']);
  const [path = ''] = disk.paths();
  const { length } = disk.contents(path);
  for (let bit = 0; bit < length * 8; bit++) {
    disk.flipBit(path, bit);
    await t.throwsAsync(readSnapshot(store), { instanceOf: DataDamagedError }, `bit ${bit}`);
    disk.flipBit(path, bit);
  }
  t.deepEqual((await readSnapshot(store)).chunks, ['one', 'three']);
  const file = await disk.open(path, 'write');
  for (let size = length - 1; size >= 0; size--) {
    await file.truncate(size);
    await t.throwsAsync(readSnapshot(store), { instanceOf: DataDamagedError }, `${size} bytes`);
  }
});

test('D5: a failed sync rejects and leaves the old one', async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await writeSnapshot(store, 5, ['old']);
  disk.setFault(({ kind }) => (kind === 'sync' ? { error: 'EIO' } : undefined));
  await t.throwsAsync(writeSnapshot(store, 9, ['new']), { instanceOf: StorageError });
  t.is((await readSnapshot(store)).seq, 5);
});

test('D2: a power cut between a snapshot and the reset of the log is put right', async (t) => {
  for (let stop = 0; stop < 12; stop++) {
    const { disk, log } = await filledDisk(
      range(1, 30).map((seq) => makeRecord(seq, { bytes: 99 })),
    );
    await writeSnapshot(await openStore(disk), 20, ['state']);
    let operations = 0;
    let stopped = (): void => {};
    const atStop = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    disk.setFault(() => {
      if (operations++ < stop) return undefined;
      stopped();
      return { until: new Promise(() => {}) };
    });
    await Promise.race([log.reset({ seq: 20, epoch: 2 }), atStop]);
    disk.crash((change) => stop % 2 && change.length);
    const reader = await (await openStore(disk)).newest();
    const base = reader?.meta ?? { seq: 0, epoch: 0 };
    const again = await openLog(disk, { base });
    t.deepEqual([again.log.lastSeq, again.log.firstSeq, seqs(again.records)], [20, 21, []]);
  }
});
