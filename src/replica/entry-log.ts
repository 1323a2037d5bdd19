/**
 * What a replica knows of its log without reading the disk: where it ends, which epochs it is made
 * of, the suffix that is not known to be committed (with the keys that it makes dirty), and some
 * committed entries before that for a short resend. The bytes on disk are src/log's business.
 *
 * Invariant: commit <= durable and commit <= lastSeq (a member; a learner may apply before its sync).
 */
import type { Entry } from './entry.js';
import { type EpochRun, EpochRuns } from './epoch-runs.js';
import { invariant } from './invariant.js';

export class EntryLog {
  runs: EpochRuns;
  /** All up to here is known to be committed, and was handed out by takeCommitted. */
  commit: number;
  /** All up to here is on this server's disk. */
  durable: number;
  /** Bytes of the entries after `commit`. */
  uncommittedBytes = 0;

  readonly #recentBytesMax: number;
  #entries: Entry[] = [];
  /** Entries before this index are kept only for resends, those from it on are uncommitted. */
  #firstUncommitted = 0;
  #recentBytes = 0;
  readonly #dirty = new Map<number, number>();

  /** `suffix`: what the disk holds after `commit`; the runs cover it too. */
  constructor(
    runs: readonly EpochRun[],
    commit: number,
    suffix: readonly Entry[],
    recentBytesMax: number,
  ) {
    this.runs = new EpochRuns(runs);
    this.commit = commit;
    this.durable = this.runs.lastSeq;
    this.#recentBytesMax = recentBytesMax;
    for (const entry of suffix) this.#push(entry);
    invariant((suffix.at(-1)?.lastSeq ?? commit) === this.lastSeq, 'the suffix reaches the end');
  }

  get lastSeq(): number {
    return this.runs.lastSeq;
  }

  append(entry: Entry): void {
    invariant(entry.firstSeq === this.lastSeq + 1, 'entries are appended without a gap');
    this.runs.extend(entry.epoch, entry.lastSeq);
    this.#push(entry);
  }

  /** Removes every entry after `seq`. Nothing committed may go. */
  cut(seq: number): void {
    invariant(
      seq >= this.commit,
      `a cut to ${seq} may not go below the commit index ${this.commit}`,
    );
    this.runs.cut(seq);
    this.durable = Math.min(this.durable, seq);
    while ((this.#entries.at(-1)?.lastSeq ?? 0) > seq) {
      const entry = this.#entries.pop() as Entry;
      invariant(entry.firstSeq > seq, 'a cut falls between entries');
      this.uncommittedBytes -= entry.record.length;
    }
    this.#dirty.clear();
    for (const entry of this.uncommitted()) this.#markDirty(entry);
  }

  /** Starts anew from a snapshot that holds everything up to the end of `runs`. */
  reset(runs: readonly EpochRun[]): void {
    this.runs = new EpochRuns(runs);
    this.commit = this.lastSeq;
    this.durable = this.lastSeq;
    this.#entries = [];
    this.#firstUncommitted = 0;
    this.#recentBytes = 0;
    this.uncommittedBytes = 0;
    this.#dirty.clear();
  }

  /** The next entry in order that ends at or before `seq`, now counted as committed. */
  takeCommitted(seq: number): Entry | undefined {
    const entry = this.#entries[this.#firstUncommitted];
    if (entry === undefined || entry.lastSeq > seq) return undefined;
    // For a resend the record is enough; the ops may be views that keep larger buffers alive.
    this.#entries[this.#firstUncommitted] = { ...entry, ops: [], keyHashes: [] };
    this.#firstUncommitted += 1;
    this.commit = entry.lastSeq;
    this.uncommittedBytes -= entry.record.length;
    this.#recentBytes += entry.record.length;
    for (const hash of entry.keyHashes) {
      if (this.#dirty.get(hash) === entry.lastSeq) this.#dirty.delete(hash);
    }
    if (this.#recentBytes > this.#recentBytesMax) this.#forgetOldest();
    return entry;
  }

  /** The seq that must be committed before a read of this key (or of all keys) may be answered; 0 for none. */
  dirtyThrough(scope: number | 'all'): number {
    if (scope === 'all') return this.lastSeq > this.commit ? this.lastSeq : 0;
    return this.#dirty.get(scope) ?? 0;
  }

  *uncommitted(): Iterable<Entry> {
    for (let index = this.#firstUncommitted; index < this.#entries.length; index++) {
      yield this.#entries[index] as Entry;
    }
  }

  /** The entry that starts at `seq`, if it is in memory. */
  startingAt(seq: number): Entry | undefined {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#entries[middle] as Entry).firstSeq < seq) low = middle + 1;
      else high = middle;
    }
    const entry = this.#entries[low];
    return entry?.firstSeq === seq ? entry : undefined;
  }

  #push(entry: Entry): void {
    this.#entries.push(entry);
    this.uncommittedBytes += entry.record.length;
    this.#markDirty(entry);
  }

  #markDirty(entry: Entry): void {
    for (const hash of entry.keyHashes) this.#dirty.set(hash, entry.lastSeq);
  }

  /** Drops committed entries down to half the bound, so that the array is moved rarely. */
  #forgetOldest(): void {
    let count = 0;
    while (count < this.#firstUncommitted && this.#recentBytes > this.#recentBytesMax / 2) {
      this.#recentBytes -= (this.#entries[count] as Entry).record.length;
      count += 1;
    }
    this.#entries.splice(0, count);
    this.#firstUncommitted -= count;
  }
}
