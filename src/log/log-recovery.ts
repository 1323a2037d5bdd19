/**
 * Recovery: reads the whole log once, in order, and comes to one of three ends.
 *
 * whole: behind the last item there are only zeros, or nothing.
 * torn: the LAST segment has something else there, and no valid marker behind it. It is the rest of
 *   the last write, never reported durable: one write tears in any order of its sectors, so also
 *   whole records of it may follow the hole. It is cut off, and the cut synced.
 * damaged: bytes that were certainly durable are bad. A marker is written only after everything
 *   before it is durable, a segment is made only after its predecessor is: so a valid marker, or a
 *   later segment, behind a bad item proves damage. A valid record with a wrong seq or epoch is
 *   damage too, tearing does not make those. The server must not start with it (DataDamagedError).
 *
 * `commit` of later records is no proof: a learner gets many records in one write whose commits cover
 * the others. Damage in the very last write looks as if it were torn: SegmentedLog.seal() closes that.
 * Zeros count as the end only if nothing else follows them.
 *
 * With a snapshot (base): a log that ends below base.seq, or whose op at base.seq has another epoch
 * than base.epoch, is what an installed snapshot replaced just before a crash: it is dropped. A log
 * that holds (base.seq, base.epoch), or begins right behind it, is kept. One that begins later has a
 * gap, which no crash leaves: damage.
 */

import { join } from 'node:path';
import { DataDamagedError } from '../errors.js';
import type { Disk, DiskFile } from './disk.js';
import { readUpTo } from './disk.js';
import type { EpochIndex } from './epoch-index.js';
import type { LogRecord } from './record.js';
import type { SegmentHeader } from './segment-format.js';
import {
  decodeSegmentHeader,
  findMarker,
  isZero,
  markerBytes,
  parseSegmentFileName,
  segmentHeaderBytes,
} from './segment-format.js';
import { SegmentReader } from './segment-reader.js';
import { Segment } from './segment.js';

/** What the log stands on: the last op in the snapshot and the epoch of that op; {0, 0} = nothing. */
export interface LogBase {
  readonly seq: number;
  readonly epoch: number;
}

export interface LogRecovery {
  readonly outcome: 'whole' | 'torn';
  /** Bytes that were cut off the end of the last segment, zeros included. */
  readonly tornBytes: number;
  /** The log was older than the snapshot, or of another history, and was dropped. */
  readonly stale: boolean;
}

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly base: LogBase;
  readonly epochs: EpochIndex;
  readonly onRecord: (record: LogRecord) => void;
}

const scanChunkBytes = 1024 * 1024;

/**
 * Recovers the segments, oldest first; fills `epochs`. The directory is clean and synced after it; what is no
 * segment (a spare that was being prepared) is removed.
 */
export async function recoverLog(
  options: RecoveryOptions,
): Promise<{ segments: Segment[]; recovery: LogRecovery }> {
  return new Recovery(options).run();
}

/** Removes segments from the highest down, each durably: a crash leaves a prefix, never a gap. */
export async function removeSegments(
  disk: Disk,
  directory: string,
  segments: readonly Segment[],
): Promise<void> {
  for (const segment of segments.toReversed()) {
    await disk.remove(segment.path);
    await disk.syncDirectory(directory);
  }
}

