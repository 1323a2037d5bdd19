/** Only a whole backup passes: any byte missing or changed, and any entry that does not fit, is found. */
import { crc32 } from 'node:zlib';
import test from 'ava';
import { verifyBackup } from '../../src/backup/read-backup.js';
import {
  BadRequestError,
  type CatenaError,
  DataDamagedError,
  RefusedToStartError,
} from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { createSnapshotFile } from '../../src/log/snapshot-file.js';
import type { TableEntry } from '../../src/protocol/messages.js';
import { backupPath, diskWithBackup, stateHashOf, writeByHand, writeFile } from './support.js';

const entry = (key: string, version: number): TableEntry => ({
  key: Buffer.from(key),
  value: Buffer.from(`of ${key}`),
  version,
});

/** Why a file with this content is refused; undefined if it passes. */
async function refusalOf(content: Uint8Array): Promise<CatenaError | undefined> {
  const disk = new MemoryDisk();
  await writeFile(disk, backupPath, content);
  return verifyBackup(disk, backupPath).then(
    () => undefined,
    (error: CatenaError) => error,
  );
}

const isRefusal = (error: unknown): boolean =>
  error instanceof DataDamagedError || error instanceof RefusedToStartError;

test('cut off at every length it is refused', async (t) => {
  const content = (await diskWithBackup(8)).contents(backupPath);
  t.is(await refusalOf(content), undefined);
  for (let length = 0; length < content.length; length++) {
    const error = await refusalOf(content.subarray(0, length));
    t.true(isRefusal(error), `${length} of ${content.length} bytes: ${String(error)}`);
  }
});

test('with one bit flipped, anywhere, it is refused', async (t) => {
  const disk = await diskWithBackup(8);
  const { length } = disk.contents(backupPath);
  for (let at = 0; at < length; at++) {
    const bit = at * 8 + (at % 8);
    disk.flipBit(backupPath, bit);
    const error: unknown = await verifyBackup(disk, backupPath).catch((error: unknown) => error);
    t.true(isRefusal(error), `byte ${at} of ${length}: ${String(error)}`);
    disk.flipBit(backupPath, bit);
  }
  t.is((await verifyBackup(disk, backupPath)).metadata.keys, 8);
});

test('something behind its end is refused', async (t) => {
  const content = (await diskWithBackup(3)).contents(backupPath);
  t.true((await refusalOf(Buffer.concat([content, Buffer.alloc(1)]))) instanceof DataDamagedError);
});

test('the format of another release is named, not called damage', async (t) => {
  const content = (await diskWithBackup(3)).contents(backupPath);
  content.writeUInt32LE(2, 8);
  const headerEnd = 20 + content.readUInt32LE(12);
  content.writeUInt32LE(crc32(content.subarray(20, headerEnd), crc32(content.subarray(0, 16))), 16);
  const error = await refusalOf(content);
  t.true(error instanceof RefusedToStartError);
  t.regex(error?.message ?? '', /format version 2; this release reads version 1/);
  const disk = new MemoryDisk();
  await writeByHand(disk, [entry('a', 1)], { formatVersion: 9 });
  await t.throwsAsync(verifyBackup(disk, backupPath), {
    instanceOf: RefusedToStartError,
    message: /format version 9; this release reads version 1: use the release that wrote it/,
  });
});

test('a cluster so old that its first epochs are not told apart any more has backups, too', async (t) => {
  const disk = new MemoryDisk();
  const runs = [
    { epoch: 0, lastSeq: 60 },
    { epoch: 7, lastSeq: 100 },
  ];
  await writeByHand(disk, [entry('a', 1)], { runs });
  t.deepEqual((await verifyBackup(disk, backupPath)).metadata.runs, runs);
});

test('what is no backup is called that', async (t) => {
  for (const content of ['', 'key\tvalue\n', '{"json": true}']) {
    const error = await refusalOf(Buffer.from(content));
    t.true(error instanceof RefusedToStartError, content);
    t.regex(error?.message ?? '', /is no backup/);
  }
  const disk = new MemoryDisk();
  const meta = { seq: 1, epoch: 1, runs: [{ epoch: 1, lastSeq: 1 }], id: 'x', keys: 0 };
  await (await createSnapshotFile({ disk, path: backupPath, meta })).finish();
  await t.throwsAsync(verifyBackup(disk, backupPath), {
    instanceOf: RefusedToStartError,
    message: /a server's own snapshot/,
  });
  await t.throwsAsync(verifyBackup(disk, '/backups/none'), {
    instanceOf: BadRequestError,
    message: /no file/,
  });
});

test('entries that do not make the state that the head names are refused', async (t) => {
  const [a, b, late] = [entry('a', 1), entry('b', 100), entry('late', 101)];
  for (const [what, entries, change, message] of [
    ['one entry missing', [a], { keys: 2 }, /1 keys in 1 entries, not 2/],
    ['a key twice', [a, entry('a', 2)], { stateHash: stateHashOf([a]) }, /1 keys in 2 entries/],
    ['another value', [a, b], { stateHash: stateHashOf([a]) }, /the state hash is/],
    ['another version', [a, b], { stateHash: stateHashOf([a, entry('b', 99)]) }, /the state hash/],
    ['a version after the last op', [a, late], {}, /cannot be of seq 100/],
    ['no version', [entry('a', 0)], {}, /cannot be/],
    ['an empty key', [entry('', 1)], { stateHash: 'any' }, /cannot be/],
    ['another seq', [a], { seq: 99 }, /the head .* makes no sense/],
    ['another epoch', [a], { epoch: 6 }, /makes no sense/],
    ['no runs', [a], { runs: [] }, /makes no sense/],
    [
      'runs that fall',
      [a],
      {
        runs: [
          { epoch: 9, lastSeq: 4 },
          { epoch: 7, lastSeq: 100 },
        ],
      },
      /sense/,
    ],
    ['no hash', [a], { stateHash: null }, /makes no sense/],
  ] as const) {
    const disk = new MemoryDisk();
    await writeByHand(disk, entries, change as Record<string, unknown>);
    const error = await t.throwsAsync(verifyBackup(disk, backupPath), {
      instanceOf: DataDamagedError,
    });
    t.regex(error?.message ?? '', message, what);
  }
});
