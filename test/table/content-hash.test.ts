/**
 * The hash of the table's content. What must hold: it is a function of keys, values and versions alone;
 * the one kept from change to change is the one of a table made anew; whatever differs, differs in it;
 * and a check sees every bit of memory that changed by itself, and nothing else.
 */
import test from 'ava';
import * as fc from 'fast-check';

import { InvariantError } from '../../src/errors.js';
import { HashTable } from '../../src/table/hash-table.js';
import type { TableCheck } from '../../src/table/hash-table.js';
import { cellBytesMax } from '../../src/table/slab.js';
import { CheckedTable, keyOf, randomFrom, valueOf } from './support.js';

interface Stored {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly version: number;
}

const emptyHash = '0000000000000000';

function hashOf(table: HashTable): string {
  const snapshot = table.snapshot();
  snapshot.close();
  return snapshot.contentHash;
}

function tableOf(entries: readonly Stored[]): HashTable {
  const table = new HashTable();
  for (const { key, value, version } of entries) table.put(key, value, version);
  return table;
}

/** The hash of a table that is filled with what a snapshot of this one holds. */
function recomputed(table: HashTable): string {
  const other = new HashTable();
  const snapshot = table.snapshot();
  for (let page = snapshot.next(10_000); page.length > 0; page = snapshot.next(10_000)) {
    for (const { key, value, version } of page) other.put(key, value, version);
  }
  return hashOf(other);
}

function finish(check: TableCheck): { found: string; kept: string } {
  for (;;) {
    const result = check.next(1000);
    if (result !== undefined) return result;
  }
}

const bytes = fc.uint8Array({ maxLength: 40 });
const entry = fc.record({
  key: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  value: bytes,
  version: fc.maxSafeNat(),
});
const distinctEntries = fc.uniqueArray(entry, {
  selector: ({ key }) => Buffer.from(key).toString('latin1'),
  minLength: 1,
  maxLength: 30,
});

test('any history that ends in the same entries ends in the same hash', (t) => {
  const histories = distinctEntries.chain((entries) =>
    fc.record({
      entries: fc.constant(entries),
      shuffled: fc.shuffledSubarray(entries, { minLength: entries.length }),
      before: fc.array(entry, { maxLength: 20 }),
      buckets: fc.integer({ min: 1, max: 100 }),
    }),
  );
  fc.assert(
    fc.property(histories, ({ entries, shuffled, before, buckets }) => {
      const other = new HashTable({ initialBuckets: buckets });
      for (const { key, value, version } of before) other.put(key, value, version);
      for (const { key } of before) other.delete(key);
      t.is(hashOf(other), emptyHash);
      for (const { key, value } of shuffled) other.put(key, valueOf(1, value.length * 2), 5);
      for (const { key, value, version } of shuffled) other.put(key, value, version);
      t.is(hashOf(other), hashOf(tableOf(entries)));
    }),
  );
});

test('the hash kept from change to change is that of the table made anew', (t) => {
  const random = randomFrom(21);
  const lengths = [0, 1, 3, 4, 15, 16, 17, 200, 3000, cellBytesMax - 30, cellBytesMax, 200_000];
  const checked = new CheckedTable({ initialBuckets: 1 });
  for (let change = 0; change < 3000; change += 1) {
    const key = keyOf(random(150));
    if (random(4) === 0) checked.delete(key);
    else checked.put(key, valueOf(change, lengths[random(lengths.length)]!));
    if (change % 300 === 0) t.is(hashOf(checked.table), recomputed(checked.table));
  }
  t.is(hashOf(checked.table), recomputed(checked.table));
  t.not(hashOf(checked.table), emptyHash);
  checked.finish();
  t.is(hashOf(checked.table), emptyHash);
});

