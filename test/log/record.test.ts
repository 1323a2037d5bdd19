/** The record format: round trip, and every single flipped bit and cut length is refused. */

import test from 'ava';
import * as fc from 'fast-check';
import { InvariantError, LimitError } from '../../src/errors.js';
import {
  BadRecordError,
  createRecord,
  decodeRecord,
  encodeRecord,
  recordBytesMax,
} from '../../src/log/record.js';

const header = fc.record({
  epoch: fc.maxSafeNat(),
  firstSeq: fc.integer({ min: 1, max: 2 ** 52 }),
  count: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  commit: fc.maxSafeNat(),
});

test('a record decodes to what was encoded and is a multiple of 8 bytes', (t) => {
  fc.assert(
    fc.property(header, fc.uint8Array({ maxLength: 100 }), (numbers, payload) => {
      const bytes = encodeRecord(numbers, payload);
      const record = decodeRecord(bytes);
      t.is(bytes.length % 8, 0);
      t.like(record, { ...numbers, lastSeq: numbers.firstSeq + numbers.count - 1 });
      t.deepEqual([...record.payload], [...payload]);
      t.deepEqual(record, createRecord(numbers, payload));
    }),
  );
});

test('every flipped bit is found', (t) => {
  const bytes = encodeRecord(
    { epoch: 3, firstSeq: 9, count: 2, commit: 8 },
    Buffer.from('payload'),
  );
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = Buffer.from(bytes);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    t.throws(() => decodeRecord(copy), { instanceOf: BadRecordError }, `bit ${bit}`);
  }
});

test('every other length is refused', (t) => {
  const bytes = encodeRecord(
    { epoch: 3, firstSeq: 9, count: 2, commit: 8 },
    Buffer.from('payload'),
  );
  for (let length = 0; length < bytes.length; length++) {
    t.throws(() => decodeRecord(bytes.subarray(0, length)), { instanceOf: BadRecordError });
  }
  const longer = Buffer.concat([bytes, Buffer.alloc(8)]);
  t.throws(() => decodeRecord(longer), { instanceOf: BadRecordError });
});

test('numbers that no record has and records that no frame holds are refused', (t) => {
  const good = { epoch: 1, firstSeq: 1, count: 1, commit: 0 };
  for (const bad of [
    { count: 0 },
    { firstSeq: 0 },
    { epoch: -1 },
    { commit: 0.5 },
    { count: 2e32 },
  ]) {
    const call = (): unknown => encodeRecord({ ...good, ...bad }, Buffer.alloc(0));
    t.throws(call, { instanceOf: InvariantError });
  }
  t.throws(() => encodeRecord(good, Buffer.alloc(recordBytesMax)), { instanceOf: LimitError });
});
