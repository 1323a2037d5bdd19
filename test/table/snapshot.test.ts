import assert from 'node:assert/strict';

import test from 'ava';
import * as fc from 'fast-check';

import { HashTable } from '../../src/table/hash-table.js';
import { CheckedTable, keyOf, randomFrom, valueOf } from './support.js';

function filled(keys: number, initialBuckets = 1): CheckedTable {
  const checked = new CheckedTable({ initialBuckets });
  for (let index = 0; index < keys; index += 1) checked.put(keyOf(index), valueOf(index, 20));
  return checked;
}

test('an empty table has an empty snapshot', (t) => {
  const snapshot = new HashTable().snapshot();
  t.is(snapshot.size, 0);
  t.deepEqual(snapshot.next(1000), []);
});

test('a page holds about what was asked for, and at least one entry', (t) => {
  const { table } = filled(100);
  const small = table.snapshot();
  for (let index = 0; index < 100; index += 1) t.is(small.next(1).length, 1);
  t.is(small.next(1).length, 0);
  const snapshot = table.snapshot();
  const counts = [];
  for (;;) {
    const page = snapshot.next(600);
    if (page.length === 0) break;
    counts.push(page.length);
  }
  t.true(
    counts.slice(0, -1).every((count) => count >= 5 && count <= 12),
    counts.join(' '),
  );
});

test('what was handed out does not change with the table', (t) => {
  const { table } = filled(50);
  const page = table.snapshot().next(100_000);
  t.is(page.length, 50);
  for (let index = 0; index < 50; index += 1) table.put(keyOf(index), valueOf(900, 20), 900);
  for (const { key, value } of page) {
    const index = Number(Buffer.from(key).toString().slice(4));
    t.deepEqual(Buffer.from(value), valueOf(index, 20));
  }
});

test('a snapshot does not see what came, went or grew after it', (t) => {
  const checked = filled(40);
  checked.openSnapshot();
  for (let index = 0; index < 40; index += 2) checked.delete(keyOf(index));
  for (let index = 1; index < 40; index += 4) checked.put(keyOf(index), valueOf(7, 70_000));
  for (let index = 40; index < 2000; index += 1) checked.put(keyOf(index), valueOf(index, 20));
  checked.finish();
  t.is(checked.table.size, 0);
});

test('an emptied table still has its snapshots, and shrinks when they are gone', (t) => {
  const checked = filled(500);
  checked.openSnapshot();
  checked.step(0, 2000);
  checked.openSnapshot();
  for (let index = 0; index < 500; index += 1) checked.delete(keyOf(index));
  t.is(checked.table.bucketCount, 500);
  while (checked.open.length > 0) checked.step(checked.open.length - 1, 700);
  for (let change = 0; change < 100; change += 1) {
    checked.put(keyOf(0), valueOf(0, 1));
    checked.delete(keyOf(0));
  }
  t.true(checked.table.bucketCount <= 4);
});

test('a snapshot costs nothing until the table changes, then only what changed', (t) => {
  const { table } = filled(10_000, 10_000);
  const before = table.bytes;
  const snapshot = table.snapshot();
  snapshot.next(2000);
  t.is(table.bytes, before);
  for (let index = 0; index < 100; index += 1) table.put(keyOf(index), valueOf(1, 20), 1);
  // A bucket holds about one entry, of 56 bytes.
  t.true(table.bytes - before < 100 * 5 * 56, String(table.bytes - before));
  const changed = table.bytes;
  for (let index = 0; index < 100; index += 1) table.put(keyOf(index), valueOf(2, 20), 2);
  t.is(table.bytes, changed);
  snapshot.close();
  t.is(table.bytes, before);
});

test('what a closed snapshot held is freed in steps when it is much', (t) => {
  const { table } = filled(20_000);
  const before = table.bytes;
  const snapshot = table.snapshot();
  for (let index = 0; index < 20_000; index += 1) table.put(keyOf(index), valueOf(1, 20), 1);
  t.true(table.bytes > before * 1.5);
  snapshot.close();
  const after = table.bytes;
  t.true(after > before);
  table.put(keyOf(0), valueOf(2, 20), 2);
  t.true(table.bytes >= after - 8 * 56 && table.bytes < after);
  for (let change = 0; change < 3000; change += 1) table.put(keyOf(0), valueOf(2, 20), 2);
  t.is(table.bytes, before);
});

