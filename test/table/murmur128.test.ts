import test from 'ava';

import { Murmur128 } from '../../src/table/murmur128.js';
import { randomFrom } from './support.js';

/** Padded with bytes that must not count. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const padded = new Uint8Array((bytes.length + 7) & ~3).fill(0xa5);
  padded.set(bytes);
  return new Uint32Array(padded.buffer);
}

function resultOf(hash: Murmur128): Uint8Array {
  const words = Uint32Array.of(hash.word1, hash.word2, hash.word3, hash.word4);
  return new Uint8Array(words.buffer);
}

function hashOf(runs: readonly Uint8Array[], seed = 0): Uint8Array {
  const hash = new Murmur128();
  hash.start();
  hash.word1 = hash.word2 = hash.word3 = hash.word4 = seed;
  for (const run of runs) hash.add(wordsOf(run), 0, run.length);
  return resultOf(hash);
}

test("it passes the verification of Appleby's SMHasher for MurmurHash3_x86_128", (t) => {
  // The hash of the hashes of {}, {0}, {0, 1} ... {0 ... 254}, with the seeds 256 down to 2.
  const hashes = new Uint8Array(256 * 16);
  const input = Uint8Array.from({ length: 256 }, (_, index) => index);
  for (let length = 0; length < 256; length += 1) {
    hashes.set(hashOf([input.subarray(0, length)], 256 - length), length * 16);
  }
  t.is(new DataView(hashOf([hashes]).buffer).getUint32(0, true), 0xb3ece62a);
});

test('one flipped bit, in whichever run, flips each bit of the result about half of the time', (t) => {
  const random = randomFrom(11);
  const flips = new Uint32Array(128);
  let trials = 0;
  for (const [first, second] of [
    [20, 13],
    [16, 37],
    [7, 1],
  ] as const) {
    const runs = [first, second].map((length) => Uint8Array.from({ length }, () => random(256)));
    const expected = hashOf(runs);
    for (const run of runs) {
      for (let bit = 0; bit < run.length * 8; bit += 1) {
        run[bit >>> 3]! ^= 1 << (bit & 7);
        const changed = hashOf(runs).map((byte, index) => byte ^ expected[index]!);
        run[bit >>> 3]! ^= 1 << (bit & 7);
        for (let out = 0; out < 128; out += 1) {
          flips[out]! += (changed[out >>> 3]! >>> (out & 7)) & 1;
        }
        trials += 1;
      }
    }
  }
  // 752 flips: 0.5 is expected, 0.018 the standard deviation.
  for (const count of flips) t.true(Math.abs(count / trials - 0.5) < 0.1, `${count} of ${trials}`);
});
