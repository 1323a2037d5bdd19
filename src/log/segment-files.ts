/**
 * The segments on disk and the steps that change them. The caller runs one step at a time and gives
 * up at the first error; what a step changed in memory is right only if it resolved.
 *
 * Invariant: when a step begins, everything in the files is durable. So a marker written at the head
 * of a group proves all before it; a new segment proves all older ones; and a cut, which truncates,
 * leaves no old byte behind the new end that later records could join up with.
 */

import { join } from 'node:path';
import { InvariantError } from '../errors.js';
import type { Disk, DiskFile } from './disk.js';
import { writeFully } from './disk.js';
import type { LogBase } from './log-recovery.js';
import { removeSegments } from './log-recovery.js';
import type { AppendRecord } from './record.js';
import type { SegmentHeader } from './segment-format.js';
import {
  encodeMarker,
  encodeSegmentHeader,
  markerBytes,
  segmentFileName,
  segmentHeaderBytes,
} from './segment-format.js';
import { SegmentReader } from './segment-reader.js';
import { Segment } from './segment.js';
import type { SpareSegment } from './spare-segment.js';

const emptySegmentBytes = segmentHeaderBytes + markerBytes;
const largeName = 'large.new';

export interface SegmentFilesOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly salt: () => number;
  readonly spare: SpareSegment;
  /** What recovery found, oldest first, and the op that it ends with (or begins behind). */
  readonly segments: Segment[];
  readonly last: LogBase;
}