test('one byte of a value or key, one version, or an entry more or less gives another hash', (t) => {
  fc.assert(
    fc.property(
      distinctEntries,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (entries, at, flip) => {
        const index = at % entries.length;
        const chosen = entries[index]!;
        const flipped = (source: Uint8Array): Uint8Array => {
          const changed = Uint8Array.from(source);
          changed[at % source.length]! ^= flip;
          return changed;
        };
        const expected = hashOf(tableOf(entries));
        const differs = (changed: Stored): void => {
          // Over the chosen entry, under a new key beside what is left of the others.
          const others = entries.filter(
            ({ key }, other) => other !== index && Buffer.compare(key, changed.key) !== 0,
          );
          t.not(hashOf(tableOf([...others, changed])), expected);
        };
        differs({ ...chosen, key: flipped(chosen.key) });
        if (chosen.value.length > 0) differs({ ...chosen, value: flipped(chosen.value) });
        differs({ ...chosen, value: Buffer.concat([chosen.value, Buffer.of(0)]) });
        differs({ ...chosen, version: (chosen.version + flip) % Number.MAX_SAFE_INTEGER });
        differs({ ...chosen, version: (chosen.version + 2 ** 40) % Number.MAX_SAFE_INTEGER });
        t.not(hashOf(tableOf(entries.filter((other) => other !== chosen))), expected);
      },
    ),
  );
});

test('a byte that moves between key and value, or between two values, changes the hash', (t) => {
  const one = (key: string, value: string): HashTable =>
    tableOf([{ key: Buffer.from(key), value: Buffer.from(value), version: 1 }]);
  t.not(hashOf(one('ab', 'c')), hashOf(one('a', 'bc')));
  const two = (first: string, second: string): HashTable => {
    const table = one('a', first);
    table.put(Buffer.from('b'), Buffer.from(second), 1);
    return table;
  };
  t.not(hashOf(two('x', 'y')), hashOf(two('y', 'x')));
});

test('every byte of a value in pieces counts, at the ends of pieces too', (t) => {
  const value = valueOf(4, 3 * cellBytesMax + 5);
  const whole = hashOf(tableOf([{ key: keyOf(1), value, version: 1 }]));
  const ends = [0, cellBytesMax - 5, cellBytesMax - 4, 2 * cellBytesMax - 8, value.length - 1];
  for (const at of ends) {
    const changed = Buffer.from(value);
    changed[at]! ^= 0x10;
    t.not(hashOf(tableOf([{ key: keyOf(1), value: changed, version: 1 }])), whole, String(at));
  }
});

test('a change that runs out of memory leaves the hash as it was', (t) => {
  let allowed = Number.POSITIVE_INFINITY;
  const table = new HashTable({
    allocateBuffer: (size) => {
      if (allowed <= 0) throw new RangeError('no memory');
      allowed -= 1;
      return new ArrayBuffer(size);
    },
  });
  table.put(keyOf(1), valueOf(1, 100), 1);
  const before = hashOf(table);
  allowed = 0;
  t.throws(() => table.put(keyOf(1), valueOf(1, 10 * cellBytesMax), 2), { instanceOf: RangeError });
  t.throws(() => table.put(keyOf(2), valueOf(1, 5000), 2), { instanceOf: RangeError });
  t.is(hashOf(table), before);
  t.is(recomputed(table), before);
});

test('a snapshot carries the hash of its instant', (t) => {
  const table = new HashTable();
  for (let index = 0; index < 500; index += 1) table.put(keyOf(index), valueOf(index, 50), index);
  const snapshot = table.snapshot();
  const copy = new HashTable();
  for (let page = snapshot.next(500); page.length > 0; page = snapshot.next(500)) {
    for (const { key, value, version } of page) copy.put(key, value, version);
    table.put(keyOf(copy.size), valueOf(7, 60), 1000 + copy.size);
    table.delete(keyOf(500 - copy.size));
  }
  t.is(hashOf(copy), snapshot.contentHash);
  t.not(hashOf(table), snapshot.contentHash);
});

test('checks find what was kept, whatever changes, grows and shrinks meanwhile', (t) => {
  let moved = 0;
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = randomFrom(seed);
    const table = new HashTable({ initialBuckets: 1 + random(20) });
    const checks: TableCheck[] = [];
    let finished = 0;
    let version = 0;
    for (let phase = 0; phase < 6; phase += 1) {
      const keys = [10, 800, 30, 300, 1, 2000][(phase + seed) % 6]!;
      for (let change = 0; change < 1500; change += 1) {
        version += 1;
        if (random(keys) * 2 > table.size) table.put(keyOf(random(2000)), valueOf(1, 20), version);
        else table.delete(keyOf(random(2000)));
        if (random(100) === 0 && checks.length < 3) checks.push(table.check());
        if (random(8) !== 0 || checks.length === 0) continue;
        const index = random(checks.length);
        const result = checks[index]!.next(random(3000));
        if (result === undefined) continue;
        t.is(result.found, result.kept, `seed ${seed}`);
        t.is(result.kept, hashOf(table));
        checks.splice(index, 1);
        finished += 1;
      }
    }
    for (const check of checks) t.is(finish(check).found, hashOf(table));
    t.true(finished > 10, `${finished} checks ended while changes went on`);
    moved += table.bucketsMoved;
  }
  t.true(moved > 20_000, `${moved} buckets were divided or merged`);
});

