/** The state machine: what ops do to the table, in order, and snapshots while they go on. */
import test from 'ava';
import * as fc from 'fast-check';
import { InvariantError } from '../../src/errors.js';
import { hashHistoryEntries } from '../../src/machine/hash-history.js';
import { Machine } from '../../src/machine/machine.js';
import type { Op } from '../../src/machine/op.js';
import type { Entry } from '../../src/replica/entry.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const put = (key: string, value: string): Op => ({
  kind: 'put',
  key: bytes(key),
  value: bytes(value),
});
const del = (key: string): Op => ({ kind: 'delete', key: bytes(key) });

function entryAt(firstSeq: number, ops: readonly Op[], epoch = 1): Entry {
  return {
    epoch,
    firstSeq,
    lastSeq: firstSeq + ops.length - 1,
    commit: 0,
    ops,
    keyHashes: [],
    record: new Uint8Array(0),
  };
}

type Contents = [key: string, value: string, version: number][];

/** Sorted by key. */
function contents(machine: Machine): Contents {
  const snapshot = machine.snapshot();
  const found: Contents = [];
  for (let page = snapshot.next(100); page.length > 0; page = snapshot.next(100)) {
    for (const { key, value, version } of page) {
      found.push([Buffer.from(key).toString(), Buffer.from(value).toString(), version]);
    }
  }
  return sorted(found);
}

function sorted(found: Contents): Contents {
  return found.sort(([left], [right]) => (left < right ? -1 : 1));
}

test('put, replace, delete, and what they tell', (t) => {
  const machine = new Machine();
  t.deepEqual(machine.apply(entryAt(1, [put('a', '1'), put('a', '2'), del('a'), del('a')])), [
    { existed: false },
    { existed: true },
    { existed: true },
    { existed: false },
  ]);
  t.is(machine.appliedSeq, 4);
  t.is(machine.table.size, 0);
});

test('the version of an entry is the seq of the op that last changed it', (t) => {
  const machine = new Machine();
  machine.apply(entryAt(1, [put('a', '1'), put('b', '1'), put('a', '2')]));
  t.is(machine.table.version(bytes('a')), 3);
  t.is(machine.table.version(bytes('b')), 2);
});

test('the beginning of an epoch takes a seq and changes nothing', (t) => {
  const machine = new Machine();
  machine.apply(entryAt(1, [put('a', '1')]));
  t.deepEqual(machine.apply(entryAt(2, [{ kind: 'epoch' }], 2)), [{ existed: false }]);
  t.is(machine.appliedSeq, 2);
  t.is(machine.table.version(bytes('a')), 1);
});

test('entries must follow each other', (t) => {
  const machine = new Machine();
  machine.apply(entryAt(1, [put('a', '1')]));
  for (const firstSeq of [1, 3]) {
    t.throws(() => machine.apply(entryAt(firstSeq, [put('a', '2')])), {
      instanceOf: InvariantError,
    });
  }
  t.is(machine.appliedSeq, 1);
  t.deepEqual(contents(machine), [['a', '1', 1]]);
});

test('a machine that is loaded from a snapshot goes on behind it', (t) => {
  const machine = new Machine(40);
  machine.load(bytes('a'), bytes('1'), 17);
  t.is(machine.appliedSeq, 40);
  t.throws(() => machine.apply(entryAt(1, [put('a', '2')])), { instanceOf: InvariantError });
  machine.apply(entryAt(41, [put('b', '2')]));
  t.deepEqual(contents(machine), [
    ['a', '1', 17],
    ['b', '2', 41],
  ]);
});

test('the same ops in any batches give the same table', (t) => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const op = fc.oneof(
    fc.tuple(key, fc.string()).map(([k, v]) => put(k, v)),
    key.map(del),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), sizes, (ops, cuts) => {
      const one = new Machine();
      const other = new Machine();
      const expected = new Map<string, [string, number]>();
      ops.forEach((each, index) => {
        one.apply(entryAt(index + 1, [each]));
        if (each.kind === 'epoch') return;
        const name = Buffer.from(each.key).toString();
        if (each.kind === 'delete') expected.delete(name);
        else expected.set(name, [Buffer.from(each.value).toString(), index + 1]);
      });
      for (let at = 0, turn = 0; at < ops.length; turn++) {
        const batch = ops.slice(at, at + (cuts[turn % cuts.length] as number));
        other.apply(entryAt(at + 1, batch));
        at += batch.length;
      }
      const wanted = sorted([...expected].map(([name, [value, seq]]) => [name, value, seq]));
      t.deepEqual(contents(one), wanted);
      t.deepEqual(contents(other), wanted);
    }),
    { numRuns: 60 },
  );
});

