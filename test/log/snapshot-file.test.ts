/** Files of chunks: what is written is read, from any chunk on; verified wholly; published once whole. */

import { crc32 } from 'node:zlib';
import test from 'ava';
import * as fc from 'fast-check';
import { DataDamagedError, InvariantError, RefusedToStartError } from '../../src/errors.js';
import type { DiskOperation } from '../../src/log/memory-disk.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import type { SnapshotReader } from '../../src/log/snapshot-file.js';
import {
  createSnapshotFile,
  openSnapshotFile,
  verifySnapshotFile,
} from '../../src/log/snapshot-file.js';
import { SnapshotStore } from '../../src/log/snapshot-store.js';
import { range } from './support.js';

const path = '/backups/one';
const meta = { seq: 7, epoch: 2, note: 'opaque', nested: { list: [1, 2] } };

async function write(disk: MemoryDisk, chunks: readonly Uint8Array[]): Promise<void> {
  const writer = await createSnapshotFile({ disk, path, meta });
  for (const [index, chunk] of chunks.entries()) {
    await writer.write(chunk);
    if (writer.count !== index + 1) throw new Error(`${writer.count} chunks counted`);
  }
  await writer.finish();
}

async function read(disk: MemoryDisk, first?: number): Promise<Buffer[]> {
  const reader = await openSnapshotFile(disk, path);
  try {
    return await collect(reader.chunks(first));
  } finally {
    await reader.close();
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for await (const chunk of chunks) found.push(Buffer.from(chunk));
  return found;
}

async function textOf(reader: SnapshotReader | undefined): Promise<string> {
  return reader ? String(await collect(reader.chunks())) : 'none';
}

test('what was written is read back, from any chunk on', async (t) => {
  const chunk = fc.uint8Array({ minLength: 1, maxLength: 50 });
  const run = async (chunks: Uint8Array[], from: number): Promise<void> => {
    const disk = new MemoryDisk();
    await write(disk, chunks);
    const first = from % (chunks.length + 1);
    const expected = chunks.map((each) => Buffer.from(each));
    t.deepEqual(await read(disk), expected);
    t.deepEqual(await read(disk, first), expected.slice(first));
    const bytes = chunks.reduce((total, { byteLength }) => total + byteLength, 0);
    t.deepEqual(await verifySnapshotFile(disk, path), { meta, count: chunks.length, bytes });
  };
  await fc.assert(fc.asyncProperty(fc.array(chunk, { maxLength: 12 }), fc.nat(100), run));
});

test('a file can be read again and at the same time, and no more after close', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.from('a'), Buffer.from('bc'), Buffer.from('def')]);
  const reader = await openSnapshotFile(disk, path);
  t.deepEqual([reader.count, reader.bytes, reader.meta], [3, 6, meta]);
  for await (const _ of reader.chunks()) break;
  const both = await Promise.all([collect(reader.chunks(1)), collect(reader.chunks())]);
  t.deepEqual(both.map(String), ['bc,def', 'a,bc,def']);
  t.deepEqual(await collect(reader.chunks(3)), []);
  await t.throwsAsync(collect(reader.chunks(4)), { instanceOf: InvariantError });
  const rest = reader.chunks();
  await rest.next();
  await reader.close();
  await reader.close();
  await t.throwsAsync(rest.next(), { instanceOf: InvariantError });
});

test('of the chunks that are skipped only the headers are read', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.alloc(100_000, 1), Buffer.alloc(100_000, 2), Buffer.from('x')]);
  const reader = await openSnapshotFile(disk, path);
  let bytes = 0;
  disk.setFault(({ kind, length = 0 }) => {
    if (kind === 'read') bytes += length;
    return undefined;
  });
  t.deepEqual((await collect(reader.chunks(2))).map(String), ['x']);
  t.is(bytes, 3 * 8 + 1);
});

test('a close while it is read waits for the read', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.from('a')]);
  const reader = await openSnapshotFile(disk, path);
  let open = (): void => {};
  const until = new Promise<void>((resolve) => {
    open = resolve;
  });
  disk.setFault(({ kind }) => (kind === 'read' ? { until } : undefined));
  const reading = reader.chunks().next();
  let isClosed = false;
  const closing = reader.close().then(() => {
    isClosed = true;
  });
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  t.false(isClosed);
  open();
  await t.throwsAsync(reading, { instanceOf: InvariantError });
  await closing;
});

test('it is synced as it grows, and whole before it has its name', async (t) => {
  const MiB = 1024 * 1024;
  const disk = new MemoryDisk();
  const operations: DiskOperation[] = [];
  disk.setFault((operation) => {
    operations.push(operation);
    return undefined;
  });
  await write(
    disk,
    range(1, 18).map((fill) => Buffer.alloc(MiB / 2, fill)),
  );
  let unsynced = 0;
  let largest = 0;
  for (const { kind, length = 0 } of operations) {
    if (kind === 'write') unsynced += length;
    largest = Math.max(largest, unsynced);
    if (kind === 'sync') unsynced = 0;
    if (kind === 'rename') t.is(unsynced, 0);
  }
  t.true(largest < 5 * MiB, `${largest} bytes at once`);
  t.deepEqual(
    operations.slice(-3).map(({ kind, path }) => [kind, path]),
    [
      ['sync', `${path}.partial`],
      ['rename', `${path}.partial`],
      ['sync-directory', '/backups'],
    ],
  );
});

