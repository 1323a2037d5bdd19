/**
 * The hash of a set of entries: the sum of the hashes of all, modulo 2^32 in each of two independent
 * lanes. So it does not depend on their order, and an entry more or less is one addition. Two sets that
 * differ by chance have equal sums once in 2^64 times.
 */

import type { Murmur128 } from './murmur128.js';

export class ContentHash {
  /** Signed 32 bits each: small integers of V8. */
  high = 0;
  low = 0;

  add({ word1, word2 }: Murmur128): void {
    this.high = (this.high + word1) | 0;
    this.low = (this.low + word2) | 0;
  }

  subtract({ word1, word2 }: Murmur128): void {
    this.high = (this.high - word1) | 0;
    this.low = (this.low - word2) | 0;
  }
}

/** 16 hexadecimal digits. */
export function formatHash(high: number, low: number): string {
  return digitsOf(high) + digitsOf(low);
}

function digitsOf(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
