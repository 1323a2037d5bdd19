/**
 * One point-in-time iteration over the table. It walks the buckets that existed when it began; the
 * table calls `preserve` before it changes a bucket in any way, and a bucket not yet visited is then
 * copied into a queue of cells, off the JavaScript heap like the table itself. Buckets appended later
 * need no visit: the bucket that they were divided off was preserved first.
 *
 * Invariant: an entry of that instant is in exactly one of: handed out, in the queue, in a bucket
 * below `limit` that was neither passed by the cursor nor preserved (and is unchanged since then).
 */

import { InvariantError } from '../errors.js';
import type { Buckets } from './buckets.js';
import { ContentHash, formatHash } from './content-hash.js';
import type { EntryStore, TableEntry } from './entry.js';
import { Murmur128 } from './murmur128.js';
import { nowhere } from './slab.js';

export interface TableSnapshot {
  /** Keys at the instant of the snapshot. */
  readonly size: number;
  /** The hash of all entries at that instant, 16 hexadecimal digits. */
  readonly contentHash: string;
  /**
   * The next entries, up to about `maxBytes` (keys, values and 24 bytes each), always at least one if
   * any is left; empty when there are none, and then the snapshot has closed itself. The arrays are
   * copies that share blocks of memory: whoever keeps one for long copies it again. If memory runs
   * out it throws, now and ever after, so that half a snapshot is never taken for a whole one. Where all
   * were handed out and do not have `contentHash` together, it throws InvariantError instead of ending.
   */
  next(maxBytes: number): TableEntry[];
  /** Frees what the snapshot held; may be called at any time, and again. */
  close(): void;
}

/** What the table lends to its snapshots. */
export interface SnapshotHost {
  readonly entries: EntryStore;
  readonly buckets: Buckets;
  readonly size: number;
  readonly contentHash: string;
  /** The snapshot needs no more calls of `preserve`. */
  forget(snapshot: BucketSnapshot): void;
  /** Takes over a chain of entries to be freed; `last` is its end. */
  discard(first: number, last: number): void;
}

/** Marks are kept for so many buckets together, and only where a bucket was preserved. */
const markShift = 14;
const markMask = (1 << markShift) - 1;
const markBytes = 1 << (markShift - 3);

/** Copies smaller than a quarter of it are cut from one block. */
const blockBytes = 64 * 1024;

type State = 'scanning' | 'draining' | 'closed' | 'failed';

export class BucketSnapshot implements TableSnapshot {
  readonly size: number;
  readonly contentHash: string;
  readonly #host: SnapshotHost;
  readonly #limit: number;
  readonly #marks: (Uint8Array | undefined)[] = [];
  readonly #sum = new ContentHash();
  readonly #digest = new Murmur128();
  #state: State = 'scanning';
  #cursor = 0;
  #queueFirst = nowhere;
  #queueLast = nowhere;

  constructor(host: SnapshotHost) {
    this.#host = host;
    this.size = host.size;
    this.contentHash = host.contentHash;
    this.#limit = host.buckets.count;
  }

