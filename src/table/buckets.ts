/**
 * The chain heads of the hash table, by linear hashing (Litwin 1980): the table grows and shrinks by
 * one bucket at a time, each taking its entries from, or giving them to, exactly one other. The heads
 * stand in segments of fixed size, so that no step allocates, copies or zeroes more than one segment.
 * It computes which bucket and keeps the heads; moving the entries is the table's work.
 *
 * Invariant: lower + 1 <= count <= 2 * lower + 1, where lower + 1 is a power of two.
 */

import { nowhere } from './slab.js';
import type { AllocateBuffer } from './slab.js';

const segmentShift = 14;
const segmentBuckets = 1 << segmentShift;
const segmentMask = segmentBuckets - 1;
const segmentBytes = segmentBuckets * 4;
/** So that bucket numbers stay small integers of V8. */
const bucketsMax = 2 ** 30;

export class Buckets {
  readonly #allocateBuffer: AllocateBuffer;
  readonly #segments: Uint32Array[] = [];
  #count = 0;
  #lower = 0;

  constructor(count: number, allocateBuffer: AllocateBuffer = (bytes) => new ArrayBuffer(bytes)) {
    this.#allocateBuffer = allocateBuffer;
    while (this.#count < count) this.append();
  }

  get count(): number {
    return this.#count;
  }

  get bytesReserved(): number {
    return this.#segments.length * segmentBytes;
  }

  get isFull(): boolean {
    return this.#count >= bucketsMax;
  }

  /** The bucket of a hash. */
  of(hash: number): number {
    const bucket = hash & (2 * this.#lower + 1);
    return bucket < this.#count ? bucket : bucket & this.#lower;
  }

  /** How many of the low bits of a hash decide that it belongs to this bucket. */
  bitsOf(bucket: number): number {
    const isDivided = bucket > this.#lower || bucket + this.#lower + 1 < this.#count;
    return 32 - Math.clz32(this.#lower) + (isDivided ? 1 : 0);
  }

  head(bucket: number): number {
    return this.#segments[bucket >>> segmentShift]![bucket & segmentMask]!;
  }

  setHead(bucket: number, address: number): void {
    this.#segments[bucket >>> segmentShift]![bucket & segmentMask] = address;
  }

  /** The bucket whose entries are divided with the next one to be appended. */
  get nextToSplit(): number {
    return this.#count & this.#lower;
  }

  /** Adds one empty bucket, divided off `nextToSplit`. Throws, changing nothing, without memory. */
  append(): void {
    const bucket = this.#count;
    if (bucket >>> segmentShift === this.#segments.length) {
      this.#segments.push(new Uint32Array(this.#allocateBuffer(segmentBytes)));
    }
    // A segment's buckets may have been used before the table shrank.
    this.setHead(bucket, nowhere);
    this.#count += 1;
    if (this.#count > 2 * this.#lower + 1) this.#lower = 2 * this.#lower + 1;
  }

  /** Takes the last bucket away; the one that its entries belong to now is `nextToSplit`. */
  removeLast(): void {
    this.#count -= 1;
    if (this.#count === this.#lower) this.#lower >>>= 1;
    if ((this.#count & segmentMask) === 0) this.#segments.pop();
  }
}