class Recovery {
  readonly #options: RecoveryOptions;
  readonly #segments: Segment[] = [];
  #lastSeq = 0;
  #stale = false;
  #tornBytes = 0;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  async run(): Promise<{ segments: Segment[]; recovery: LogRecovery }> {
    const { disk, directory, base, epochs } = this.#options;
    await disk.makeDirectory(directory);
    const all = await disk.list(directory);
    const isSegment = (name: string): boolean => parseSegmentFileName(name) !== undefined;
    const names = all.filter(isSegment).sort();
    for (const [index, name] of names.entries()) {
      await this.#readSegment(join(directory, name), index === names.length - 1);
    }
    // Nothing is changed before all of it is read: damaged data stays as it was found.
    for (const name of all) if (!isSegment(name)) await disk.remove(join(directory, name));
    this.#stale ||= this.#lastSeq < base.seq && names.length > 0;
    if (this.#stale) {
      await removeSegments(disk, directory, this.#segments);
      epochs.reset(base.epoch);
      this.#segments.length = 0;
    } else {
      await this.#clean();
    }
    await disk.syncDirectory(directory);
    const recovery: LogRecovery = {
      outcome: this.#tornBytes > 0 ? 'torn' : 'whole',
      tornBytes: this.#tornBytes,
      stale: this.#stale,
    };
    return { segments: this.#segments, recovery };
  }

  async #readSegment(path: string, isLast: boolean): Promise<void> {
    const file = await this.#options.disk.open(path, 'read');
    try {
      const size = await file.size();
      const header = decodeSegmentHeader(await readUpTo(file, 0, segmentHeaderBytes), path);
      this.#connect(header, path);
      const segment = new Segment(path, header, size);
      this.#segments.push(segment);
      if (this.#stale) return;
      const stop = await this.#readItems(segment, file);
      if (stop !== undefined) await this.#judgeEnd(segment, file, stop, isLast);
    } finally {
      await file.close();
    }
  }

  #connect(header: SegmentHeader, path: string): void {
    const { base, epochs } = this.#options;
    const isFirst = this.#segments.length === 0;
    if (isFirst) {
      epochs.reset(header.previousEpoch);
      this.#lastSeq = header.firstSeq - 1;
    }
    if (this.#stale) return;
    const gap = isFirst ? header.firstSeq > base.seq + 1 : header.firstSeq !== this.#lastSeq + 1;
    const previousEpoch =
      isFirst && header.firstSeq === base.seq + 1 ? base.epoch : epochs.lastEpoch;
    const nameMatches = path.endsWith(`${String(header.firstSeq).padStart(16, '0')}.log`);
    if (!gap && nameMatches && header.previousEpoch === previousEpoch) return;
    const before = isFirst ? `the snapshot at seq ${base.seq}` : `seq ${this.#lastSeq}`;
    throw new DataDamagedError(
      `the log segment ${path} (offset 0) begins at seq ${header.firstSeq} behind epoch ` +
        `${header.previousEpoch}; it does not connect to ${before} of epoch ${previousEpoch}`,
    );
  }

  /** Answers where and why reading stopped; undefined if the log turned out to be stale. */
  async #readItems(segment: Segment, file: DiskFile): Promise<Stop | undefined> {
    const reader = new SegmentReader(
      file,
      segment.header.salt,
      segmentHeaderBytes,
      segment.capacity,
    );
    for (;;) {
      const item = await reader.next();
      switch (item.kind) {
        case 'record':
          this.#checkRecord(item.record, segment, item.offset);
          segment.addRecord(item.record, item.offset);
          if (this.#stale) return undefined;
          break;
        case 'marker':
          if (item.marker.durableSeq !== this.#lastSeq) {
            throw damage(segment, item.offset, this.#lastSeq + 1, 'a marker misses records');
          }
          segment.addMarker(item.offset);
          break;
        case 'bad':
          return { offset: item.offset, reason: item.reason };
        case 'end':
        case 'zero':
          return { offset: item.offset, reason: 'zeros where a record must be' };
      }
    }
  }

  #checkRecord(record: LogRecord, segment: Segment, offset: number): void {
    const { base, epochs, onRecord } = this.#options;
    if (record.firstSeq !== this.#lastSeq + 1 || record.epoch < epochs.lastEpoch) {
      const found = `a record of seq ${record.firstSeq}, epoch ${record.epoch}`;
      throw damage(segment, offset, this.#lastSeq + 1, `${found} after epoch ${epochs.lastEpoch}`);
    }
    this.#lastSeq = record.lastSeq;
    epochs.add(record.epoch, record.firstSeq);
    const coversBase = record.firstSeq <= base.seq && base.seq <= record.lastSeq;
    if (coversBase && record.epoch !== base.epoch) this.#stale = true;
    else if (record.lastSeq > base.seq) onRecord(record);
  }

  async #judgeEnd(segment: Segment, file: DiskFile, stop: Stop, isLast: boolean): Promise<void> {
    const tail = await inspectTail(file, stop.offset, segment);
    if (tail.isZero) return;
    if (!isLast || tail.markerOffset !== undefined) {
      const proof = isLast
        ? `the marker at offset ${tail.markerOffset} proves that it was durable`
        : 'the next segment proves that it was durable';
      throw damage(segment, stop.offset, this.#lastSeq + 1, `${stop.reason}; ${proof}`);
    }
    this.#tornBytes = segment.capacity - stop.offset;
  }

  /**
   * What was read may still lie only in the page cache (after kill -9): nothing of it may be called
   * durable before the file is synced once more.
   */
  async #clean(): Promise<void> {
    const { disk, directory } = this.#options;
    const last = this.#segments.at(-1);
    if (!last) return;
    if (last.lastSeq < last.firstSeq) {
      await removeSegments(disk, directory, [last]);
      this.#segments.pop();
      return;
    }
    const file = await disk.open(last.path, 'write');
    try {
      if (this.#tornBytes > 0) {
        const offset = last.capacity - this.#tornBytes;
        await file.truncate(offset);
        last.cut(last.lastSeq, offset);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

interface Stop {
  readonly offset: number;
  readonly reason: string;
}

/** Looks at everything from `offset` to the end of the file: only zeros? else, a valid marker? */
async function inspectTail(
  file: DiskFile,
  offset: number,
  segment: Segment,
): Promise<{ isZero: boolean; markerOffset?: number }> {
  let allZero = true;
  for (let at = offset; at < segment.capacity; at += scanChunkBytes - markerBytes) {
    // Chunks overlap by a marker, so that none is missed between two.
    const length = Math.min(scanChunkBytes, segment.capacity - at);
    const bytes = await readUpTo(file, at, length);
    if (isZero(bytes)) continue;
    allZero = false;
    const marker = findMarker(bytes, 0, at, segment.header.salt);
    if (marker) return { isZero: false, markerOffset: marker.offset };
  }
  return { isZero: allZero };
}

function damage(segment: Segment, offset: number, seq: number, reason: string): DataDamagedError {
  return new DataDamagedError(
    `the log is damaged in ${segment.path} at offset ${offset}, seq ${seq}: ${reason}`,
  );
}
