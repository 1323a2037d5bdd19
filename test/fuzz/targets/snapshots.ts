/**
 * Snapshot files and backups. Every byte of one is under a checksum, so a changed one is refused; one that was
 * sealed anew with other content (a backup comes from anywhere) makes a table that fits its head, or is refused.
 */
import { crc32 } from 'node:zlib';
import { type BackupMetadata, formatBackupMetadata } from '../../../src/backup/backup-file.js';
import { verifyBackup } from '../../../src/backup/read-backup.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { createSnapshotFile, openSnapshotFile } from '../../../src/log/snapshot-file.js';
import type { Machine } from '../../../src/machine/machine.js';
import { encodePage, type TableEntry } from '../../../src/protocol/messages.js';
import { machineFrom } from '../../../src/server/recovery.js';
import { metadataOf, parseMetadata } from '../../../src/server/snapshots/metadata.js';
import { stateHashOf } from '../../backup/support.js';
import type { Random } from '../../support/random.js';
import { withAsyncAllocationsUpTo } from '../allocations.js';
import { mutatedJson } from '../json-mutations.js';
import { mutatedProtobuf } from '../protobuf-mutations.js';
import { assertHolds, type Target, unlessRefusedLater, type Verdict, words } from '../target.js';

const path = '/data/snapshots/file';
const slabBytes = 4 * 1024 * 1024;
const entries: readonly TableEntry[] = [1, 2, 3, 4, 5].map((version) => ({
  key: Buffer.from(`key ${version}`),
  value: Buffer.alloc(10 * version, version),
  version,
}));
const runs = [
  { epoch: 3, lastSeq: 60 },
  { epoch: 7, lastSeq: 100 },
];
const about = { id: 'file-1', keys: entries.length, stateHash: stateHashOf(entries) };
const backup: BackupMetadata = {
  clusterId: 'c',
  cluster: 'orders',
  seq: 100,
  epoch: 7,
  runs,
  keys: about.keys,
  stateHash: about.stateHash,
  createdAt: '2026-01-01T00:00:00.000Z',
  writtenBy: 'a test',
};
const heads = [metadataOf(runs, about), formatBackupMetadata(backup)] as const;

async function fileOf(meta: (typeof heads)[number]): Promise<Buffer> {
  const disk = new MemoryDisk();
  const writer = await createSnapshotFile({ disk, path, meta });
  for (const page of [entries.slice(0, 2), entries.slice(2)]) {
    await writer.write(encodePage({ entries: page, last: false }));
  }
  await writer.finish();
  return disk.contents(path);
}

async function diskWith(bytes: Uint8Array): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await (await disk.open(path, 'create')).write([bytes], 0);
  return disk;
}

/** What a server does with its newest snapshot at start. */
async function restored(disk: MemoryDisk): Promise<Machine> {
  const reader = await openSnapshotFile(disk, path);
  parseMetadata(reader.meta);
  return machineFrom(reader);
}

function check(read: (disk: MemoryDisk) => Promise<Machine>): Target['check'] {
  return async (input): Promise<Verdict> => {
    const disk = await diskWith(input);
    const bytesMax = 4 * input.length + slabBytes;
    const machine = await withAsyncAllocationsUpTo(bytesMax, () =>
      unlessRefusedLater(() => read(disk)),
    );
    if (machine === undefined) return 'refused';
    const { meta } = await openSnapshotFile(disk, path);
    assertHolds(meta['stateHash'] === machine.stateHash, 'the table is not the one of its head');
    assertHolds(meta.seq === machine.appliedSeq && meta.seq > 0, 'it is of another op');
    return 'accepted';
  };
}

/** The parts of a file, changed, under checksums that are right. */
function mutate(original: Uint8Array, random: Random): Uint8Array {
  const source = Buffer.from(original);
  if (source.length < 20 || 20 + source.readUInt32LE(12) > source.length) return source;
  let meta = source.toString('utf8', 20, 20 + source.readUInt32LE(12));
  let chunks = chunksOf(source);
  if (random(2) === 0) meta = mutatedJson(parsed(meta), random);
  if (random(2) === 0) {
    const changed = random(chunks.length);
    chunks = chunks.map((chunk, index) =>
      index === changed ? mutatedProtobuf(chunk, random) : chunk,
    );
  }
  if (random(8) === 0) chunks = chunks.slice(1);
  if (random(8) === 0) chunks = [...chunks, ...chunks.slice(0, 1)];
  return sealed(random(20) === 0 ? meta.slice(0, random(meta.length)) : meta, chunks);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return heads[1];
  }
}

function chunksOf(source: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 20 + source.readUInt32LE(12); at + 8 <= source.length; ) {
    const length = source.readUInt32LE(at);
    if (length === 0 || at + 8 + length > source.length) break;
    chunks.push(source.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return chunks;
}

function sealed(meta: string, chunks: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(20);
  header.write('CATENASN', 'latin1');
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(Buffer.byteLength(meta), 12);
  header.writeUInt32LE(crc32(meta, crc32(header.subarray(0, 16))), 16);
  const trailer = Buffer.alloc(20);
  trailer.writeUInt32LE(chunks.length, 8);
  let checksum = 0;
  for (const chunk of chunks) checksum = crc32(chunk, checksum);
  trailer.writeUInt32LE(checksum, 16);
  trailer.writeUInt32LE(crc32(trailer.subarray(8)), 4);
  const framed = chunks.flatMap((chunk) => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(chunk.length);
    head.writeUInt32LE(crc32(chunk), 4);
    return [head, chunk];
  });
  return Buffer.concat([header, Buffer.from(meta), ...framed, trailer]);
}

export async function snapshotTargets(): Promise<Target[]> {
  const [snapshot, backup] = await Promise.all(heads.map(fileOf));
  const dictionary = words('CATENASN', '"runs":', '"seq":', '"kind":"backup"', '\0\0\0\0', 'null');
  const common = { bytesMax: 16_384, dictionary, mutate };
  return [
    {
      ...common,
      name: 'snapshot',
      inputs: 20_000,
      corpus: [snapshot as Buffer],
      check: check(restored),
    },
    {
      ...common,
      name: 'backup',
      inputs: 20_000,
      corpus: [backup as Buffer],
      check: check(async (disk) => (await verifyBackup(disk, path)).machine),
    },
  ];
}
