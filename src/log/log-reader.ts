/**
 * Reads of the log while it is in use. A read sees what was durable when it began. A cut, a reset or a
 * trim that takes something of that away makes the read reject instead of answering a mixture.
 */

import { CatenaError, DataDamagedError, InvariantError } from '../errors.js';
import type { Disk } from './disk.js';
import type { LogRecord } from './record.js';
import type { SegmentFiles } from './segment-files.js';
import { SegmentReader } from './segment-reader.js';
import type { Segment } from './segment.js';
import { storageFailure } from './storage-failure.js';

/** What was asked for is not, or no longer, in the log: read anew, or send a snapshot. */
export class NotInLogError extends CatenaError {
  constructor(message: string) {
    super('ABORTED', message);
  }
}

interface Read {
  /** The read sees records up to here. */
  readonly throughSeq: number;
  readonly bytesMax: number;
  readonly records: LogRecord[];
  nextSeq: number;
  bytes: number;
  isInvalid: boolean;
}

export class LogReader {
  readonly #disk: Disk;
  readonly #files: SegmentFiles;
  readonly #reads = new Set<Read>();

  constructor(disk: Disk, files: SegmentFiles) {
    this.#disk = disk;
    this.#files = files;
  }

  /** Reads under way that reach beyond `lastSeq` will reject. */
  invalidateAfter(lastSeq: number): void {
    for (const read of this.#reads) {
      if (read.throughSeq > lastSeq) read.isInvalid = true;
    }
  }

  /** Reads under way that still need something below `firstSeq` will reject. */
  invalidateBelow(firstSeq: number): void {
    for (const read of this.#reads) {
      if (read.nextSeq < firstSeq) read.isInvalid = true;
    }
  }

  /** Whole records from `fromSeq`, not beyond `throughSeq`; see SegmentedLog.read. */
  async read(fromSeq: number, throughSeq: number, bytesMax: number): Promise<LogRecord[]> {
    const read: Read = {
      throughSeq,
      bytesMax,
      records: [],
      nextSeq: fromSeq,
      bytes: 0,
      isInvalid: false,
    };
    this.#reads.add(read);
    try {
      while (read.nextSeq <= throughSeq && !isFull(read)) await this.#readSegment(read);
    } catch (error) {
      if (read.isInvalid) throw taken(fromSeq);
      if (error instanceof CatenaError) throw error;
      throw storageFailure('reading the log', this.#files.directory, error);
    } finally {
      this.#reads.delete(read);
    }
    if (read.isInvalid) throw taken(fromSeq);
    return read.records;
  }

  async #readSegment(read: Read): Promise<void> {
    if (read.isInvalid) throw taken(read.nextSeq);
    const segment = this.#files.find(read.nextSeq);
    if (!segment) throw new InvariantError(`no segment of the log holds seq ${read.nextSeq}`);
    const { offset } = segment.pointBefore(read.nextSeq);
    const { endOffset, header, lastSeq } = segment;
    const file = await this.#disk.open(segment.path, 'read');
    try {
      const reader = new SegmentReader(file, header.salt, offset, endOffset);
      while (!isFull(read) && read.nextSeq <= read.throughSeq) {
        const item = await reader.next();
        if (item.kind === 'end' && read.nextSeq > lastSeq) return;
        if (item.kind === 'marker') continue;
        if (item.kind !== 'record') throw damagedWhileReading(segment, item.offset, read.nextSeq);
        take(read, item.record);
      }
    } finally {
      await file.close();
    }
  }
}

function take(read: Read, record: LogRecord): void {
  if (record.lastSeq < read.nextSeq) return;
  if (record.firstSeq !== read.nextSeq) {
    throw new InvariantError(
      `no record begins at seq ${read.nextSeq}: one holds ${record.firstSeq} to ${record.lastSeq}`,
    );
  }
  read.bytes += record.bytes.byteLength;
  read.nextSeq = record.lastSeq + 1;
  if (read.bytes > read.bytesMax && read.records.length > 0) return;
  read.records.push(record);
}

function isFull(read: Read): boolean {
  return read.records.length > 0 && read.bytes >= read.bytesMax;
}

function taken(seq: number): NotInLogError {
  return new NotInLogError(`the log was cut, trimmed or reset while it was read from seq ${seq}`);
}

function damagedWhileReading(segment: Segment, offset: number, seq: number): DataDamagedError {
  return new DataDamagedError(
    `the log is damaged in ${segment.path} at offset ${offset}, seq ${seq}: it was whole when it ` +
      'was written; stop this server and let it join again as a new one',
  );
}
