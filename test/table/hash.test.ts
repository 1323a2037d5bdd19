import test from 'ava';

import { HashTable } from '../../src/table/hash-table.js';
import { keyOf } from './support.js';

test('the hash is MurmurHash3 for x86 with seed 0', (t) => {
  const known: [string, number][] = [
    ['', 0],
    ['hello', 0x248bfa47],
    ['hello, world', 0x149bbb7f],
    ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
  ];
  for (const [text, hash] of known) t.is(HashTable.hash(Buffer.from(text)), hash, text);
});

test('a hash is the same wherever the key lies in its buffer', (t) => {
  const bytes = Buffer.from('..the key..');
  t.is(HashTable.hash(bytes.subarray(2, 9)), HashTable.hash(Buffer.from('the key')));
});

test('keys that differ in a counter spread evenly over the low and the high bits', (t) => {
  const buckets = 1024;
  const keys = 64 * buckets;
  const low = new Uint32Array(buckets);
  const high = new Uint32Array(buckets);
  for (let index = 0; index < keys; index += 1) {
    const hash = HashTable.hash(keyOf(index));
    low[hash % buckets]! += 1;
    high[hash >>> 22]! += 1;
  }
  for (const counts of [low, high]) {
    // Chi-squared with 1023 degrees of freedom: 1023 expected, 45 the standard deviation.
    const chiSquared = counts.reduce((sum, count) => sum + (count - 64) ** 2 / 64, 0);
    t.true(chiSquared > 1023 - 6 * 45 && chiSquared < 1023 + 6 * 45, String(chiSquared));
  }
});

test('each bit of a 16-byte key changes each bit of the hash about half of the time', (t) => {
  const flips = new Uint32Array(32);
  let trials = 0;
  for (let index = 0; index < 50; index += 1) {
    const key = Buffer.alloc(16, keyOf(index));
    const hash = HashTable.hash(key);
    for (let bit = 0; bit < 128; bit += 1) {
      key[bit >>> 3]! ^= 1 << (bit & 7);
      const changed = hash ^ HashTable.hash(key);
      key[bit >>> 3]! ^= 1 << (bit & 7);
      for (let out = 0; out < 32; out += 1) flips[out]! += (changed >>> out) & 1;
      trials += 1;
    }
  }
  for (const count of flips) t.true(Math.abs(count / trials - 0.5) < 0.05, `${count} of ${trials}`);
});