const length = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 65_400, max: 65_600 }) },
  { weight: 1, arbitrary: fc.constantFrom(131_055, 131_064, 1_500_000) },
);
const key = fc.integer({ min: 0, max: 40 });
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('put' as const), key, length }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('open' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('next' as const),
      pick: fc.nat(),
      maxBytes: fc.constantFrom(1, 100, 500, 5000, 200_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), pick: fc.nat() }) },
);

test('every snapshot is the table of its instant, whatever happens meanwhile', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(step, { maxLength: 120, size: 'max' }),
      (initialBuckets, steps) => {
        const checked = new CheckedTable({ initialBuckets });
        for (const [index, step] of steps.entries()) {
          const { open } = checked;
          switch (step.kind) {
            case 'put':
              checked.put(keyOf(step.key), valueOf(index, step.length));
              break;
            case 'delete':
              checked.delete(keyOf(step.key));
              break;
            case 'open':
              checked.openSnapshot();
              break;
            case 'next':
              if (open.length > 0) checked.step(step.pick % open.length, step.maxBytes);
              break;
            case 'close':
              if (open.length > 0) checked.closeSnapshot(step.pick % open.length);
              break;
          }
        }
        checked.finish();
        assert.equal(checked.table.bytes, new HashTable().bytes);
      },
    ),
    { numRuns: 150 },
  );
  t.pass();
});

test('long runs with several snapshots, through growing and shrinking', (t) => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      const checked = new CheckedTable({ initialBuckets: 1 });
      for (let change = 0; change < 6000; change += 1) {
        const key = keyOf(random(1500));
        if (random(10) < (change % 3000 < 1500 ? 8 : 2)) {
          checked.put(key, valueOf(change, random(60)));
        } else {
          checked.delete(key);
        }
        const { open } = checked;
        if (random(300) === 0 && open.length < 4) checked.openSnapshot();
        if (random(8) === 0 && open.length > 0) checked.step(random(open.length), random(2000));
        if (random(1500) === 0 && open.length > 0) checked.closeSnapshot(random(open.length));
      }
      checked.finish();
    }),
    { numRuns: 20 },
  );
  t.pass();
});

test('memory that runs out anywhere leaves the table and its snapshots as they were', (t) => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      let failures = 0;
      let broken = false;
      const allocateBuffer = (bytes: number): ArrayBuffer => {
        if (broken) {
          failures += 1;
          throw new RangeError('Array buffer allocation failed');
        }
        return new ArrayBuffer(bytes);
      };
      const checked = new CheckedTable({ initialBuckets: 1, allocateBuffer });
      for (let change = 0; change < 400; change += 1) {
        broken = random(3) > 0;
        const failuresBefore = failures;
        const key = keyOf(random(100));
        try {
          if (random(3) > 0) checked.put(key, valueOf(change, random(40) ** 2 * random(100)));
          else checked.delete(key);
        } catch (error) {
          if (failures === failuresBefore) throw error;
        }
        checked.get(key);
        broken = false;
        if (random(40) === 0) checked.openSnapshot();
        if (random(4) === 0 && checked.open.length > 0) checked.step(0, random(5000));
      }
      checked.finish();
      assert.equal(checked.table.bytes, new HashTable().bytes);
      return failures > 0;
    }),
    { numRuns: 40 },
  );
  t.pass();
});

test('a snapshot that ran out of memory never looks as if it had ended', (t) => {
  let broken = false;
  const table = new HashTable({
    initialBuckets: 1,
    allocateBuffer: (bytes) => {
      if (broken) throw new RangeError('Array buffer allocation failed');
      return new ArrayBuffer(bytes);
    },
  });
  const before = table.bytes;
  // A slab of 64 KiB holds one such entry, so that no second one can be queued.
  table.put(keyOf(1), Buffer.alloc(40_000), 1);
  const snapshot = table.snapshot();
  broken = true;
  t.throws(() => snapshot.next(100), { message: /allocation failed/ });
  t.throws(() => snapshot.next(100), { message: /has failed/ });
  snapshot.close();
  t.throws(() => snapshot.next(100), { message: /has failed/ });
  t.true(table.delete(keyOf(1)));
  t.is(table.bytes, before);
});
