/**
 * What waits to be done to the log, in order: records to append, and barriers (cut, reset, seal, trim)
 * that stand between them. No I/O. The barrier being carried out stays first until it is done, so that what
 * completes meanwhile is judged by it; records being written have left the queue.
 */

import { InvariantError } from '../errors.js';
import type { LogBase } from './log-recovery.js';
import type { AppendRecord } from './record.js';
import type { Segment } from './segment.js';
import type { StorageFailure } from './storage-failure.js';

export type BarrierWork =
  | { readonly kind: 'cut'; readonly lastSeq: number; readonly epoch: number }
  | { readonly kind: 'reset'; readonly base: LogBase }
  | { readonly kind: 'seal' }
  /** Removes this segment, if everything in it still lies below `firstSeq`. */
  | { readonly kind: 'trim'; readonly segment: Segment; readonly firstSeq: number };

export interface Barrier {
  readonly kind: 'barrier';
  readonly work: BarrierWork;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

type QueueItem = Barrier | { readonly kind: 'append'; readonly record: AppendRecord };

export class LogQueue {
  #items: QueueItem[] = [];

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  append(record: AppendRecord): void {
    this.#items.push({ kind: 'append', record });
  }

  /** Resolves or rejects as the barrier does. */
  barrier(work: BarrierWork): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#items.push({ kind: 'barrier', work, resolve, reject });
    });
  }

  /** The barrier that is first, if one is. */
  get firstBarrier(): Barrier | undefined {
    const first = this.#items[0];
    return first?.kind === 'barrier' ? first : undefined;
  }

  removeFirstBarrier(): void {
    if (this.#items[0]?.kind === 'barrier') this.#items.shift();
  }

  /** The records before the first barrier. */
  leadingRecords(): AppendRecord[] {
    const records: AppendRecord[] = [];
    for (const item of this.#items) {
      if (item.kind !== 'append') break;
      records.push(item.record);
    }
    return records;
  }

  removeLeading(count: number): void {
    this.#items.splice(0, count);
  }

  /** Drops the records after `lastSeq` that no barrier follows. InvariantError inside a record. */
  dropAfter(lastSeq: number): void {
    let keep = this.#items.length;
    for (; keep > 0; keep--) {
      const item = this.#items[keep - 1];
      if (item?.kind !== 'append' || item.record.lastSeq <= lastSeq) break;
      const { firstSeq, lastSeq: recordLastSeq } = item.record;
      if (firstSeq <= lastSeq) {
        throw new InvariantError(
          `a cut after seq ${lastSeq} would divide the record ${firstSeq} to ${recordLastSeq}`,
        );
      }
    }
    this.#items.length = keep;
  }

  /** Drops all records that wait; the barriers stay, they have callers. */
  dropRecords(): void {
    this.#items = this.#items.filter((item) => item.kind === 'barrier');
  }

  /** What a write that completes now may at most report as durable: what waits may take it back. */
  get durableCeiling(): number {
    let ceiling = Number.MAX_SAFE_INTEGER;
    for (const item of this.#items) {
      if (item.kind !== 'barrier') continue;
      if (item.work.kind === 'reset') return -1;
      if (item.work.kind === 'cut') ceiling = Math.min(ceiling, item.work.lastSeq);
    }
    return ceiling;
  }

  bytesAfter(seq: number): number {
    let total = 0;
    for (const item of this.#items) {
      if (item.kind === 'append' && item.record.lastSeq > seq) {
        total += item.record.bytes.byteLength;
      }
    }
    return total;
  }

  /** Empties the queue; whoever waits for a barrier gets the error. */
  fail(error: StorageFailure): void {
    const items = this.#items;
    this.#items = [];
    for (const item of items) {
      if (item.kind === 'barrier') item.reject(error);
    }
  }
}
