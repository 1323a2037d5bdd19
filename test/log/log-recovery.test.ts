/** Recovery: whole, torn and damaged; the log beside a snapshot; random histories with power cuts. */

import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { DataDamagedError, RefusedToStartError } from '../../src/errors.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import type { LogRecord } from '../../src/log/record.js';
import type { LogBase } from '../../src/log/segmented-log.js';
import {
  filledDisk,
  lastSegment,
  logDirectory,
  makeRecord,
  openLog,
  range,
  seqs,
} from './support.js';

const never = new Promise(() => {});
const noDamage = { instanceOf: DataDamagedError };

/** A log of two durable records and a group of three whose write is in flight. */
async function groupInFlight(): Promise<{ disk: MemoryDisk; position: number; length: number }> {
  const { disk, log } = await filledDisk([makeRecord(1), makeRecord(2)], 1200);
  let group = { position: 0, length: 0 };
  disk.setFault(({ kind, path, position = 0, length = 0 }) => {
    if (kind !== 'write' || !path.endsWith('.log')) return undefined;
    group = { position, length };
    return { until: never };
  });
  for (const seq of [3, 4, 5]) log.append(makeRecord(seq, { bytes: 200 }));
  while (group.length === 0) await Promise.resolve();
  return { disk, ...group };
}

async function checkAfterCrash(t: ExecutionContext, disk: MemoryDisk): Promise<number> {
  const first = await openLog(disk);
  const found = seqs(first.records);
  t.deepEqual(found, range(1, found.length));
  t.true(found.length >= 2);
  first.log.append(makeRecord(found.length + 1, { epoch: 9 }));
  await first.listener.durableThrough(found.length + 1);
  disk.crash();
  const second = await openLog(disk);
  t.is(second.log.recovery.outcome, 'whole');
  t.deepEqual(seqs(second.records), range(1, found.length + 1));
  t.is(second.records.at(-1)?.epoch, 9);
  return found.length;
}

test('D1: the last group torn at every byte is cut off, and the log goes on', async (t) => {
  const { length: groupBytes } = await groupInFlight();
  const lengths = new Set<number>();
  for (let kept = 0; kept <= groupBytes; kept++) {
    const { disk, position } = await groupInFlight();
    disk.crash((change) =>
      change.kind === 'data' ? Math.max(0, position + kept - change.position) : 0,
    );
    lengths.add(await checkAfterCrash(t, disk));
  }
  t.deepEqual(
    [...lengths].sort((left, right) => left - right),
    [2, 3, 4, 5],
  );
});

test('D1: any sectors of the last group may be missing', async (t) => {
  const { disk: probe } = await groupInFlight();
  let sectors = 0;
  probe.crash(() => sectors++ * 0);
  for (let mask = 0; mask < 2 ** sectors; mask++) {
    const { disk } = await groupInFlight();
    let index = 0;
    disk.crash((change) => ((mask >> index++) & 1) * change.length);
    await checkAfterCrash(t, disk);
  }
});

test('D3: a flipped bit at every byte of a closed log is damage; in zeros behind it, nothing is lost', async (t) => {
  const { disk, log } = await filledDisk(
    range(1, 4).map((seq) => makeRecord(seq)),
    600,
  );
  await log.close();
  const path = lastSegment(disk);
  // The closing marker itself proves the records; losing it loses nothing else.
  const used = disk.contents(path).findLastIndex((byte) => byte !== 0) + 1;
  const end = Math.ceil(used / 8) * 8;
  for (let bit = 0; bit < 600 * 8; bit += 3) {
    disk.flipBit(path, bit);
    const inRecords = bit < (end - 32) * 8;
    if (inRecords) {
      await t.throwsAsync(openLog(disk), noDamage, `bit ${bit}`);
      disk.flipBit(path, bit);
    } else {
      const copy = await filledDisk(
        range(1, 4).map((seq) => makeRecord(seq)),
        600,
      );
      await copy.log.close();
      copy.disk.flipBit(path, bit);
      t.deepEqual(seqs((await openLog(copy.disk)).records), [1, 2, 3, 4], `bit ${bit}`);
      disk.flipBit(path, bit);
    }
  }
});

test('D1: zeros in place of the last group, whole or in part, are cut off', async (t) => {
  const { position, length } = await groupInFlight();
  const found = new Set<number>();
  for (let zeroed = 8; zeroed <= length; zeroed += 8) {
    for (const behind of [0, 200]) {
      const { disk } = await groupInFlight();
      disk.crash((change) => change.length);
      // The file grew for the group, but its last sectors never came to the disk.
      const file = await disk.open(lastSegment(disk), 'write');
      await file.write([Buffer.alloc(zeroed + behind)], position + length - zeroed);
      await file.sync();
      found.add(await checkAfterCrash(t, disk));
    }
  }
  t.deepEqual(
    [...found].sort((left, right) => left - right),
    [2, 3, 4],
  );
});

