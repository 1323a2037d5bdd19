/**
 * The append-only log of one server: batches of ops, kept in segment files, made durable in groups.
 * One write is in flight at a time and takes everything that waits; the event loop is never blocked.
 * Any failed write, sync, rename or truncate is fatal, once: nothing is retried and nothing reported
 * durable after it (R14). A write that took only some bytes, without an error, is continued (D7).
 *
 * append, cut and reset change `lastSeq` at once, trim and reset `firstSeq`, and the disk follows in the
 * order of the calls.
 * Invariant: firstSeq - 1 <= durableSeq <= lastSeq.
 */

import { CatenaError, DiskFullError, InvariantError } from '../errors.js';
import { runtime } from '../runtime/runtime.js';
import type { Disk } from './disk.js';
import { errorCode } from './disk.js';
import { EpochIndex } from './epoch-index.js';
import type { Barrier, BarrierWork } from './log-queue.js';
import { LogQueue } from './log-queue.js';
import { LogReader, NotInLogError } from './log-reader.js';
import type { LogBase, LogRecovery } from './log-recovery.js';
import { recoverLog } from './log-recovery.js';
import { verifySegment } from './log-verifier.js';
import type { AppendRecord, LogRecord } from './record.js';
import { SegmentFiles } from './segment-files.js';
import type { Segment } from './segment.js';
import { SpareSegment } from './spare-segment.js';
import { type StorageFailure, storageFailure } from './storage-failure.js';

export { NotInLogError } from './log-reader.js';
export type { LogBase, LogRecovery } from './log-recovery.js';
export type { StorageFailure } from './storage-failure.js';

export const segmentBytesDefault = 16 * 1024 * 1024;

export interface LogListener {
  /** Everything up to and including `lastSeq` is on disk. */
  onDurable(lastSeq: number): void;
  /** Once; after it nothing is reported, appends are ignored; cut, reset, trim, read and seal reject. */
  onFatal(error: StorageFailure): void;
  /**
   * There is no room for the next segment. The log goes on until it needs it, then it fails, unless
   * there is room again: time to leave while this server can still write.
   */
  onDiskFull?(error: DiskFullError): void;
}

export interface LogOptions {
  readonly disk: Disk;
  /** The directory of the segments; made if absent. Nothing else may be kept in it. */
  readonly directory: string;
  readonly listener: LogListener;
  /** (seq, epoch of the op at that seq) of the newest snapshot; absent: the log begins at seq 1. */
  readonly base?: LogBase;
  /**
   * Gets each recovered record that reaches beyond base.seq, in order, before `open` resolves. The
   * first may begin at or below base.seq if the snapshot was taken inside a batch: skip those ops.
   */
  readonly onRecord?: (record: LogRecord) => void;
  readonly segmentBytes?: number;
  /** A random u32 for each segment (see segment-format.ts); simulations give a seeded one. */
  readonly salt?: () => number;
}

export class SegmentedLog {
  /** What `open` found. */
  readonly recovery: LogRecovery;
  readonly #listener: LogListener;
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #spare: SpareSegment;
  readonly #files: SegmentFiles;
  readonly #reader: LogReader;
  readonly #queue = new LogQueue();
  readonly #epochs: EpochIndex;
  #baseSeq: number;
  #lastSeq: number;
  #durableSeq: number;
  /** How often something that was written was taken back (cut, reset, trim), counted as it begins. */
  #changes = 0;
  #failure: StorageFailure | undefined;
  #isClosed = false;
  /** The run of the queue that is under way. */
  #running: Promise<void> | undefined;

  /**
   * Recovers the log; what a torn write left is cut off. Throws DataDamagedError (file, offset and
   * seq in the message), RefusedToStartError for another format, StorageError if the disk fails.
   */
  static async open(options: LogOptions): Promise<SegmentedLog> {
    const base = options.base ?? { seq: 0, epoch: 0 };
    const epochs = new EpochIndex();
    epochs.reset(base.epoch);
    const onRecord = options.onRecord ?? ((): void => {});
    const { disk, directory } = options;
    try {
      const found = await recoverLog({ disk, directory, base, epochs, onRecord });
      return new SegmentedLog(options, base, epochs, found.segments, found.recovery);
    } catch (error) {
      throw isDiskError(error) ? failureOf(directory, error) : error;
    }
  }