  next(maxBytes: number): TableEntry[] {
    if (this.#state === 'failed') throw new Error('this snapshot has failed: take another one');
    if (this.#state === 'closed') return [];
    const page = new Page(maxBytes);
    try {
      this.#fill(page);
      if (page.entries.length === 0) this.#verify();
    } catch (error) {
      this.close();
      this.#state = 'failed';
      throw error;
    }
    if (page.entries.length === 0) this.close();
    return page.entries;
  }

  close(): void {
    if (this.#state === 'closed' || this.#state === 'failed') return;
    this.#stopScanning();
    this.#state = 'closed';
    this.#marks.length = 0;
    if (this.#queueFirst !== nowhere) this.#host.discard(this.#queueFirst, this.#queueLast);
    this.#queueFirst = nowhere;
    this.#queueLast = nowhere;
  }

  /**
   * Called before anything in the bucket changes. Throws, changing nothing, without memory; the
   * caller must then leave the bucket as it is.
   */
  preserve(bucket: number): void {
    if (bucket < this.#cursor || bucket >= this.#limit || this.#isMarked(bucket)) return;
    this.#queueCopies(this.#host.buckets.head(bucket));
    this.#mark(bucket);
  }

  /** The queue first: it holds memory. Then bucket after bucket, straight into the page. */
  #fill(page: Page): void {
    const { entries, buckets } = this.#host;
    for (;;) {
      if (!this.#drainQueue(page) || !this.#advance()) return;
      const head = buckets.head(this.#cursor);
      if (page.hasRoomFor(this.#chainWeight(head))) {
        for (let at = head; at !== nowhere; at = entries.next(at)) this.#handOut(page, at);
        this.#cursor += 1;
      } else if (page.entries.length > 0) {
        return;
      } else {
        // A bucket larger than the page goes by way of the queue, which can stop between entries.
        this.preserve(this.#cursor);
      }
    }
  }

  #handOut(page: Page, address: number): void {
    const { entries } = this.#host;
    entries.digest(address, this.#digest);
    this.#sum.add(this.#digest);
    page.add(entries, address);
  }

  /** What was handed out is what was put in, or memory was damaged meanwhile. */
  #verify(): void {
    const found = formatHash(this.#sum.high, this.#sum.low);
    if (found === this.contentHash) return;
    throw new InvariantError(
      `the entries of the table have the hash ${found}, kept of them was ${this.contentHash}: this ` +
        "server's memory is damaged, or the program is wrong",
    );
  }

  /** False when the page is full and the queue not yet empty. */
  #drainQueue(page: Page): boolean {
    const { entries } = this.#host;
    while (this.#queueFirst !== nowhere) {
      const first = this.#queueFirst;
      if (page.entries.length > 0 && !page.hasRoomFor(entries.weight(first))) return false;
      this.#handOut(page, first);
      this.#queueFirst = entries.next(first);
      if (this.#queueFirst === nowhere) this.#queueLast = nowhere;
      entries.free(first);
    }
    return true;
  }

  /** Moves the cursor to the next bucket that holds something to visit; false when none is left. */
  #advance(): boolean {
    if (this.#state !== 'scanning') return false;
    const { buckets } = this.#host;
    while (this.#cursor < this.#limit) {
      if (buckets.head(this.#cursor) !== nowhere && !this.#isMarked(this.#cursor)) return true;
      this.#cursor += 1;
    }
    this.#stopScanning();
    return false;
  }

  #stopScanning(): void {
    if (this.#state !== 'scanning') return;
    this.#state = 'draining';
    this.#host.forget(this);
  }

  #queueCopies(head: number): void {
    const { entries } = this.#host;
    let first = nowhere;
    let last = nowhere;
    try {
      for (let at = head; at !== nowhere; at = entries.next(at)) {
        const copy = entries.copy(at);
        if (first === nowhere) first = copy;
        else entries.setNext(last, copy);
        last = copy;
      }
    } catch (error) {
      while (first !== nowhere) {
        const following = entries.next(first);
        entries.free(first);
        first = following;
      }
      throw error;
    }
    if (first === nowhere) return;
    if (this.#queueFirst === nowhere) this.#queueFirst = first;
    else entries.setNext(this.#queueLast, first);
    this.#queueLast = last;
  }

  #chainWeight(head: number): number {
    const { entries } = this.#host;
    let weight = 0;
    for (let at = head; at !== nowhere; at = entries.next(at)) weight += entries.weight(at);
    return weight;
  }

  #isMarked(bucket: number): boolean {
    const marks = this.#marks[bucket >>> markShift];
    return marks !== undefined && (marks[(bucket & markMask) >>> 3]! & (1 << (bucket & 7))) !== 0;
  }

  #mark(bucket: number): void {
    const marks = (this.#marks[bucket >>> markShift] ??= new Uint8Array(markBytes));
    marks[(bucket & markMask) >>> 3]! |= 1 << (bucket & 7);
  }
}

/** One answer of `next`, with the memory that its copies are cut from. */
class Page {
  readonly entries: TableEntry[] = [];
  readonly #bytesMax: number;
  readonly #allocate: (bytes: number) => Uint8Array;
  #bytes = 0;
  #block = new Uint8Array(0);
  #used = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#allocate = (bytes) => this.#cut(bytes);
  }

  hasRoomFor(bytes: number): boolean {
    return this.#bytes + bytes <= this.#bytesMax;
  }

  add(store: EntryStore, address: number): void {
    this.entries.push(store.read(address, this.#allocate));
    this.#bytes += store.weight(address);
  }

  #cut(bytes: number): Uint8Array {
    if (bytes > blockBytes / 4) return new Uint8Array(bytes);
    if (this.#used + bytes > this.#block.length) {
      this.#block = new Uint8Array(Math.min(blockBytes, Math.max(bytes, this.#bytesMax)));
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += bytes;
    return this.#block.subarray(start, this.#used);
  }
}
