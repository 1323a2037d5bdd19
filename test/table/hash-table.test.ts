import test from 'ava';
import * as fc from 'fast-check';

import { keyBytesMax, valueBytesMax } from '../../src/limits.js';
import { HashTable } from '../../src/table/hash-table.js';
import { cellBytesMax } from '../../src/table/slab.js';
import { collidingKeys } from './collisions.js';
import { CheckedTable, keyOf, randomFrom, valueOf } from './support.js';

test('put, get, version and delete', (t) => {
  const table = new HashTable();
  const key = Buffer.from('a');
  t.is(table.get(key), undefined);
  t.is(table.version(key), undefined);
  t.false(table.put(key, Buffer.from('one'), 1));
  t.true(table.put(key, Buffer.from('two'), Number.MAX_SAFE_INTEGER));
  t.deepEqual(Buffer.from(table.get(key)!), Buffer.from('two'));
  t.is(table.version(key), Number.MAX_SAFE_INTEGER);
  t.is(table.size, 1);
  t.true(table.delete(key));
  t.false(table.delete(key));
  t.is(table.size, 0);
});

test('what breaks a limit is refused', (t) => {
  const table = new HashTable();
  const key = Buffer.from('a');
  const tooLong = Buffer.alloc(keyBytesMax + 1);
  t.throws(() => table.put(Buffer.alloc(0), key, 1), { instanceOf: RangeError });
  t.throws(() => table.put(tooLong, key, 1), { instanceOf: RangeError });
  t.throws(() => table.put(key, Buffer.alloc(valueBytesMax + 1), 1), { instanceOf: RangeError });
  t.throws(() => table.put(key, key, 2 ** 53), { instanceOf: RangeError });
  t.throws(() => table.put(key, key, -1), { instanceOf: RangeError });
  t.is(table.size, 0);
});

test('the largest key and the largest value are stored', (t) => {
  const table = new HashTable();
  const key = valueOf(1, keyBytesMax);
  const value = valueOf(2, valueBytesMax);
  table.put(key, value, 1);
  table.put(Buffer.from('a'), Buffer.alloc(0), 2);
  t.is(Buffer.compare(table.get(key)!, value), 0);
  t.is(table.get(Buffer.from('a'))!.length, 0);
  const entries = table.snapshot().next(2 * valueBytesMax);
  t.is(entries.length, 2);
});

test('a value may be a view that the table itself gave out', (t) => {
  const table = new HashTable();
  const value = valueOf(3, 300);
  table.put(keyOf(1), value, 1);
  table.put(keyOf(2), table.get(keyOf(1))!, 2);
  t.is(Buffer.compare(table.get(keyOf(2))!, value), 0);
  table.put(keyOf(2), table.get(keyOf(2))!.subarray(5, 290), 3);
  t.is(Buffer.compare(table.get(keyOf(2))!, value.subarray(5, 290)), 0);
  table.put(keyOf(2), table.get(keyOf(2))!.subarray(10, 50), 4);
  t.is(Buffer.compare(table.get(keyOf(2))!, value.subarray(15, 55)), 0);
});

/** Lengths on both sides of every kind of boundary: word, granule, exact classes, cell, pieces. */
const lengths = [0, 1, 7, 8, 9, 128, 225, 226, 227, 228, 240, 1000, 4096].concat(
  [cellBytesMax - 30, cellBytesMax - 29, cellBytesMax - 28, cellBytesMax - 4, cellBytesMax],
  [2 * cellBytesMax - 9, 2 * cellBytesMax - 8, 2 * cellBytesMax - 7, 2_500_000],
);

test('a value changes from any length to any other', (t) => {
  const checked = new CheckedTable();
  checked.put(keyOf(0), valueOf(0, 10));
  for (const from of lengths) {
    for (const to of lengths.filter((length) => length < 1_000_000)) {
      checked.put(keyOf(1), valueOf(from, from));
      checked.put(keyOf(1), valueOf(to, to));
    }
  }
  checked.get(keyOf(0));
  checked.finish();
  t.is(checked.table.bytes, new HashTable().bytes);
});

