/**
 * Goes over the whole table in small steps while changes go on, hashes every entry as it lies in memory,
 * and compares the sum with the one that the table kept from change to change. Holds no memory.
 *
 * It walks through the hashes of keys in the order of their reversed bits, as Pieter Noordhuis's SCAN of
 * Redis does: there a bucket is an interval, and one that is divided or merged becomes intervals inside
 * or around it. So whether a key was visited depends on its hash alone, whatever happened to the buckets.
 *
 * Invariant: `sum` is the hash of all entries whose reversed hash is below `cursor`, as the visit found
 * each, and as the table changed it since.
 */

import type { Buckets } from './buckets.js';
import { ContentHash } from './content-hash.js';
import type { EntryStore } from './entry.js';
import { Murmur128 } from './murmur128.js';
import { nowhere } from './slab.js';

/** What an empty bucket counts for in a step. */
const bucketWeight = 16;
const hashesEnd = 2 ** 32;

export class ContentCheck {
  readonly sum = new ContentHash();
  readonly #entries: EntryStore;
  readonly #buckets: Buckets;
  readonly #digest = new Murmur128();
  #cursor = 0;

  constructor(entries: EntryStore, buckets: Buckets) {
    this.#entries = entries;
    this.#buckets = buckets;
  }

  /** Whether the entry with this hash was visited, if there was one: a change of it must go into `sum`. */
  hasVisited(hash: number): boolean {
    return reverseBits(hash) < this.#cursor;
  }

  /**
   * Visits the next buckets, at least one, up to about so many bytes; true when all were visited.
   * `size`: the number of keys in the table. Throws where the chains of entries make no sense.
   */
  visit(bytesMax: number, size: number): boolean {
    let bytes = 0;
    while (this.#cursor < hashesEnd && bytes < bytesMax) {
      const bucket = this.#buckets.of(reverseBits(this.#cursor));
      bytes += bucketWeight + this.#visitChain(this.#buckets.head(bucket), size);
      const bits = this.#buckets.bitsOf(bucket);
      this.#cursor = reverseBits(bucket) + 2 ** (32 - bits);
    }
    return this.#cursor >= hashesEnd;
  }

  #visitChain(head: number, size: number): number {
    let bytes = 0;
    let length = 0;
    for (let at = head; at !== nowhere; at = this.#entries.next(at)) {
      length += 1;
      if (length > size) throw new RangeError(`a chain of more than all ${size} entries`);
      // Of a bucket that was merged since, a part may have been visited before.
      if (this.hasVisited(this.#entries.hash(at))) continue;
      this.#entries.digest(at, this.#digest);
      this.sum.add(this.#digest);
      bytes += this.#entries.weight(at);
    }
    return bytes;
  }
}

/** Unsigned. */
function reverseBits(word: number): number {
  let bits = ((word >>> 1) & 0x55555555) | ((word & 0x55555555) << 1);
  bits = ((bits >>> 2) & 0x33333333) | ((bits & 0x33333333) << 2);
  bits = ((bits >>> 4) & 0x0f0f0f0f) | ((bits & 0x0f0f0f0f) << 4);
  bits = ((bits >>> 8) & 0x00ff00ff) | ((bits & 0x00ff00ff) << 8);
  return ((bits >>> 16) | (bits << 16)) >>> 0;
}
