/** Trimming the log: whole segments go from its front, what is read or cut meanwhile, and power cuts. */

import test from 'ava';
import * as fc from 'fast-check';
import { StorageError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import type { LogBase, SegmentedLog } from '../../src/log/segmented-log.js';
import { NotInLogError } from '../../src/log/segmented-log.js';
import { filledDisk, isLogFile, makeRecord, openLog, range, seqs, stopAt } from './support.js';

/** Segments of 1024 bytes hold 5 records of 144 bytes with their markers: 1-5, 6-10, … */
const records = (through: number): ReturnType<typeof makeRecord>[] =>
  range(1, through).map((seq) => makeRecord(seq, { bytes: 100, epoch: Math.ceil(seq / 8) }));

const base = (seq: number): LogBase => ({ seq, epoch: Math.ceil(seq / 8) });

function segmentFirsts(disk: MemoryDisk): number[] {
  return disk
    .paths()
    .filter(isLogFile)
    .map((path) => Number(path.slice(-20, -4)));
}

test('trim removes the segments that lie wholly below, and a later start finds the rest', async (t) => {
  const { disk, log } = await filledDisk(records(30));
  t.deepEqual(segmentFirsts(disk), [1, 6, 11, 16, 21, 26]);
  const trimmed = log.trim(15);
  t.is(log.firstSeq, 11, 'at once');
  await t.throwsAsync(log.read(10, 1e6), { instanceOf: NotInLogError });
  t.deepEqual(seqs(await log.read(11, 1e6)), range(11, 30));
  await trimmed;
  t.deepEqual(segmentFirsts(disk), [11, 16, 21, 26]);
  t.deepEqual([log.epochAt(10), log.epochAt(11), log.epochAt(17), log.lastEpoch], [2, 2, 3, 4]);
  disk.crash();
  const again = await openLog(disk, { base: base(14) });
  t.deepEqual(seqs(again.records), range(15, 30));
  t.is(again.log.firstSeq, 11);
  t.is(again.log.epochAt(10), 2);
});

test('trim never removes the last segment, nor one with a record at or above the seq', async (t) => {
  const { disk, log } = await filledDisk(records(12));
  await log.trim(5);
  t.deepEqual([log.firstSeq, segmentFirsts(disk)], [1, [1, 6, 11]]);
  await log.trim(6);
  t.deepEqual([log.firstSeq, segmentFirsts(disk)], [6, [6, 11]]);
  await log.trim(1e9);
  t.deepEqual([log.firstSeq, segmentFirsts(disk)], [11, [11]]);
  await log.trim(1);
  t.is(log.firstSeq, 11);
});

test('bytes are those in use; seqToKeep leaves at least so many', async (t) => {
  const { log } = await filledDisk(records(28));
  const segmentBytes = 40 + 5 * (144 + 32);
  t.is(log.bytes, 5 * segmentBytes + 40 + 3 * (144 + 32));
  t.deepEqual([log.seqToKeep(0), log.seqToKeep(1), log.seqToKeep(log.bytes)], [26, 26, 1]);
  t.is(log.seqToKeep(log.bytes + 1), 1);
  for (let bytesMin = 0; bytesMin <= log.bytes + 100; bytesMin += 50) {
    const copy = await filledDisk(records(28));
    const keep = copy.log.seqToKeep(bytesMin);
    await copy.log.trim(keep);
    t.is(copy.log.firstSeq, keep);
    t.true(copy.log.bytes >= Math.min(bytesMin, log.bytes));
    t.true(copy.log.bytes < bytesMin + 2 * segmentBytes);
  }
  const { log: empty } = await openLog(new MemoryDisk(), { base: { seq: 7, epoch: 1 } });
  t.deepEqual([empty.bytes, empty.seqToKeep(0), empty.seqToKeep(10)], [0, 8, 8]);
});

test('a read under way that needs what is trimmed rejects, others go on', async (t) => {
  for (const kind of ['open', 'read'] as const) {
    const { disk, log } = await filledDisk(records(30));
    let open = (): void => {};
    const until = new Promise<void>((resolve) => {
      open = resolve;
    });
    let held = 0;
    disk.setFault((operation) => {
      if (operation.kind !== kind || !isLogFile(operation.path)) return undefined;
      held++;
      return { until };
    });
    const below = log.read(3, 1e6);
    const above = log.read(16, 300);
    await Promise.resolve();
    const trimmed = log.trim(16);
    open();
    await t.throwsAsync(below, { instanceOf: NotInLogError });
    t.deepEqual(seqs(await above), [16, 17]);
    await trimmed;
    t.true(held > 0);
  }
});

test('a read that finds its file gone says that the log was trimmed, not that the disk failed', async (t) => {
  const { disk, log } = await filledDisk(records(30));
  // The read waits in its second segment while that is removed.
  let opens = 0;
  let trimmed: Promise<void> | undefined;
  disk.setFault(({ kind, path }) => {
    if (kind !== 'open' || !isLogFile(path) || ++opens !== 2) return undefined;
    trimmed = log.trim(21);
    return { until: trimmed, error: 'ENOENT' };
  });
  await t.throwsAsync(log.read(1, 1e6), { instanceOf: NotInLogError });
  await trimmed;
  t.true(opens >= 2);
  t.deepEqual(seqs(await log.read(21, 1e6)), range(21, 30));
});

test('appends go on between two segments, and the order with cut and reset is kept', async (t) => {
  const { disk, log, listener } = await filledDisk(records(30));
  const trims = [log.trim(21), log.trim(26)];
  log.append(makeRecord(31, { epoch: 9 }));
  await listener.durableThrough(31);
  t.true(segmentFirsts(disk).length > 2, 'it did not wait for the last file');
  await Promise.all(trims);
  t.deepEqual(segmentFirsts(disk)[0], 26);

  const { log: other, disk: otherDisk } = await filledDisk(records(30));
  const cut = other.cut(10);
  const trim = other.trim(1e9);
  t.is(other.firstSeq, 6, 'the segment that the cut makes the last one stays');
  await Promise.all([cut, trim]);
  t.deepEqual(segmentFirsts(otherDisk), [6]);
  const reset = other.reset({ seq: 3, epoch: 1 });
  const late = other.trim(7);
  t.is(other.firstSeq, 4);
  other.append(makeRecord(4, { bytes: 100 }));
  await Promise.all([reset, late]);
  await other.close();
  t.deepEqual(seqs((await openLog(otherDisk, { base: { seq: 3, epoch: 1 } })).records), [4]);
});

test('a segment that takes records again after a cut is not trimmed away with them', async (t) => {
  const { disk, log, listener } = await filledDisk([
    ...range(1, 10).map((seq) => makeRecord(seq, { bytes: 90 })),
    makeRecord(11, { bytes: 200 }),
  ]);
  t.deepEqual(segmentFirsts(disk), [1, 6, 11], 'the second one has room for a small record');
  const trim = log.trim(11);
  t.is(log.firstSeq, 11);
  // It comes before the removal of the second segment, and makes that the last one again.
  const cut = log.cut(10);
  log.append(makeRecord(11, { bytes: 8, epoch: 2 }));
  await Promise.all([trim, cut]);
  await listener.durableThrough(11);
  t.deepEqual(segmentFirsts(disk), [6]);
  log.append(makeRecord(12, { bytes: 200, epoch: 2 }));
  await listener.durableThrough(12);
  disk.crash();
  const again = await openLog(disk, { base: { seq: 10, epoch: 1 } });
  t.deepEqual(seqs(again.records), [11, 12]);
});

test('a failed removal is fatal, and whoever trims is told', async (t) => {
  for (const kind of ['remove', 'sync-directory'] as const) {
    const { disk, log, listener } = await filledDisk(records(30));
    disk.setFault((operation) => (operation.kind === kind ? { error: 'EIO' } : undefined));
    await t.throwsAsync(log.trim(21), { instanceOf: StorageError });
    t.is(listener.errors.length, 1);
    await t.throwsAsync(log.trim(26), { instanceOf: StorageError });
  }
});

test('D2: a power cut at any step of a trim leaves an end of the log, without a gap', async (t) => {
  const firsts = new Set<number>();
  let isDone = false;
  for (let stop = 0; !isDone; stop++) {
    for (const survives of [0, 1]) {
      const { disk, log } = await filledDisk(records(30));
      const stopped = stopAt(disk, stop);
      isDone = await Promise.race([log.trim(24).then(() => true), stopped.then(() => false)]);
      disk.crash((change) => survives * change.length);
      const again = await openLog(disk, { base: base(23) });
      t.deepEqual(seqs(again.records), range(24, 30), `stop ${stop}`);
      t.deepEqual(
        seqs(await again.log.read(again.log.firstSeq, 1e6)),
        range(again.log.firstSeq, 30),
      );
      firsts.add(again.log.firstSeq);
    }
  }
  t.deepEqual(
    [...firsts].sort((left, right) => left - right),
    [1, 6, 11, 16, 21],
  );
});

type Step =
  | { kind: 'append'; bytes: number }
  | { kind: 'wait'; turns: number }
  | { kind: 'trim' | 'cut'; amount: number }
  | { kind: 'crash' };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('append' as const), bytes: fc.nat(300) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), turns: fc.nat(60) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('trim' as const), amount: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), amount: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
);

