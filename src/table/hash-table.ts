/**
 * The table: keys to {value, version}, all bytes, in chains off the JavaScript heap. It is not safe
 * for use from several threads, and it does not know what its values mean. No operation takes longer
 * because there are more keys: each divides at most one bucket or merges at most `mergesMax`, and
 * frees at most `discardsMax` entries that closed snapshots left behind.
 *
 * A change does everything that can run out of memory before it changes anything: if it throws,
 * the table, and every snapshot, is as it was.
 */

import { keyBytesMax, valueBytesMax } from '../limits.js';
import { Buckets } from './buckets.js';
import { ContentCheck } from './content-check.js';
import { ContentHash, formatHash } from './content-hash.js';
import { EntryStore } from './entry.js';
import { hashKey } from './hash.js';
import { Murmur128 } from './murmur128.js';
import { nowhere, SlabAllocator } from './slab.js';
import type { AllocateBuffer } from './slab.js';
import { BucketSnapshot } from './snapshot.js';
import type { SnapshotHost, TableSnapshot } from './snapshot.js';

export type { TableEntry } from './entry.js';
export type { TableSnapshot } from './snapshot.js';

export interface HashTableOptions {
  /** The table never has fewer buckets than this; it finds the right number by itself. */
  initialBuckets?: number;
  /** Where slabs and buckets get their memory; a test can let it fail. */
  allocateBuffer?: AllocateBuffer;
}

/** A comparison of what lies in memory with the hash that was kept; one that is over changes nothing. */
export interface TableCheck {
  /**
   * Goes on through about so many bytes. Undefined while there is more; at the end the hash of what it
   * found and the one that was kept, both of the table as it is at that moment. May throw if memory is damaged.
   */
  next(bytesMax: number): { readonly found: string; readonly kept: string } | undefined;
  close(): void;
}

const initialBucketsDefault = 16;
/** It grows when there are more keys than buckets, and shrinks when there are fewer than a quarter. */
const bucketsPerKeyMax = 4;
/** Buckets that one change merges; deletes need four each to keep up, the rest catches up. */
const mergesMax = 8;
/** Entries of closed snapshots that one change frees; `close` itself frees up to the second number. */
const discardsMax = 8;
const discardsAtOnceMax = 4096;

export class HashTable {
  readonly #entries: EntryStore;
  readonly #buckets: Buckets;
  readonly #slabs: SlabAllocator;
  readonly #snapshots: BucketSnapshot[] = [];
  readonly #checks: ContentCheck[] = [];
  readonly #content = new ContentHash();
  /** The hashes of the entry that a change takes away and of the one that it brings. */
  readonly #before = new Murmur128();
  readonly #after = new Murmur128();
  readonly #bucketsMin: number;
  #size = 0;
  #bucketsMoved = 0;
  /** A chain of entries that are in no bucket and no snapshot any more. */
  #discarded = nowhere;

  constructor(options: HashTableOptions = {}) {
    this.#slabs = new SlabAllocator(options.allocateBuffer);
    this.#entries = new EntryStore(this.#slabs);
    this.#bucketsMin = Math.max(1, options.initialBuckets ?? initialBucketsDefault);
    this.#buckets = new Buckets(this.#bucketsMin, options.allocateBuffer);
  }

  /** Also used elsewhere: a good 32-bit hash of bytes, the same on every machine. */
  static hash(key: Uint8Array): number {
    return hashKey(key);
  }

  /** The number of keys. */
  get size(): number {
    return this.#size;
  }

  /** Bytes in use: keys, values, overhead, what open snapshots hold, and the buckets. */
  get bytes(): number {
    return this.#slabs.bytesInUse + this.#buckets.bytesReserved;
  }

  /** Bytes held from the system, free cells included. */
  get bytesReserved(): number {
    return this.#slabs.bytesReserved + this.#buckets.bytesReserved;
  }

  get bucketCount(): number {
    return this.#buckets.count;
  }