test('D3: a flipped bit at every byte of a log in use is damage, or costs the last group only', async (t) => {
  // Not sealed: whether the last group was torn or has rotted cannot be told.
  const records = range(1, 4).map((seq) => makeRecord(seq));
  const { disk: probe } = await filledDisk(records, 600);
  probe.crash();
  const path = lastSegment(probe);
  const used = Math.ceil((probe.contents(path).findLastIndex((byte) => byte !== 0) + 1) / 8) * 8;
  const lastGroup = used - 32 - (records[3]?.bytes.byteLength ?? 0);
  const outcomes = new Set<string>();
  for (let byte = 0; byte < 600; byte++) {
    const { disk } = await filledDisk(records, 600);
    disk.crash();
    disk.flipBit(path, byte * 8 + (byte % 8));
    if (byte < lastGroup) {
      await t.throwsAsync(openLog(disk), noDamage, `byte ${byte}`);
      outcomes.add('damage');
    } else {
      const opened = await openLog(disk);
      t.deepEqual(seqs(opened.records), range(1, byte < used ? 3 : 4), `byte ${byte}`);
      t.is(opened.log.recovery.outcome, 'torn');
      outcomes.add(byte < used ? 'last group' : 'zeros');
    }
  }
  t.deepEqual([...outcomes], ['damage', 'last group', 'zeros']);
});

test('D3: a bad record before a later group, or in an older segment, is damage and says where', async (t) => {
  const { disk } = await filledDisk(range(1, 30).map((seq) => makeRecord(seq, { bytes: 100 })));
  disk.crash();
  const path = `${logDirectory}/${'1'.padStart(16, '0')}.log`;
  disk.flipBit(path, (40 + 32 + 50) * 8);
  const error = await t.throwsAsync(openLog(disk), noDamage);
  t.regex(error.message, /0000000000000001\.log at offset 72, seq 1:/u);
  disk.flipBit(path, (40 + 32 + 50) * 8);
  const last = lastSegment(disk);
  disk.flipBit(last, (40 + 32 + 50) * 8);
  await t.throwsAsync(openLog(disk), noDamage);
});

test('D3: damaged data stays as it was found', async (t) => {
  const { disk } = await filledDisk(range(1, 30).map((seq) => makeRecord(seq, { bytes: 100 })));
  disk.crash();
  const spare = await disk.open(`${logDirectory}/spare.new`, 'create');
  await spare.write([Buffer.from('half')], 0);
  disk.flipBit(lastSegment(disk), (40 + 32 + 50) * 8);
  const contents = (): string[] =>
    disk.paths().map((path) => `${path} ${disk.contents(path).toString('hex')}`);
  const before = contents();
  await t.throwsAsync(openLog(disk), noDamage);
  t.deepEqual(contents(), before);
  t.true(before.some((text) => text.includes('spare.new')));
});

test('D3: a missing segment is damage', async (t) => {
  const { disk } = await filledDisk(range(1, 30).map((seq) => makeRecord(seq, { bytes: 100 })));
  disk.crash();
  const [first = '', second = ''] = disk.paths().filter((path) => path.endsWith('.log'));
  await disk.remove(second);
  await t.throwsAsync(openLog(disk), noDamage);
  await disk.remove(first);
  await t.throwsAsync(openLog(disk), noDamage);
});

test('O3: a segment of another format version is refused with a clear message', async (t) => {
  const { disk } = await filledDisk([makeRecord(1)]);
  const { encodeSegmentHeader } = await import('../../src/log/segment-format.js');
  const { crc32 } = await import('node:zlib');
  const header = encodeSegmentHeader({ firstSeq: 1, previousEpoch: 0, salt: 1 });
  header.writeUInt32LE(2, 8);
  header.writeUInt32LE(crc32(header.subarray(16), crc32(header.subarray(0, 12))), 12);
  await (await disk.open(lastSegment(disk), 'write')).write([header], 0);
  const error = await t.throwsAsync(openLog(disk), { instanceOf: RefusedToStartError });
  t.regex(error.message, /version 2/u);
});

test('D2: what was read after kill -9 is synced before it counts', async (t) => {
  const { disk } = await groupInFlight();
  disk.kill();
  t.deepEqual(seqs((await openLog(disk)).records), [1, 2, 3, 4, 5]);
  disk.crash();
  t.deepEqual(seqs((await openLog(disk)).records), [1, 2, 3, 4, 5]);
});