  private constructor(
    options: LogOptions,
    base: LogBase,
    epochs: EpochIndex,
    segments: Segment[],
    recovery: LogRecovery,
  ) {
    const { disk, directory, segmentBytes = segmentBytesDefault } = options;
    this.recovery = recovery;
    this.#listener = options.listener;
    this.#directory = directory;
    this.#disk = disk;
    this.#epochs = epochs;
    this.#baseSeq = (segments[0]?.firstSeq ?? base.seq + 1) - 1;
    this.#lastSeq = segments.at(-1)?.lastSeq ?? base.seq;
    this.#durableSeq = this.#lastSeq;
    this.#spare = new SpareSegment(disk, directory, segmentBytes, (error) =>
      this.#onSpareFailed(error),
    );
    this.#files = new SegmentFiles({
      disk,
      directory,
      segmentBytes,
      salt: options.salt ?? ((): number => Math.floor(runtime.random() * 2 ** 32)),
      spare: this.#spare,
      segments,
      last: { seq: this.#lastSeq, epoch: epochs.lastEpoch },
    });
    this.#reader = new LogReader(disk, this.#files);
    this.#spare.prepare();
  }

  /** Seq of the first op that is kept; lastSeq + 1 while there is none. */
  get firstSeq(): number {
    return this.#baseSeq + 1;
  }

  /** Of the last op appended, durable or not; that of the base while there is none. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  get lastEpoch(): number {
    return this.#epochs.lastEpoch;
  }

  get durableSeq(): number {
    return this.#durableSeq;
  }

  /** Epoch of the op at `seq`, which is between firstSeq and lastSeq; of the base just below. */
  epochAt(seq: number): number {
    return this.#epochs.epochAt(seq);
  }

  /**
   * Queues a record; `onDurable` tells when it is on disk. Its bytes may not change any more. Throws
   * InvariantError if it does not follow the last one in seq, or its epoch is lower.
   */
  append(record: AppendRecord): void {
    if (this.#failure) return;
    if (this.#isClosed) throw new InvariantError('append to a log that is closed');
    if (record.firstSeq !== this.#lastSeq + 1 || record.epoch < this.#epochs.lastEpoch) {
      throw new InvariantError(
        `a record of seq ${record.firstSeq}, epoch ${record.epoch} does not follow seq ` +
          `${this.#lastSeq}, epoch ${this.#epochs.lastEpoch}`,
      );
    }
    this.#lastSeq = record.lastSeq;
    this.#epochs.add(record.epoch, record.firstSeq);
    this.#queue.append(record);
    this.#start();
  }

  /**
   * Removes every record after `lastSeq`, durably when it resolves. A crash before that leaves a
   * longer prefix of the old log, never a mixture with what is appended later. Rejects with
   * InvariantError if no record ends there (found in a file only: the log is then failed, too), and
   * with the StorageError of the log.
   */
  async cut(lastSeq: number): Promise<void> {
    this.#assertUsable();
    if (lastSeq > this.#lastSeq || lastSeq < this.#baseSeq) {
      throw new InvariantError(
        `a cut after seq ${lastSeq} of a log that holds ${this.firstSeq} to ${this.#lastSeq}`,
      );
    }
    this.#queue.dropAfter(lastSeq);
    this.#epochs.cut(lastSeq);
    this.#lastSeq = lastSeq;
    this.#durableSeq = Math.min(this.#durableSeq, lastSeq);
    this.#reader.invalidateAfter(lastSeq);
    return this.#barrier({ kind: 'cut', lastSeq, epoch: this.#epochs.lastEpoch });
  }

  /**
   * Drops everything; the next record must begin at base.seq + 1. Call it when a snapshot of that
   * base is durable (SnapshotWriter.finish), or with {0, 0} BEFORE the snapshots are removed: `open`
   * puts a crash in between right (see log-recovery.ts). `base.epoch` must be the epoch of the op.
   */
  async reset(base: LogBase): Promise<void> {
    this.#assertUsable();
    this.#queue.dropRecords();
    this.#epochs.reset(base.epoch);
    this.#baseSeq = base.seq;
    this.#lastSeq = base.seq;
    this.#durableSeq = base.seq;
    this.#reader.invalidateAfter(-1);
    return this.#barrier({ kind: 'reset', base });
  }

  /**
   * Proves everything appended so far durable to a later recovery: without it, rot in the last group
   * looks like a torn write. Worth a call when the log falls idle; costs one small write, or nothing.
   */
  async seal(): Promise<void> {
    this.#assertUsable();
    return this.#barrier({ kind: 'seal' });
  }

  /**
   * Removes whole segments, oldest first, whose records all lie below `keepFromSeq`; never the last.
   * `firstSeq` moves at once: what lies below cannot be read any more. Resolves when the files are
   * gone; a crash before that leaves more of the log, never a gap. The caller sees to it that a durable
   * snapshot covers what goes. What waits goes on between two segments. A log that is closed
   * meanwhile keeps the rest. Rejects with the StorageError of the log.
   */
  async trim(keepFromSeq: number): Promise<void> {
    this.#assertUsable();
    // The op at durableSeq is in a file and no cut or reset that waits takes it away: so the segments
    // in front of it are never the last one, and never written to any more.
    const segments = this.#files.segmentsBelow(Math.min(keepFromSeq, this.#durableSeq));
    const firstSeq = (segments.at(-1)?.lastSeq ?? 0) + 1;
    if (firstSeq > this.firstSeq) {
      this.#baseSeq = firstSeq - 1;
      this.#epochs.trim(firstSeq);
      this.#reader.invalidateBelow(firstSeq);
    }
    for (const segment of segments) {
      if (this.#failure) throw this.#failure;
      if (this.#isClosed) return;
      await this.#barrier({ kind: 'trim', segment, firstSeq });
    }
  }

  /**
   * Whole consecutive records, the first of which begins at `fromSeq`: as many as fit into
   * `bytesMax`, at least one if there is any. Only what is durable at the call is seen; [] beyond it.
   * Rejects with NotInLogError if `fromSeq` lies below firstSeq, or a cut, reset or trim came between;
   * InvariantError if no record begins there; DataDamagedError; StorageError.
   */
  async read(fromSeq: number, bytesMax: number): Promise<LogRecord[]> {
    this.#assertUsable();
    if (fromSeq <= this.#baseSeq) {
      throw new NotInLogError(`the log begins at seq ${this.firstSeq}, not at ${fromSeq}`);
    }
    return this.#reader.read(fromSeq, this.#durableSeq, bytesMax);
  }

  /** About how many bytes of records lie after `seq`, the waiting ones included (within 64 KiB). */
  bytesAfter(seq: number): number {
    return this.#files.bytesAfter(seq) + this.#queue.bytesAfter(seq);
  }

  /**
   * Reads all that is written when it is called, and is not taken back meanwhile, and checks it; goes
   * on when `onBytes` resolves. Rejects with DataDamagedError (file and offset in the message),
   * StorageError, and what `onBytes` rejects with; InvariantError if the log is closed meanwhile.
   */
  async verify(onBytes: (bytes: number) => Promise<void>): Promise<void> {
    for (const segment of this.#files.segments.slice()) {
      let settledAt: number | undefined;
      while (this.#files.segments.includes(segment)) {
        const problem = await verifySegment(this.#disk, segment, onBytes);
        if (!problem) break;
        // Only damage if nothing was changing the file: what began before the seal is done when it
        // resolves, and nothing began since.
        if (settledAt === this.#changes) throw problem;
        settledAt = this.#changes;
        await this.seal();
      }
    }
  }

  /** All bytes of the segments in use: without preallocated zeros, and without what waits. */
  get bytes(): number {
    return this.#files.bytesFrom(this.firstSeq);
  }

  /**
   * The highest seq that `trim` may be given so that at least `bytesMin` bytes of log stay: first of
   * a segment; firstSeq if the log is smaller than that.
   */
  seqToKeep(bytesMin: number): number {
    return Math.max(this.firstSeq, this.#files.seqToKeep(bytesMin) ?? 0);
  }

  /** Waits for what is queued, seals, and closes the files. Never rejects: a failure was reported. */
  async close(): Promise<void> {
    if (this.#isClosed) return this.#running;
    if (!this.#failure) this.#barrier({ kind: 'seal' }).catch(() => {});
    this.#isClosed = true;
    await this.#running;
    await this.#spare.close();
    await this.#files.close().catch((error: unknown) => this.#fail(error));
  }

  #assertUsable(): void {
    if (this.#failure) throw this.#failure;
    if (this.#isClosed) throw new InvariantError('the log is closed');
  }

  #barrier(work: BarrierWork): Promise<void> {
    const done = this.#queue.barrier(work);
    this.#start();
    return done;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Whatever else is appended in this turn of the caller joins the first group.
    await Promise.resolve();
    while (!this.#failure && !this.#queue.isEmpty) {
      const barrier = this.#queue.firstBarrier;
      if (barrier) await this.#passBarrier(barrier);
      else await this.#writeGroup();
    }
    this.#running = undefined;
  }

  async #writeGroup(): Promise<void> {
    const waiting = this.#queue.leadingRecords();
    const group = waiting.slice(0, this.#files.groupLength(waiting));
    this.#queue.removeLeading(group.length);
    try {
      await this.#files.write(group);
    } catch (error) {
      this.#fail(error);
    }
    // The spare may have failed meanwhile: then nothing is reported any more.
    if (this.#failure) return;
    // A cut that waits has dropped part of the group already, as its caller sees it.
    const lastSeq = Math.min(group.at(-1)?.lastSeq ?? 0, this.#queue.durableCeiling);
    if (lastSeq <= this.#durableSeq) return;
    this.#durableSeq = lastSeq;
    this.#listener.onDurable(lastSeq);
  }

  async #passBarrier(barrier: Barrier): Promise<void> {
    try {
      await this.#carryOut(barrier.work);
    } catch (error) {
      barrier.reject(error instanceof InvariantError ? error : failureOf(this.#directory, error));
      this.#fail(error);
    }
    if (this.#failure) return;
    this.#queue.removeFirstBarrier();
    barrier.resolve();
  }

  async #carryOut(work: BarrierWork): Promise<void> {
    if (work.kind !== 'seal') this.#changes++;
    switch (work.kind) {
      case 'cut':
        return this.#files.cut({ seq: work.lastSeq, epoch: work.epoch });
      case 'reset':
        return this.#files.reset(work.base);
      case 'seal':
        return this.#files.seal();
      case 'trim':
        return this.#files.trim(work.segment, work.firstSeq);
    }
  }

  #onSpareFailed(error: unknown): void {
    const failure = failureOf(this.#directory, error);
    if (!(failure instanceof DiskFullError)) this.#fail(failure);
    else if (!this.#failure) this.#listener.onDiskFull?.(failure);
  }

  #fail(error: unknown): void {
    if (this.#failure) return;
    this.#failure = failureOf(this.#directory, error);
    this.#queue.fail(this.#failure);
    this.#listener.onFatal(this.#failure);
  }
}

function isDiskError(error: unknown): boolean {
  return !(error instanceof CatenaError) && errorCode(error) !== undefined;
}

function failureOf(directory: string, error: unknown): StorageFailure {
  return storageFailure(`the log in ${directory}`, directory, error);
}
