/** The log in use, on the disk in memory: groups, order, cut, reset, read, and failing hardware. */

import test from 'ava';
import { InvariantError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { NotInLogError } from '../../src/log/segmented-log.js';
import { filledDisk, logDirectory, makeRecord, openLog, range, seqs } from './support.js';

function gate(): { promise: Promise<void>; open: () => void } {
  let open = (): void => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

const isLogWrite = (path: string): boolean => path.endsWith('.log');

test('what is appended in one turn is one group, what comes meanwhile the next', async (t) => {
  const { disk, log, listener } = await filledDisk([makeRecord(1)], 4096);
  const { promise, open } = gate();
  disk.setFault(({ kind, path }) =>
    kind === 'write' && isLogWrite(path) ? { until: promise } : undefined,
  );
  for (const seq of [2, 3]) log.append(makeRecord(seq));
  await Promise.resolve();
  for (const seq of [4, 5, 6]) log.append(makeRecord(seq));
  t.is(log.lastSeq, 6);
  t.is(log.durableSeq, 1);
  open();
  await listener.durableThrough(6);
  t.deepEqual(listener.durable, [1, 3, 6]);
});

test('a record out of order, or of a lower epoch, is refused', async (t) => {
  const { log } = await filledDisk([makeRecord(1, { epoch: 5 })]);
  t.throws(() => log.append(makeRecord(3, { epoch: 5 })), { instanceOf: InvariantError });
  t.throws(() => log.append(makeRecord(2, { epoch: 4 })), { instanceOf: InvariantError });
  log.append(makeRecord(2, { epoch: 6 }));
  t.deepEqual([log.epochAt(1), log.epochAt(2), log.lastEpoch], [5, 6, 6]);
});

test('records spread over segments, one larger than a segment has its own', async (t) => {
  const records = range(1, 40).map((seq) => makeRecord(seq, { bytes: seq === 20 ? 5000 : 100 }));
  const { disk, log } = await filledDisk(records);
  await log.close();
  t.true(disk.paths().filter(isLogWrite).length > 3);
  t.true(disk.contents(`${logDirectory}/${'20'.padStart(16, '0')}.log`).length > 5000);
  const again = await openLog(disk);
  t.deepEqual(seqs(again.records), range(1, 40));
  t.deepEqual(again.log.recovery, { outcome: 'whole', tornBytes: 0, stale: false });
});

test('D7: a partial write is completed', async (t) => {
  const { disk, log, listener } = await filledDisk([makeRecord(1)]);
  disk.setFault(({ kind, path }) =>
    kind === 'write' && isLogWrite(path) ? { bytes: 7 } : undefined,
  );
  log.append(makeRecord(2));
  await listener.durableThrough(2);
  disk.crash();
  t.deepEqual(seqs((await openLog(disk)).records), [1, 2]);
});

for (const [code, fault] of [
  ['STORAGE', { error: 'EIO' }],
  ['DISK_FULL', { error: 'ENOSPC', bytes: 50 }],
  ['STORAGE', { bytes: 0 }],
] as const) {
  test(`D5, D7: a failed write is fatal, once, and never retried: ${JSON.stringify(fault)}`, async (t) => {
    const { disk, log, listener } = await filledDisk([makeRecord(1)], 4096);
    let failures = 0;
    disk.setFault(({ kind, path }) => {
      if (kind !== 'write' || !isLogWrite(path)) return undefined;
      return failures++ === 0 ? fault : undefined;
    });
    log.append(makeRecord(2));
    const error = await listener.fatal();
    t.is(error.code, code);
    log.append(makeRecord(3));
    await t.throwsAsync(log.cut(1), { code });
    await t.throwsAsync(log.read(1, 100), { code });
    await log.close();
    t.is(failures, 1);
    t.is(listener.errors.length, 1);
    t.deepEqual(listener.durable, [1]);
  });
}

test('D5: a failing spare segment is fatal, and rejects what waits', async (t) => {
  const disk = new MemoryDisk();
  disk.setFault(({ kind }) => (kind === 'sync' ? { error: 'EIO' } : undefined));
  const { log, listener } = await openLog(disk);
  log.append(makeRecord(1));
  await t.throwsAsync(log.cut(1), { code: 'STORAGE' });
  t.is((await listener.fatal()).code, 'STORAGE');
  t.deepEqual(listener.durable, []);
  await log.close();
});

test('cut drops what waits, what is written, and whole segments; appends go on behind it', async (t) => {
  const records = range(1, 40).map((seq) => makeRecord(seq, { bytes: 100 }));
  const { disk, log, listener } = await filledDisk(records);
  log.append(makeRecord(41));
  const cut = log.cut(13);
  t.deepEqual([log.lastSeq, log.durableSeq], [13, 13]);
  log.append(makeRecord(14, { epoch: 2 }));
  await cut;
  await log.close();
  t.is(listener.durable.at(-1), 14);
  const again = await openLog(disk);
  t.deepEqual(seqs(again.records), range(1, 14));
  t.is(again.log.lastEpoch, 2);
});

test('a cut during a write is never overtaken by its completion', async (t) => {
  const { disk, log, listener } = await filledDisk([makeRecord(1)], 4096);
  const { promise, open } = gate();
  disk.setFault(({ kind, path }) =>
    kind === 'write' && isLogWrite(path) ? { until: promise } : undefined,
  );
  for (const seq of [2, 3, 4]) log.append(makeRecord(seq));
  await Promise.resolve();
  const cut = log.cut(2);
  log.append(makeRecord(3, { epoch: 7 }));
  open();
  await cut;
  t.true(listener.durable.every((seq) => seq <= 2));
  await listener.durableThrough(3);
  disk.crash();
  const again = await openLog(disk);
  t.deepEqual(
    again.records.map((record) => [record.firstSeq, record.epoch]),
    [
      [1, 1],
      [2, 1],
      [3, 7],
    ],
  );
});

test('a cut must be between records, inside the log', async (t) => {
  const { log, listener } = await filledDisk([makeRecord(1, { count: 3 })]);
  log.append(makeRecord(4, { count: 3 }));
  await t.throwsAsync(log.cut(5), { instanceOf: InvariantError });
  await t.throwsAsync(log.cut(7), { instanceOf: InvariantError });
  await t.throwsAsync(log.cut(-1), { instanceOf: InvariantError });
  t.is(log.lastSeq, 6);
  await listener.durableThrough(6);
  await t.throwsAsync(log.cut(2), { instanceOf: InvariantError });
  t.is((await listener.fatal()).code, 'STORAGE');
});

test('a cut to nothing, then a new beginning', async (t) => {
  const { disk, log } = await filledDisk(range(1, 20).map((seq) => makeRecord(seq)));
  await log.cut(0);
  log.append(makeRecord(1, { epoch: 9 }));
  await log.close();
  t.deepEqual(
    (await openLog(disk)).records.map((record) => record.epoch),
    [9],
  );
});

test('reset begins anew behind the base', async (t) => {
  const { disk, log, listener } = await filledDisk(range(1, 20).map((seq) => makeRecord(seq)));
  log.append(makeRecord(21));
  const reset = log.reset({ seq: 100, epoch: 4 });
  t.deepEqual([log.firstSeq, log.lastSeq, log.durableSeq], [101, 100, 100]);
  log.append(makeRecord(101, { epoch: 4 }));
  await reset;
  await listener.durableThrough(101);
  disk.crash();
  const again = await openLog(disk, { base: { seq: 100, epoch: 4 } });
  t.deepEqual(seqs(again.records), [101]);
});

test('read gives whole records from a boundary, as many as fit, at least one', async (t) => {
  const records = range(0, 29).map((index) =>
    makeRecord(index * 2 + 1, { count: 2, bytes: 100, fill: index }),
  );
  const { log } = await filledDisk(records);
  t.deepEqual(seqs(await log.read(5, 1)), [5]);
  t.deepEqual(seqs(await log.read(5, 300)), [5, 7]);
  const all = await log.read(1, 1e6);
  t.deepEqual(
    all.map((record) => [...record.bytes]),
    records.map((record) => [...record.bytes]),
  );
  t.deepEqual(await log.read(61, 1e6), []);
  await t.throwsAsync(log.read(6, 100), { instanceOf: InvariantError });
  await t.throwsAsync(log.read(0, 100), { instanceOf: NotInLogError });
});

test('read sees only what is durable, and rejects if a cut takes it back', async (t) => {
  const { disk, log } = await filledDisk(
    range(1, 10).map((seq) => makeRecord(seq)),
    4096,
  );
  const { promise, open } = gate();
  disk.setFault(({ kind }) =>
    kind === 'write' || kind === 'read' ? { until: promise } : undefined,
  );
  log.append(makeRecord(11));
  const below = log.read(1, 200);
  const all = log.read(1, 1e6);
  const cut = log.cut(5);
  log.append(makeRecord(6, { epoch: 2 }));
  open();
  await t.throwsAsync(all, { instanceOf: NotInLogError });
  await t.throwsAsync(below, { instanceOf: NotInLogError });
  await cut;
  await log.close();
});

test('bytesAfter is about what lies behind', async (t) => {
  const records = range(1, 100).map((seq) => makeRecord(seq, { bytes: 10_000 }));
  const { log } = await filledDisk(records, 300_000);
  t.is(log.bytesAfter(100), 0);
  t.true(log.bytesAfter(0) > 1_000_000);
  const half = log.bytesAfter(50);
  t.true(half > 500_000 && half < 580_000, String(half));
  log.append(makeRecord(101, { bytes: 10_000 }));
  t.true(log.bytesAfter(100) > 10_000);
});