test('a snapshot shows its instant while ops go on', (t) => {
  const machine = new Machine();
  const count = 500;
  for (let seq = 1; seq <= count; seq++) machine.apply(entryAt(seq, [put(`k${seq}`, 'before')]));
  const snapshot = machine.snapshot();
  t.is(snapshot.size, count);
  const seen = new Map<string, string>();
  let seq = count + 1;
  for (let page = snapshot.next(200); page.length > 0; page = snapshot.next(200)) {
    for (const { key, value } of page) {
      seen.set(Buffer.from(key).toString(), Buffer.from(value).toString());
    }
    const at = ((seq * 7) % count) + 1;
    machine.apply(entryAt(seq++, [put(`k${at}`, 'after'), del(`k${count - at}`)]));
    seq++;
    machine.apply(entryAt(seq, [put(`new${seq}`, 'after')]));
    seq++;
  }
  t.is(seen.size, count);
  t.true([...seen.values()].every((value) => value === 'before'));
});

test('machines that applied the same ops have the same hash, whatever the batches; others do not', (t) => {
  const ops = Array.from({ length: 40 }, (_, index) =>
    index % 7 === 6 ? del(`k${index % 5}`) : put(`k${index % 5}`, `value ${index}`),
  );
  const one = new Machine();
  ops.forEach((op, index) => one.apply(entryAt(index + 1, [op])));
  const other = new Machine();
  other.apply(entryAt(1, ops.slice(0, 13)));
  t.is(one.hashAfter(13), other.stateHash);
  other.apply(entryAt(14, ops.slice(13)));
  t.is(other.stateHash, one.stateHash);
  t.regex(one.stateHash, /^[0-9a-f]{16}$/);
  // The same values written by other ops: versions count.
  const late = new Machine();
  late.apply(entryAt(1, [{ kind: 'epoch' }]));
  late.apply(entryAt(2, ops));
  t.not(late.stateHash, one.stateHash);
});

test('the hash after an entry is kept for the newest entries, and only for their ends', (t) => {
  const machine = new Machine();
  t.is(machine.hashAfter(0), machine.stateHash);
  t.is(machine.hashAfter(2), undefined);
  const expected = new Map<number, string>();
  const ends: number[] = [0];
  expected.set(0, machine.stateHash);
  for (let seq = 1; ends.length < hashHistoryEntries + 1000; ) {
    const ops = [put('a', `${seq}`), put(`b${seq % 9}`, 'x')].slice(seq % 3 === 0 ? 1 : 0);
    machine.apply(entryAt(seq, ops));
    seq += ops.length;
    ends.push(seq - 1);
    expected.set(seq - 1, machine.stateHash);
  }
  const kept = ends.slice(-hashHistoryEntries);
  for (const seq of kept) t.is(machine.hashAfter(seq), expected.get(seq));
  t.is(new Set(kept.map((seq) => machine.hashAfter(seq))).size, hashHistoryEntries);
  for (const seq of ends.slice(0, -hashHistoryEntries)) t.is(machine.hashAfter(seq), undefined);
  const within = kept.find((seq, index) => index > 0 && seq - (kept[index - 1] as number) > 1);
  t.is(machine.hashAfter((within as number) - 1), undefined);
  t.is(machine.hashAfter(machine.appliedSeq + 1), undefined);
});

test('a machine that is loaded from a snapshot has the hash of that instant, then and later', (t) => {
  const machine = new Machine();
  for (let seq = 1; seq <= 300; seq++) machine.apply(entryAt(seq, [put(`k${seq % 50}`, `${seq}`)]));
  const hash = machine.stateHash;
  const snapshot = machine.snapshot();
  const loaded = new Machine(300);
  for (let page = snapshot.next(100); page.length > 0; page = snapshot.next(100)) {
    for (const { key, value, version } of page) loaded.load(key, value, version);
    machine.apply(entryAt(machine.appliedSeq + 1, [put(`k${loaded.table.size}`, 'later')]));
  }
  t.is(snapshot.contentHash, hash);
  t.is(loaded.stateHash, hash);
  t.is(loaded.hashAfter(300), hash);
  t.not(machine.stateHash, hash);
  loaded.apply(entryAt(301, [put('k1', 'other')]));
  t.is(loaded.hashAfter(300), hash);
  t.not(loaded.hashAfter(301), hash);
});
