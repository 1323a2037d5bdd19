/**
 * One segment as the log keeps it in memory: where its bytes end and a sparse index from seq to offset.
 * No I/O. `capacity` is the length of its file: preallocated zeros are room, a file that was cut off
 * has none left, so what was cut is never written over.
 *
 * Invariant: segmentHeaderBytes <= endOffset <= capacity; lastSeq = firstSeq - 1 while it is empty.
 */

import type { AppendRecord } from './record.js';
import type { SegmentHeader } from './segment-format.js';
import { markerBytes, segmentHeaderBytes } from './segment-format.js';

/** One index point each so many bytes: 16 bytes of memory for 64 KiB of log. */
const indexIntervalBytes = 64 * 1024;

export interface IndexPoint {
  readonly seq: number;
  readonly offset: number;
}

export class Segment {
  readonly path: string;
  readonly header: SegmentHeader;
  capacity: number;
  endOffset = segmentHeaderBytes;
  lastSeq: number;
  /** A marker is the last item: everything here is proven durable. */
  isSealed = false;
  #points: IndexPoint[] = [];

  constructor(path: string, header: SegmentHeader, capacity: number) {
    this.path = path;
    this.header = header;
    this.capacity = capacity;
    this.lastSeq = header.firstSeq - 1;
  }

  get firstSeq(): number {
    return this.header.firstSeq;
  }

  /** Bytes of records that a group with its marker may still have here. */
  get roomBytes(): number {
    return this.capacity - this.endOffset - markerBytes;
  }

  /** Notes a record that lies at `offset`. */
  addRecord(record: AppendRecord, offset: number): void {
    const last = this.#points.at(-1);
    if (!last || offset - last.offset >= indexIntervalBytes) {
      this.#points.push({ seq: record.firstSeq, offset });
    }
    this.lastSeq = record.lastSeq;
    this.endOffset = offset + record.bytes.byteLength;
    this.isSealed = false;
  }

  /** Notes a marker that lies at `offset`; a seal may lie behind the end of a file that was cut. */
  addMarker(offset: number): void {
    this.endOffset = offset + markerBytes;
    this.capacity = Math.max(this.capacity, this.endOffset);
    this.isSealed = true;
  }

  /** The last index point at or before `seq`: reading from there finds it. */
  pointBefore(seq: number): IndexPoint {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle]?.seq ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    return this.#points[low - 1] ?? { seq: this.firstSeq, offset: segmentHeaderBytes };
  }

  /** Everything from `offset` on, behind `lastSeq`, is gone from the file. */
  cut(lastSeq: number, offset: number): void {
    this.#points = this.#points.filter((point) => point.offset < offset);
    this.lastSeq = lastSeq;
    this.endOffset = offset;
    this.capacity = offset;
    this.isSealed = false;
  }
}