  /** Buckets divided or merged since the table was made. */
  get bucketsMoved(): number {
    return this.#bucketsMoved;
  }

  /**
   * The hash of all keys, values and versions, whatever their order: two lanes of 32 bits, signed. Each
   * change takes off the entry as it lies in memory, so damage to what is changed stays in the sum.
   */
  get contentHash(): { readonly high: number; readonly low: number } {
    return this.#content;
  }

  /**
   * The value, as a VIEW into the table: good until the next `put` or `delete`, and not to be written
   * to. Whoever keeps it longer, or hands it to something that works later, copies it (`slice`).
   */
  get(key: Uint8Array): Uint8Array | undefined {
    const address = this.#find(key, hashKey(key));
    return address === nowhere ? undefined : this.#entries.value(address);
  }

  /** The version given with the last `put` of this key. */
  version(key: Uint8Array): number | undefined {
    const address = this.#find(key, hashKey(key));
    return address === nowhere ? undefined : this.#entries.version(address);
  }

  has(key: Uint8Array): boolean {
    return this.#find(key, hashKey(key)) !== nowhere;
  }

  /** Stores copies of both; true if it replaced a value. */
  put(key: Uint8Array, value: Uint8Array, version: number): boolean {
    checkArguments(key, value, version);
    const hash = hashKey(key);
    this.#freeDiscarded(discardsMax);
    const old = this.#find(key, hash);
    if (old === nowhere && this.#size >= this.#buckets.count) this.#splitOne();
    const bucket = this.#buckets.of(hash);
    this.#preserve(bucket);
    if (old !== nowhere) this.#entries.digest(old, this.#before);
    if (old !== nowhere && this.#entries.overwrite(old, value, version)) {
      this.#account(hash, true, old);
      return true;
    }
    const entry = this.#entries.create(hash, key, value, version);
    // From here on nothing can fail.
    this.#account(hash, old !== nowhere, entry);
    if (old !== nowhere) {
      this.#unlink(bucket, old);
      this.#entries.free(old);
    } else {
      this.#size += 1;
    }
    this.#entries.setNext(entry, this.#buckets.head(bucket));
    this.#buckets.setHead(bucket, entry);
    this.#shrink();
    return old !== nowhere;
  }

  /** True if the key was there. */
  delete(key: Uint8Array): boolean {
    const hash = hashKey(key);
    this.#freeDiscarded(discardsMax);
    const old = this.#find(key, hash);
    if (old === nowhere) return false;
    const bucket = this.#buckets.of(hash);
    this.#preserve(bucket);
    // From here on nothing can fail.
    this.#entries.digest(old, this.#before);
    this.#account(hash, true, nowhere);
    this.#unlink(bucket, old);
    this.#entries.free(old);
    this.#size -= 1;
    this.#shrink();
    return true;
  }

  /** The table of this instant, to be read page by page while changes go on. Close it, or read it to its end. */
  snapshot(): TableSnapshot {
    const snapshot = new BucketSnapshot(this.#lend());
    this.#snapshots.push(snapshot);
    return snapshot;
  }

  /** Begins a comparison of the whole table with its hash, to be done step by step while changes go on. */
  check(): TableCheck {
    const check = new ContentCheck(this.#entries, this.#buckets);
    this.#checks.push(check);
    const close = (): void => {
      const index = this.#checks.indexOf(check);
      if (index >= 0) this.#checks.splice(index, 1);
    };
    return {
      next: (bytesMax) => {
        if (!check.visit(bytesMax, this.#size)) return undefined;
        close();
        const { sum } = check;
        const { high, low } = this.#content;
        return { found: formatHash(sum.high, sum.low), kept: formatHash(high, low) };
      },
      close,
    };
  }

  #find(key: Uint8Array, hash: number): number {
    return this.#entries.find(this.#buckets.head(this.#buckets.of(hash)), hash, key);
  }

  /** Into the sums: what `#before` holds goes, if anything does, and the entry at `added` comes. */
  #account(hash: number, hasBefore: boolean, added: number): void {
    if (added !== nowhere) this.#entries.digest(added, this.#after);
    if (hasBefore) this.#content.subtract(this.#before);
    if (added !== nowhere) this.#content.add(this.#after);
    for (const check of this.#checks) {
      if (!check.hasVisited(hash)) continue;
      if (hasBefore) check.sum.subtract(this.#before);
      if (added !== nowhere) check.sum.add(this.#after);
    }
  }

  #preserve(bucket: number): void {
    for (const snapshot of this.#snapshots) snapshot.preserve(bucket);
  }

  #unlink(bucket: number, address: number): void {
    const following = this.#entries.next(address);
    let at = this.#buckets.head(bucket);
    if (at === address) {
      this.#buckets.setHead(bucket, following);
      return;
    }
    while (this.#entries.next(at) !== address) at = this.#entries.next(at);
    this.#entries.setNext(at, following);
  }

  /** One more bucket, and into it whatever of the divided one belongs there. */
  #splitOne(): void {
    if (this.#buckets.isFull) return;
    const source = this.#buckets.nextToSplit;
    this.#preserve(source);
    this.#buckets.append();
    this.#bucketsMoved += 1;
    const target = this.#buckets.count - 1;
    let sourceHead = nowhere;
    let targetHead = nowhere;
    let at = this.#buckets.head(source);
    while (at !== nowhere) {
      const following = this.#entries.next(at);
      if (this.#buckets.of(this.#entries.hash(at)) === target) {
        this.#entries.setNext(at, targetHead);
        targetHead = at;
      } else {
        this.#entries.setNext(at, sourceHead);
        sourceHead = at;
      }
      at = following;
    }
    this.#buckets.setHead(source, sourceHead);
    this.#buckets.setHead(target, targetHead);
  }

  /**
   * Merges the last buckets into those that they were divided off. Not while a snapshot scans: it
   * relies on its buckets staying, and a merge that first had to preserve could run out of memory.
   */
  #shrink(): void {
    if (this.#snapshots.length > 0) return;
    const bucketsMax = Math.max(this.#bucketsMin, this.#size * bucketsPerKeyMax);
    for (let merges = 0; merges < mergesMax && this.#buckets.count > bucketsMax; merges += 1) {
      let at = this.#buckets.head(this.#buckets.count - 1);
      this.#buckets.removeLast();
      this.#bucketsMoved += 1;
      const target = this.#buckets.nextToSplit;
      while (at !== nowhere) {
        const following = this.#entries.next(at);
        this.#entries.setNext(at, this.#buckets.head(target));
        this.#buckets.setHead(target, at);
        at = following;
      }
    }
  }

  #freeDiscarded(entriesMax: number): void {
    for (let freed = 0; freed < entriesMax && this.#discarded !== nowhere; freed += 1) {
      const first = this.#discarded;
      this.#discarded = this.#entries.next(first);
      this.#entries.free(first);
    }
  }

  #lend(): SnapshotHost {
    return {
      entries: this.#entries,
      buckets: this.#buckets,
      size: this.#size,
      contentHash: formatHash(this.#content.high, this.#content.low),
      forget: (snapshot) => {
        this.#snapshots.splice(this.#snapshots.indexOf(snapshot), 1);
      },
      discard: (first, last) => {
        this.#entries.setNext(last, this.#discarded);
        this.#discarded = first;
        this.#freeDiscarded(discardsAtOnceMax);
      },
    };
  }
}

function checkArguments(key: Uint8Array, value: Uint8Array, version: number): void {
  if (key.length < 1 || key.length > keyBytesMax) {
    throw new RangeError(`a key has 1 to ${keyBytesMax} bytes, not ${key.length}`);
  }
  if (value.length > valueBytesMax) {
    throw new RangeError(`a value has at most ${valueBytesMax} bytes, not ${value.length}`);
  }
  if (!Number.isSafeInteger(version) || version < 0) {
    throw new RangeError(`a version is a safe integer of 0 or more, not ${version}`);
  }
}
