/** Shared by the tests of the log: small records, a listener that can be awaited, open and read all. */

import { createRecord, type LogRecord } from '../../src/log/record.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import type { LogBase, LogListener, StorageFailure } from '../../src/log/segmented-log.js';
import { SegmentedLog } from '../../src/log/segmented-log.js';
import type { Disk } from '../../src/log/disk.js';
import type { DiskFullError } from '../../src/errors.js';

export const logDirectory = '/data/log';

export class RecordingListener implements LogListener {
  readonly durable: number[] = [];
  readonly errors: StorageFailure[] = [];
  readonly fullDisks: DiskFullError[] = [];
  #waiting: (() => void)[] = [];

  onDurable(lastSeq: number): void {
    this.durable.push(lastSeq);
    this.#wake();
  }

  onFatal(error: StorageFailure): void {
    this.errors.push(error);
    this.#wake();
  }

  onDiskFull(error: DiskFullError): void {
    this.fullDisks.push(error);
    this.#wake();
  }

  get durableSeq(): number {
    return Math.max(0, ...this.durable);
  }

  async durableThrough(seq: number): Promise<void> {
    while (this.durableSeq < seq) await this.#next();
  }

  async fatal(): Promise<StorageFailure> {
    for (;;) {
      const [error] = this.errors;
      if (error) return error;
      await this.#next();
    }
  }

  async diskFull(): Promise<DiskFullError> {
    for (;;) {
      const [error] = this.fullDisks;
      if (error) return error;
      await this.#next();
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

export function makeRecord(
  firstSeq: number,
  options: { count?: number; epoch?: number; bytes?: number; fill?: number } = {},
): LogRecord {
  const { count = 1, epoch = 1, bytes = 16, fill = firstSeq % 251 } = options;
  return createRecord({ epoch, firstSeq, count, commit: 0 }, Buffer.alloc(bytes, fill + 1));
}

export interface Opened {
  readonly log: SegmentedLog;
  readonly listener: RecordingListener;
  readonly records: LogRecord[];
}

export async function openLog(
  disk: Disk,
  options: { base?: LogBase; segmentBytes?: number; directory?: string } = {},
): Promise<Opened> {
  const listener = new RecordingListener();
  const records: LogRecord[] = [];
  const log = await SegmentedLog.open({
    disk: disk instanceof MemoryDisk ? disk.mount() : disk,
    directory: options.directory ?? logDirectory,
    listener,
    segmentBytes: options.segmentBytes ?? 1024,
    salt: () => 0x1234_5678,
    onRecord: (record) => records.push(record),
    ...(options.base ? { base: options.base } : {}),
  });
  return { log, listener, records };
}

/** A log with these records, each durable in a group of its own. */
export async function filledDisk(
  records: readonly LogRecord[],
  segmentBytes = 1024,
): Promise<{ disk: MemoryDisk } & Opened> {
  const disk = new MemoryDisk();
  const opened = await openLog(disk, { segmentBytes });
  for (const record of records) {
    opened.log.append(record);
    await opened.listener.durableThrough(record.lastSeq);
  }
  return { disk, ...opened };
}

export function isLogFile(path: string): boolean {
  return path.endsWith('.log');
}

/** Lets so many operations of the disk begin, then none go on; resolves when it stopped one. */
export function stopAt(disk: MemoryDisk, operations: number): Promise<void> {
  let count = 0;
  return new Promise((resolve) => {
    disk.setFault(() => {
      if (count++ < operations) return undefined;
      resolve();
      return { until: new Promise(() => {}) };
    });
  });
}

export function seqs(records: readonly LogRecord[]): number[] {
  return records.map((record) => record.firstSeq);
}

export function range(from: number, through: number): number[] {
  return Array.from({ length: through - from + 1 }, (_, index) => from + index);
}

export function lastSegment(disk: MemoryDisk): string {
  const path = disk.paths().findLast((name) => name.endsWith('.log'));
  if (path === undefined) throw new Error('no segment');
  return path;
}