/** A table whose memory can be reached: `locate` finds the cell of an entry, `flip` flips one bit. */
function openTable(keys: number): {
  table: HashTable;
  flip: (key: Uint8Array, offset: number) => void;
  words: (key: Uint8Array) => Uint32Array;
} {
  const buffers: Buffer[] = [];
  const table = new HashTable({
    allocateBuffer: (size) => {
      const buffer = new ArrayBuffer(size);
      buffers.push(Buffer.from(buffer));
      return buffer;
    },
  });
  for (let index = 0; index < keys; index += 1) {
    table.put(keyOf(1000 + index), valueOf(index, 40), index + 1);
  }
  const locate = (key: Uint8Array): { buffer: Buffer; cell: number } => {
    for (const buffer of buffers) {
      const at = buffer.indexOf(key);
      if (at >= 0) return { buffer, cell: at - 24 };
    }
    throw new Error('the key is not in memory');
  };
  return {
    table,
    flip: (key, offset) => {
      const { buffer, cell } = locate(key);
      buffer[cell + offset]! ^= 0x04;
    },
    words: (key) => {
      const { buffer, cell } = locate(key);
      return new Uint32Array(buffer.buffer, buffer.byteOffset + cell, 6);
    },
  };
}

test('a flipped bit of an entry that nobody touches is found, wherever in the entry', (t) => {
  // The hash of the key, both words of the version, kind, key, first and last byte of the value.
  for (const offset of [4, 7, 8, 15, 22, 24, 31, 32, 71]) {
    for (const visited of [0, 1]) {
      const { table, flip } = openTable(100);
      const check = table.check();
      if (visited > 0) check.next(500);
      flip(keyOf(1037), offset);
      if (visited > 0) finish(check);
      const { found, kept } = visited > 0 ? finish(table.check()) : finish(check);
      t.not(found, kept, `byte ${offset}`);
      t.is(kept, hashOf(table));
    }
  }
});

test('the kept hash shows damage for ever once the damaged entry was changed or deleted', (t) => {
  for (const change of ['replace', 'grow', 'delete'] as const) {
    const { table, flip } = openTable(100);
    const sound = openTable(100).table;
    flip(keyOf(1037), 50);
    for (const each of [table, sound]) {
      if (change === 'delete') each.delete(keyOf(1037));
      else each.put(keyOf(1037), valueOf(1, change === 'grow' ? 400 : 40), 500);
    }
    t.deepEqual(
      Buffer.from(table.get(keyOf(1037)) ?? []),
      Buffer.from(sound.get(keyOf(1037)) ?? []),
    );
    t.not(hashOf(table), hashOf(sound), change);
    const { found, kept } = finish(table.check());
    t.not(found, kept);
    t.is(found, hashOf(sound));
  }
});

test('a chain that leads into itself ends the check with an error, not never', (t) => {
  const { table, words } = openTable(20);
  const cells = Array.from({ length: 20 }, (_, index) => words(keyOf(1000 + index)));
  const linked = cells.find((cell) => cell[0] !== 0);
  t.truthy(linked, 'some chain has two entries');
  // Its follower's address, in the follower itself.
  const address = linked![0]!;
  for (const cell of cells) if (cell.byteOffset >>> 3 === (address & 0x1ffff)) cell[0] = address;
  t.throws(() => finish(table.check()), { instanceOf: RangeError, message: /chain/ });
});

test('a snapshot that hands out other bytes than were put in ends with an error, not as a whole one', (t) => {
  const table = new HashTable();
  for (let n = 0; n < 300; n++) table.put(Buffer.from(`key-${n}`), Buffer.alloc(50, n), n);
  const sound = table.snapshot();
  while (sound.next(1_000).length > 0);
  const damaged = table.snapshot();
  damaged.next(1_000);
  table.get(Buffer.from('key-7'))![3]! ^= 1;
  table.get(Buffer.from('key-8'))![3]! ^= 1;
  t.throws(
    () => {
      while (damaged.next(1_000).length > 0);
    },
    { instanceOf: InvariantError },
  );
});
