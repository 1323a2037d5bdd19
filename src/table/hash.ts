/**
 * The hash of keys: MurmurHash3 for x86, 32 bits, seed 0. The same bytes give the same hash on every
 * machine, so it may also be used where replicas must agree. It is not keyed: whoever chooses the
 * keys can make them collide, which costs time in that one bucket but never a wrong answer.
 */

const multiplierA = 0xcc9e2d51;
const multiplierB = 0x1b873593;

/** An unsigned 32-bit hash of the whole key. */
export function hashKey(key: Uint8Array): number {
  const length = key.length;
  const wholeBytes = length & ~3;
  let hash = 0;
  let at = 0;
  for (; at < wholeBytes; at += 4) {
    const word = key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    hash ^= scramble(word);
    hash = Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64;
  }
  let rest = 0;
  for (let shift = 0; at < length; at += 1, shift += 8) rest |= key[at]! << shift;
  if (wholeBytes < length) hash ^= scramble(rest);
  return avalanche(hash ^ length);
}

function scramble(word: number): number {
  const product = Math.imul(word, multiplierA);
  return Math.imul((product << 15) | (product >>> 17), multiplierB);
}

/** Spreads every bit of the input over every bit of the hash: the buckets use only its low bits. */
function avalanche(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