test('D2: after any appends, trims, cuts and power cuts: all durable behind the snapshot is there', async (t) => {
  let trims = 0;
  const run = async (steps: Step[], choices: number[]): Promise<void> => {
    let choice = 0;
    const choose = (): number => choices[choice++ % choices.length] ?? 0;
    const disk = new MemoryDisk({ sectorBytes: 64 });
    let { log } = await openLog(disk, { segmentBytes: 700 });
    let epoch = 1;
    /** The epoch of each op as it is meant to be; a snapshot covers those up to `snapshotSeq`. */
    let epochs = [0];
    let snapshotSeq = 0;
    for (const action of [...steps, { kind: 'crash' as const }]) {
      if (action.kind === 'append') {
        epochs.push(epoch);
        log.append(makeRecord(log.lastSeq + 1, { bytes: action.bytes, epoch }));
      } else if (action.kind === 'wait') {
        for (let turn = 0; turn < action.turns; turn++) await Promise.resolve();
      } else if (action.kind === 'trim') {
        snapshotSeq = Math.max(snapshotSeq, Math.floor((log.durableSeq * action.amount) / 100));
        const before = log.firstSeq;
        const trimmed = log.trim(snapshotSeq + 1);
        if (log.firstSeq > before) trims++;
        t.true(log.firstSeq <= snapshotSeq + 1);
        if (choose() % 2 === 0) await trimmed;
      } else if (action.kind === 'cut') {
        // Awaited: what a cut under way may leave is the matter of log-recovery.test.ts.
        const lastSeq = Math.max(snapshotSeq, log.lastSeq - action.amount, log.firstSeq - 1);
        await log.cut(lastSeq);
        epochs = epochs.slice(0, lastSeq + 1);
        epoch++;
      } else {
        const { durableSeq, firstSeq } = log;
        disk.crash((change) => choose() % (change.length + 1));
        const opened = await openLog(disk, {
          segmentBytes: 700,
          base: { seq: snapshotSeq, epoch: epochs[snapshotSeq] ?? 0 },
        });
        t.false(opened.log.recovery.stale);
        t.true(opened.log.lastSeq >= durableSeq);
        t.true(opened.log.firstSeq <= firstSeq || opened.log.firstSeq === snapshotSeq + 1);
        t.deepEqual(seqs(opened.records), range(snapshotSeq + 1, opened.log.lastSeq));
        for (const record of await readAll(opened.log)) {
          t.is(record.epoch, epochs[record.firstSeq] ?? -1);
        }
        epochs = epochs.slice(0, opened.log.lastSeq + 1);
        log = opened.log;
        epoch++;
      }
    }
  };
  const steps = fc.array(step, { maxLength: 60, size: 'max' });
  const choices = fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 });
  await fc.assert(fc.asyncProperty(steps, choices, run), { numRuns: 800 });
  t.true(trims > 200, `${trims} trims removed something`);
});

function readAll(log: SegmentedLog): ReturnType<SegmentedLog['read']> {
  return log.read(log.firstSeq, Number.MAX_SAFE_INTEGER);
}
