import test from 'ava';

import { Buckets } from '../../src/table/buckets.js';
import { randomFrom } from './support.js';

const random = randomFrom(7);
const hashes = Array.from({ length: 500 }, () => random(2 ** 32));

function places(buckets: Buckets): number[] {
  return hashes.map((hash) => buckets.of(hash));
}

test('each bucket more takes hashes from one other, and from no other', (t) => {
  const buckets = new Buckets(1);
  for (let count = 2; count <= 300; count += 1) {
    const before = places(buckets);
    const source = buckets.nextToSplit;
    buckets.append();
    t.is(buckets.count, count);
    for (const [index, place] of places(buckets).entries()) {
      if (place !== before[index]) t.deepEqual([before[index], place], [source, count - 1]);
    }
  }
});

test('each bucket less undoes the step that added it', (t) => {
  const buckets = new Buckets(1);
  const steps: { before: number[]; source: number }[] = [];
  for (let count = 1; count < 300; count += 1) {
    steps.push({ before: places(buckets), source: buckets.nextToSplit });
    buckets.append();
  }
  for (const { before, source } of steps.reverse()) {
    buckets.removeLast();
    t.is(buckets.nextToSplit, source);
    t.deepEqual(places(buckets), before);
  }
});

test('heads are kept over growing and shrinking, and a bucket comes back empty', (t) => {
  let buffers = 0;
  const buckets = new Buckets(1, (bytes) => {
    buffers += 1;
    return new ArrayBuffer(bytes);
  });
  const count = 40_000;
  while (buckets.count < count) buckets.append();
  for (let bucket = 0; bucket < count; bucket += 1) buckets.setHead(bucket, bucket + 1);
  t.is(buffers, 3);
  const reserved = buckets.bytesReserved;
  while (buckets.count > 10_000) buckets.removeLast();
  t.true(buckets.bytesReserved < reserved);
  for (let bucket = 0; bucket < 10_000; bucket += 1) {
    if (buckets.head(bucket) !== bucket + 1) t.fail(`bucket ${bucket}`);
  }
  while (buckets.count < count) {
    buckets.append();
    if (buckets.head(buckets.count - 1) !== 0) t.fail(`bucket ${buckets.count - 1}`);
  }
});