test('D3: a flipped bit at every byte, and every shorter length, is found', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.from('one'), Buffer.from('three')]);
  const { length } = disk.contents(path);
  for (let bit = 0; bit < length * 8; bit++) {
    disk.flipBit(path, bit);
    await t.throwsAsync(verifySnapshotFile(disk, path), { instanceOf: DataDamagedError }, `${bit}`);
    disk.flipBit(path, bit);
  }
  const file = await disk.open(path, 'write');
  await verifySnapshotFile(disk, path);
  for (let size = length - 1; size >= 0; size--) {
    await file.truncate(size);
    await t.throwsAsync(openSnapshotFile(disk, path), { instanceOf: DataDamagedError }, `${size}`);
  }
});

test('D3: chunks that were exchanged, left out or repeated are found', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.from('abc'), Buffer.from('def'), Buffer.from('ghi')]);
  const bytes = disk.contents(path);
  const start = bytes.length - 20 - 3 * 11;
  const chunk = (number: number): Buffer =>
    bytes.subarray(start + number * 11, start + number * 11 + 11);
  for (const order of [[1, 0, 2], [0, 1], [0, 1, 2, 2], [0, 0, 2], []]) {
    const parts = [bytes.subarray(0, start), ...order.map(chunk), bytes.subarray(-20)];
    await replace(disk, Buffer.concat(parts));
    await t.throwsAsync(verifySnapshotFile(disk, path), { instanceOf: DataDamagedError });
  }
  await replace(disk, bytes);
  await verifySnapshotFile(disk, path);
});

test('O3: another format version is refused with a clear message', async (t) => {
  const disk = new MemoryDisk();
  await write(disk, [Buffer.from('abc')]);
  const bytes = disk.contents(path);
  bytes.writeUInt32LE(2, 8);
  const length = 20 + bytes.readUInt32LE(12);
  bytes.writeUInt32LE(crc32(bytes.subarray(20, length), crc32(bytes.subarray(0, 16))), 16);
  await replace(disk, bytes);
  const error = await t.throwsAsync(openSnapshotFile(disk, path), {
    instanceOf: RefusedToStartError,
  });
  t.regex(error?.message ?? '', /format version 2; this release reads version 1/u);
});

test('a reader keeps what it opened when a newer snapshot takes its place', async (t) => {
  const disk = new MemoryDisk();
  const store = await SnapshotStore.open({ disk, directory: '/data/snapshots' });
  const put = async (seq: number, text: string): Promise<void> => {
    const writer = await store.create({ seq, epoch: 1 });
    await writer.write(Buffer.from(text));
    await writer.finish();
  };
  await put(5, 'old');
  const reader = await store.newest();
  await put(5, 'same seq');
  await put(9, 'new');
  t.is(disk.paths().length, 1);
  t.is(await textOf(reader), 'old');
  await reader?.close();
  t.is(await textOf(await store.newest()), 'new');
});

test('the newest that is replaced while it is opened is looked for again', async (t) => {
  const disk = new MemoryDisk();
  const store = await SnapshotStore.open({ disk, directory: '/data/snapshots' });
  await (await store.create({ seq: 5, epoch: 1 })).finish();
  const writer = await store.create({ seq: 9, epoch: 1 });
  let isReplaced = false;
  let finished: Promise<void> | undefined;
  disk.setFault(({ kind }) => {
    if (kind !== 'open' || isReplaced) return undefined;
    isReplaced = true;
    finished = writer.finish();
    return { until: finished, error: 'ENOENT' };
  });
  t.is((await store.newest())?.meta.seq, 9);
  t.true(isReplaced);
  await finished;
});

test('two writers of one seq do not mix, and an older one is refused at its end', async (t) => {
  const disk = new MemoryDisk();
  const store = await SnapshotStore.open({ disk, directory: '/data/snapshots' });
  const [left, right, older] = await Promise.all(
    [9, 9, 8].map((seq) => store.create({ seq, epoch: 1 })),
  );
  if (!left || !right || !older) throw new Error('no writers');
  await left.write(Buffer.from('left'));
  await right.write(Buffer.from('right'));
  await left.finish();
  t.is(await textOf(await store.newest()), 'left');
  await right.finish();
  t.is(await textOf(await store.newest()), 'right');
  await t.throwsAsync(older.finish(), { instanceOf: InvariantError });
  t.is(disk.paths().length, 1);
});

async function replace(disk: MemoryDisk, bytes: Buffer): Promise<void> {
  const file = await disk.open(path, 'write');
  await file.truncate(0);
  await file.write([bytes], 0);
}