test('keys with one and the same hash are told apart', (t) => {
  const checked = new CheckedTable({ initialBuckets: 1 });
  const keys = collidingKeys(300);
  t.is(new Set(keys.map((key) => HashTable.hash(key))).size, 1);
  t.is(new Set(keys.map((key) => key.toString('hex'))).size, 300);
  for (const [index, key] of keys.entries()) checked.put(key, valueOf(index, index));
  checked.openSnapshot();
  checked.step(0, 500);
  for (const key of keys.filter((_, index) => index % 3 === 0)) checked.delete(key);
  for (const key of keys.filter((_, index) => index % 3 === 1)) checked.put(key, valueOf(1, 5));
  for (const key of keys) checked.get(key);
  checked.finish();
  t.is(checked.table.size, 0);
});

test('no change moves more than its bound of buckets, growing or shrinking', (t) => {
  const table = new HashTable({ initialBuckets: 1 });
  const keys = 50_000;
  const value = Buffer.alloc(3);
  let moved = 0;
  const movedSince = (): number => {
    const since = table.bucketsMoved - moved;
    moved = table.bucketsMoved;
    return since;
  };
  let mostByPut = 0;
  for (let index = 0; index < keys; index += 1) {
    table.put(keyOf(index), value, index);
    mostByPut = Math.max(mostByPut, movedSince());
  }
  t.is(mostByPut, 1);
  t.is(table.bucketCount, keys);
  let mostByDelete = 0;
  for (let index = 0; index < keys; index += 1) {
    table.delete(keyOf(index));
    mostByDelete = Math.max(mostByDelete, movedSince());
  }
  t.true(mostByDelete <= 8);
  t.is(table.bucketCount, 1);
});

test('filling, emptying and filling again takes no more memory', (t) => {
  const table = new HashTable();
  const fill = (): void => {
    for (let index = 0; index < 30_000; index += 1) table.put(keyOf(index), valueOf(1, 128), 1);
  };
  fill();
  const reserved = table.bytesReserved;
  for (let round = 0; round < 3; round += 1) {
    for (let index = 0; index < 30_000; index += 1) table.delete(keyOf(index));
    t.is(table.bytes, new HashTable().bytes);
    t.true(table.bytesReserved <= 8 * 1024 * 1024);
    fill();
    t.true(table.bytesReserved <= reserved + 4 * 1024 * 1024);
  }
  t.true(table.bytes / table.size < 200);
});

test('large values that come and go take no more memory', (t) => {
  const table = new HashTable();
  const change = (round: number): void => {
    table.put(keyOf(round % 4), Buffer.alloc(500_000 + (round % 200) * 4000), round);
  };
  for (let round = 0; round < 200; round += 1) change(round);
  const reserved = table.bytesReserved;
  for (let round = 200; round < 800; round += 1) change(round);
  const MiB = 1024 * 1024;
  t.true(table.bytesReserved <= reserved + 4 * MiB);
  // Four values of 1.3 MB at most, and the empty slabs that are kept.
  t.true(table.bytesReserved <= 6 * MiB + 10 * MiB, String(table.bytesReserved));
});

test('a table of random changes answers as a Map does', (t) => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      const checked = new CheckedTable({ initialBuckets: 1 + random(5) });
      for (let change = 0; change < 3000; change += 1) {
        const key = keyOf(random(800));
        // Phases of growing and of shrinking.
        if (random(10) < (change % 1000 < 500 ? 8 : 2)) {
          checked.put(key, valueOf(change, random(300)));
        } else {
          checked.delete(key);
        }
      }
      checked.finish();
      return checked.table.bytes === new HashTable().bytes;
    }),
    { numRuns: 30 },
  );
  t.pass();
});