export class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  readonly #segments: Segment[];
  /** The last segment, open for writing; undefined before its first write. */
  #file: DiskFile | undefined;
  #last: LogBase;

  constructor(options: SegmentFilesOptions) {
    this.#options = options;
    this.#segments = options.segments;
    this.#last = options.last;
  }

  get directory(): string {
    return this.#options.directory;
  }

  /** How many of these records the next write takes: those that fit into the segment it goes to. */
  groupLength(records: readonly AppendRecord[]): number {
    const firstBytes = records[0]?.bytes.byteLength ?? 0;
    const roomHere = this.#segments.at(-1)?.roomBytes ?? 0;
    const roomAfterRoll = Math.max(this.#options.segmentBytes - emptySegmentBytes, firstBytes);
    let room = firstBytes <= roomHere ? roomHere : roomAfterRoll;
    let count = 0;
    for (const record of records) {
      room -= record.bytes.byteLength;
      if (room < 0) break;
      count++;
    }
    return count;
  }

  /** Writes a group that `groupLength` measured. It is durable when this resolves. */
  async write(records: readonly AppendRecord[]): Promise<void> {
    const first = records[0];
    if (!first) return;
    let segment = this.#segments.at(-1);
    if (!segment || segment.roomBytes < first.bytes.byteLength) segment = await this.#roll(first);
    const file = this.#file ?? (await this.#openLast(segment));
    const start = segment.endOffset;
    const buffers: Uint8Array[] = [this.#marker(segment)];
    for (const record of records) buffers.push(record.bytes);
    await writeFully(file, buffers, start);
    let offset = start + markerBytes;
    for (const record of records) {
      segment.addRecord(record, offset);
      offset += record.bytes.byteLength;
    }
    const last = records.at(-1) ?? first;
    this.#last = { seq: last.lastSeq, epoch: last.epoch };
  }

  /** A marker without records: proves the last group durable, so that rot in it is seen as damage. */
  async seal(): Promise<void> {
    const segment = this.#segments.at(-1);
    if (!segment || segment.isSealed) return;
    const file = this.#file ?? (await this.#openLast(segment));
    await writeFully(file, [this.#marker(segment)], segment.endOffset);
    segment.addMarker(segment.endOffset);
  }

  /** Removes everything after `last.seq`, durably. Throws InvariantError inside a record. */
  async cut(last: LogBase): Promise<void> {
    if (this.#last.seq <= last.seq) return;
    const first = this.#segments.findIndex((segment) => segment.firstSeq > last.seq);
    if (first !== -1) await this.#removeFrom(first);
    const segment = this.#segments.at(-1);
    if (segment && segment.lastSeq > last.seq) await this.#truncate(segment, last.seq);
    this.#last = last;
  }

  async reset(base: LogBase): Promise<void> {
    await this.#removeFrom(0);
    this.#last = base;
  }

  /** Segments in which everything lies below `seq`, oldest first; never the last one. */
  segmentsBelow(seq: number): Segment[] {
    return this.#segments.filter(
      (segment, index) => index < this.#segments.length - 1 && segment.lastSeq < seq,
    );
  }

  /**
   * Removes the oldest segment, durably. It stays if something changed since it was chosen: a reset
   * removed it, or after a cut it took records again.
   */
  async trim(segment: Segment, firstSeq: number): Promise<void> {
    const { disk, directory } = this.#options;
    if (this.segmentsBelow(firstSeq)[0] !== segment) return;
    await disk.remove(segment.path);
    await disk.syncDirectory(directory);
    this.#segments.shift();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** The segment in which the record of `seq` lies. */
  find(seq: number): Segment | undefined {
    return this.#segments.findLast((segment) => segment.firstSeq <= seq && seq <= segment.lastSeq);
  }

  /** Bytes of log after `seq`, markers included; exact to one index interval. */
  bytesAfter(seq: number): number {
    let total = 0;
    for (const segment of this.#segments.toReversed()) {
      if (segment.lastSeq <= seq) break;
      const start =
        segment.firstSeq > seq ? segmentHeaderBytes : segment.pointBefore(seq + 1).offset;
      total += segment.endOffset - start;
    }
    return total;
  }

  /** Bytes in use of the segments that hold something from `seq` on. */
  bytesFrom(seq: number): number {
    let total = 0;
    for (const segment of this.#segments) {
      if (segment.lastSeq >= seq) total += segment.endOffset;
    }
    return total;
  }

  /** First seq of the newest segment that has, with those behind it, `bytesMin` bytes in use. */
  seqToKeep(bytesMin: number): number | undefined {
    let total = 0;
    for (const segment of this.#segments.toReversed()) {
      total += segment.endOffset;
      if (total >= bytesMin) return segment.firstSeq;
    }
    return undefined;
  }

  #marker(segment: Segment): Buffer {
    return encodeMarker({
      salt: segment.header.salt,
      durableSeq: this.#last.seq,
      offset: segment.endOffset,
    });
  }

  async #openLast(segment: Segment): Promise<DiskFile> {
    this.#file = await this.#options.disk.open(segment.path, 'write-dsync');
    return this.#file;
  }

  /**
   * Begins a new segment: its header is durable before its name is, its name before its records. So
   * a file with the name of a segment always has a whole header.
   */
  async #roll(first: AppendRecord): Promise<Segment> {
    const { disk, directory, segmentBytes, salt, spare } = this.#options;
    await this.close();
    const header: SegmentHeader = {
      firstSeq: first.firstSeq,
      previousEpoch: this.#last.epoch,
      salt: salt() >>> 0,
    };
    const isLarge = first.bytes.byteLength > segmentBytes - emptySegmentBytes;
    const source = isLarge ? join(directory, largeName) : spare.path;
    if (isLarge) await (await disk.open(source, 'create')).close();
    else await spare.take();
    const file = await disk.open(source, 'write-dsync');
    this.#file = file;
    await writeFully(file, [encodeSegmentHeader(header)], 0);
    const path = join(directory, segmentFileName(first.firstSeq));
    await disk.rename(source, path);
    await disk.syncDirectory(directory);
    spare.prepare();
    const capacity = isLarge ? emptySegmentBytes + first.bytes.byteLength : segmentBytes;
    const segment = new Segment(path, header, capacity);
    this.#segments.push(segment);
    return segment;
  }

  async #removeFrom(index: number): Promise<void> {
    await this.close();
    await removeSegments(this.#options.disk, this.#options.directory, this.#segments.slice(index));
    this.#segments.length = index;
  }

  async #truncate(segment: Segment, lastSeq: number): Promise<void> {
    const file = this.#file ?? (await this.#openLast(segment));
    const offset = await endOfRecord(file, segment, lastSeq);
    await file.truncate(offset);
    await file.sync();
    segment.cut(lastSeq, offset);
  }
}

/** The offset behind the record that ends with `lastSeq`. */
async function endOfRecord(file: DiskFile, segment: Segment, lastSeq: number): Promise<number> {
  const { offset } = segment.pointBefore(lastSeq);
  const reader = new SegmentReader(file, segment.header.salt, offset, segment.endOffset);
  for (;;) {
    const item = await reader.next();
    if (item.kind === 'marker') continue;
    if (item.kind !== 'record') {
      throw new Error(`${segment.path} cannot be read at offset ${item.offset}`);
    }
    const { record } = item;
    if (record.lastSeq === lastSeq) return item.offset + record.bytes.byteLength;
    if (record.lastSeq > lastSeq) {
      throw new InvariantError(
        `a cut after seq ${lastSeq} would divide the record ${record.firstSeq} to ${record.lastSeq}`,
      );
    }
  }
}
