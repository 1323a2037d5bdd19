/**
 * What the running hash of the state costs: the time of a put that replaces an entry at random, and the
 * part of it that goes into hashing the entry before and the entry after; the speed of a whole check.
 *
 *     node dist/bench/state-hash.js
 */

import { performance } from 'node:perf_hooks';

import { EntryStore } from '../src/table/entry.js';
import { HashTable } from '../src/table/hash-table.js';
import { Murmur128 } from '../src/table/murmur128.js';
import { SlabAllocator } from '../src/table/slab.js';

const keyBytes = 16;
const tableBytes = 160 * 1024 * 1024;
const bytesPerMeasurement = 4e9;
const opsMax = 2_000_000;

/** Key number `index`: a counter and a mix of it, so that keys are neither equal nor in order. */
function writeKey(key: Buffer, index: number): void {
  key.writeUInt32LE(index, 0);
  key.writeUInt32LE(Math.imul(index, 0x9e3779b1) >>> 0, 4);
  key.writeUInt32LE(Math.imul(index ^ 0x5bd1e995, 0x85ebca6b) >>> 0, 8);
}

function nsEach(entries: number, ops: number, op: (index: number) => void): number {
  let index = 1;
  const start = performance.now();
  for (let count = 0; count < ops; count += 1) {
    index = (Math.imul(index, 1664525) + 1013904223) >>> 0;
    op(index % entries);
  }
  return ((performance.now() - start) * 1e6) / ops;
}

function measure(valueBytes: number): void {
  const entries = Math.floor(tableBytes / (keyBytes + valueBytes));
  const ops = Math.min(opsMax, Math.floor(bytesPerMeasurement / (8 * (keyBytes + valueBytes))));
  const key = Buffer.alloc(keyBytes);
  const value = Buffer.alloc(valueBytes, 7);
  const table = new HashTable();
  const store = new EntryStore(new SlabAllocator());
  const addresses: number[] = [];
  for (let index = 0; index < entries; index += 1) {
    writeKey(key, index);
    table.put(key, value, index);
    addresses.push(store.create(HashTable.hash(key), key, value, index));
  }
  const digest = new Murmur128();
  let sum = 0;
  const putNs = nsEach(entries, ops, (index) => {
    writeKey(key, index);
    table.put(key, value, index);
  });
  // The second of the two finds the entry in the processor's cache, as it does after a put.
  const hashNs = nsEach(entries, ops, (index) => {
    store.digest(addresses[index]!, digest);
    sum ^= digest.word1;
    store.digest(addresses[index]!, digest);
    sum ^= digest.word2;
  });
  const start = performance.now();
  const check = table.check();
  let result = check.next(tableBytes);
  while (result === undefined) result = check.next(tableBytes);
  const checkMs = performance.now() - start;
  if (sum === 0 || result.found !== result.kept) throw new Error('the hashes are wrong');
  console.log(
    `${keyBytes} + ${valueBytes} bytes, ${entries} entries: a put ${Math.round(putNs)} ns, ` +
      `of it hashing ${Math.round(hashNs)} ns; ` +
      `a check ${Math.round(tableBytes / 1e3 / checkMs)} MB/s`,
  );
}

for (const valueBytes of [128, 8192, 1024 * 1024]) measure(valueBytes);
