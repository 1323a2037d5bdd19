/**
 * MurmurHash3 for x86, 128 bits, seed 0 (Austin Appleby, public domain: `MurmurHash3_x86_128` of
 * github.com/aappleby/smhasher), over words as they lie in the slabs: it reads four bytes at a time
 * and keeps four sums that do not wait for one another. The words are read in the machine's own byte
 * order, so servers of different byte orders must not stand in one chain.
 *
 * Input may come in several runs: each starts with the result of the one before as its seed. Every
 * step can be undone, so one word that differs gives other 128 bits for certain, and more of them
 * almost for certain. It is no protection against somebody who wants to make two inputs equal.
 */

const multiplier1 = 0x239b961b;
const multiplier2 = 0xab0e9789;
const multiplier3 = 0x38b34ae5;
const multiplier4 = 0xa1e38b93;

export class Murmur128 {
  /** The result so far; of its four words any are as good as any other. */
  word1 = 0;
  word2 = 0;
  word3 = 0;
  word4 = 0;

  start(): void {
    this.word1 = 0;
    this.word2 = 0;
    this.word3 = 0;
    this.word4 = 0;
  }

  /** Takes in one run: `bytes` bytes that begin with `words[from]`. */
  add(words: Uint32Array, from: number, bytes: number): void {
    let h1 = this.word1;
    let h2 = this.word2;
    let h3 = this.word3;
    let h4 = this.word4;
    const end = from + ((bytes >>> 4) << 2);
    for (let at = from; at < end; at += 4) {
      h1 = rotate(h1 ^ scramble1(words[at]!), 19) + h2;
      h1 = (Math.imul(h1, 5) + 0x561ccd1b) | 0;
      h2 = rotate(h2 ^ scramble2(words[at + 1]!), 17) + h3;
      h2 = (Math.imul(h2, 5) + 0x0bcaa747) | 0;
      h3 = rotate(h3 ^ scramble3(words[at + 2]!), 15) + h4;
      h3 = (Math.imul(h3, 5) + 0x96cd1c35) | 0;
      h4 = rotate(h4 ^ scramble4(words[at + 3]!), 13) + h1;
      h4 = (Math.imul(h4, 5) + 0x32ac3b17) | 0;
    }
    const rest = bytes & 15;
    if (rest > 12) h4 ^= scramble4(firstBytes(words[end + 3]!, rest - 12));
    if (rest > 8) h3 ^= scramble3(firstBytes(words[end + 2]!, rest - 8));
    if (rest > 4) h2 ^= scramble2(firstBytes(words[end + 1]!, rest - 4));
    if (rest > 0) h1 ^= scramble1(firstBytes(words[end]!, rest));
    h1 ^= bytes;
    h2 ^= bytes;
    h3 ^= bytes;
    h4 ^= bytes;
    h1 = (h1 + h2 + h3 + h4) | 0;
    h2 = avalanche(h2 + h1);
    h3 = avalanche(h3 + h1);
    h4 = avalanche(h4 + h1);
    h1 = avalanche(h1);
    h1 = (h1 + h2 + h3 + h4) | 0;
    this.word1 = h1;
    this.word2 = (h2 + h1) | 0;
    this.word3 = (h3 + h1) | 0;
    this.word4 = (h4 + h1) | 0;
  }
}

function scramble1(word: number): number {
  return Math.imul(rotate(Math.imul(word, multiplier1), 15), multiplier2);
}

function scramble2(word: number): number {
  return Math.imul(rotate(Math.imul(word, multiplier2), 16), multiplier3);
}

function scramble3(word: number): number {
  return Math.imul(rotate(Math.imul(word, multiplier3), 17), multiplier4);
}

function scramble4(word: number): number {
  return Math.imul(rotate(Math.imul(word, multiplier4), 18), multiplier1);
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** What lies behind the last byte of an input in its last word is not part of it. */
function firstBytes(word: number, bytes: number): number {
  return bytes >= 4 ? word : word & ((1 << (bytes << 3)) - 1);
}

function avalanche(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