const bases: [string, LogBase, number[] | 'stale' | 'damage'][] = [
  ['overlaps and matches: kept, the covered records skipped', { seq: 7, epoch: 2 }, [8, 9, 10]],
  ['ends at the base and matches: kept', { seq: 10, epoch: 2 }, []],
  ['overlaps with another epoch: dropped', { seq: 7, epoch: 3 }, 'stale'],
  ['ends below the base: dropped', { seq: 11, epoch: 2 }, 'stale'],
];
for (const [name, base, expected] of bases) {
  test(`a log beside a snapshot: ${name}`, async (t) => {
    const records = range(1, 10).map((seq) => makeRecord(seq, { epoch: seq > 5 ? 2 : 1 }));
    const { disk } = await filledDisk(records);
    disk.crash();
    const { log, records: found } = await openLog(disk, { base });
    t.is(log.recovery.stale, expected === 'stale');
    t.deepEqual(seqs(found), expected === 'stale' ? [] : expected);
    t.is(log.lastSeq, expected === 'stale' ? base.seq : 10);
    log.append(makeRecord(log.lastSeq + 1, { epoch: 5 }));
    await log.close();
    t.is((await openLog(disk, { base })).log.lastEpoch, 5);
  });
}

test('a log that begins behind the base, or behind another epoch, is damage', async (t) => {
  const { disk, log } = await filledDisk([makeRecord(1)]);
  await log.reset({ seq: 100, epoch: 4 });
  log.append(makeRecord(101, { epoch: 4 }));
  await log.close();
  await t.throwsAsync(openLog(disk), noDamage);
  await t.throwsAsync(openLog(disk, { base: { seq: 99, epoch: 4 } }), noDamage);
  await t.throwsAsync(openLog(disk, { base: { seq: 100, epoch: 3 } }), noDamage);
  t.deepEqual(seqs((await openLog(disk, { base: { seq: 100, epoch: 4 } })).records), [101]);
});

/** One step of a random history. */
type Step =
  | { kind: 'append'; bytes: number }
  | { kind: 'wait'; turns: number }
  | { kind: 'cut'; back: number }
  | { kind: 'crash' };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('append' as const), bytes: fc.nat(300) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), turns: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), back: fc.nat(12) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
);

test('D2: after any appends, cuts and power cuts: all that was durable, and a history that was', async (t) => {
  const run = async (steps: Step[], choices: number[]): Promise<void> => {
    let choice = 0;
    const choose = (): number => choices[choice++ % choices.length] ?? 0;
    const disk = new MemoryDisk({ sectorBytes: 64 });
    let { log, listener } = await openLog(disk, { segmentBytes: 700 });
    let epoch = 1;
    /** The log as it is meant to be, and those that a cut under way may still leave. */
    let model: LogRecord[] = [];
    let earlier: LogRecord[][] = [];
    for (const action of [...steps, { kind: 'crash' as const }]) {
      if (action.kind === 'append') {
        const record = makeRecord(log.lastSeq + 1, { bytes: action.bytes, epoch });
        log.append(record);
        model.push(record);
      } else if (action.kind === 'wait') {
        for (let turn = 0; turn < action.turns; turn++) await Promise.resolve();
      } else if (action.kind === 'cut') {
        earlier.push([...model]);
        model = model.slice(0, Math.max(0, model.length - action.back));
        const cut = log.cut(model.length);
        epoch++;
        if (choose() % 2 === 0) {
          await cut;
          earlier = [];
        }
      } else {
        const durableSeq = log.durableSeq;
        disk.crash((change) => choose() % (change.length + 1));
        const opened = await openLog(disk, { segmentBytes: 700 });
        const found = opened.records.map((record) => Buffer.from(record.bytes).toString('hex'));
        const isPrefix = [model, ...earlier].some((history) =>
          found.every(
            (bytes, at) => bytes === Buffer.from(history[at]?.bytes ?? []).toString('hex'),
          ),
        );
        t.true(isPrefix, 'it is a prefix of one history');
        t.true(found.length >= durableSeq, `durable ${durableSeq}, found ${found.length}`);
        t.is(opened.log.lastSeq, found.length);
        model = opened.records;
        earlier = [];
        ({ log, listener } = opened);
        epoch++;
      }
      t.deepEqual(listener.errors, []);
    }
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60, size: 'max' }),
      fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 }),
      run,
    ),
    { numRuns: 1500 },
  );
});
