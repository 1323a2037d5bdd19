/**
 * Keeps disk use and start-up time in proportion to live data: writes a snapshot of the table to disk
 * when the log behind the last one has grown enough, while writes go on, and removes the log that
 * nobody needs any more.
 *
 * With R = the bytes to retain and T = the bytes of the table: a snapshot is due when the log behind the
 * last one exceeds max(R, T), so that no more is written for snapshots than for the log. Of the log is
 * kept what lies behind the snapshot, at least R bytes before the end, and what a peer that is being
 * fed still lacks, the latter only while all of it stays below `heldFactor` * max(R, T).
 *
 * Invariant: no log is removed that a durable snapshot does not cover.
 */
import { DiskFullError } from '../../errors.js';
import { snapshotChunkBytes } from '../../limits.js';
import type { SegmentedLog } from '../../log/segmented-log.js';
import type { SnapshotStore } from '../../log/snapshot-store.js';
import type { Logger } from '../../logger.js';
import type { Machine } from '../../machine/machine.js';
import { encodePage } from '../../protocol/messages.js';
import type { EpochRun } from '../../replica/epoch-runs.js';
import { nextTurn, rarely, runtime } from '../../runtime/runtime.js';
import { metadataOf } from './metadata.js';

export interface CheckpointHost {
  readonly store: SnapshotStore;
  readonly log: SegmentedLog;
  readonly logger: Logger;
  /** R: bytes of log that are kept although a snapshot covers them. */
  readonly retainBytes: number;
  machine(): Machine;
  runsUpTo(seq: number): readonly EpochRun[];
  /** The first seq that a peer fed from here may still want from the log; Infinity if there is none. */
  neededSeq(): number;
  onStorageFailure(error: unknown): void;
}

export interface CheckpointState {
  /** 0: there is no snapshot. */
  readonly seq: number;
  /** Of its chunks. */
  readonly bytes: number;
}

/** How much more log than usual is kept for a peer that is being fed. */
const heldFactor = 4;
/** After a snapshot found no room on the disk, the next one is not tried before this. */
const fullDiskPauseMs = 30_000;

export class Checkpoints {
  readonly #host: CheckpointHost;
  #newest: CheckpointState;
  #taking: Promise<void> | undefined;
  #trimming: Promise<void> = Promise.resolve();
  #notBeforeMs = 0;
  #stopped = false;

  constructor(host: CheckpointHost, newest: CheckpointState) {
    this.#host = host;
    this.#newest = newest;
  }

  get newest(): CheckpointState {
    return this.#newest;
  }

  /** Takes a snapshot, or trims the log, if that is due. Cheap; for a few times a second. */
  consider(): void {
    if (this.#stopped || this.#taking !== undefined) return;
    const { log } = this.#host;
    const { seq } = this.#newest;
    const hasNews = this.#host.machine().appliedSeq > seq;
    const isLarge = log.bytesAfter(seq) > this.#usualBytes;
    if (hasNews && (isLarge || runtime.maybe('a checkpoint is due'))) {
      this.take().catch((error: unknown) => {
        if (!this.#stopped) this.#host.onStorageFailure(error);
      });
    } else {
      this.#trim();
    }
  }

  /**
   * Writes a snapshot of this instant, or joins the one that is being written; durable when it resolves.
   * Without room on the disk it gives up, and for a while does not try: the log still holds everything.
   */
  take(): Promise<void> {
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
    });
    return this.#taking;
  }

  /** A snapshot that came from elsewhere is the newest now. */
  onInstalled(newest: CheckpointState): void {
    this.#newest = newest;
    this.#stopped = false;
  }

  /** Gives up what is being written. Nothing is begun until `onInstalled`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#taking?.catch(() => undefined);
    await this.#trimming;
  }

  /** Bytes of log behind a snapshot that are normal. */
  get #usualBytes(): number {
    return Math.max(this.#host.retainBytes, this.#host.machine().table.bytes);
  }

  async #take(): Promise<void> {
    const { store, logger } = this.#host;
    const machine = this.#host.machine();
    if (machine.appliedSeq === this.#newest.seq || runtime.monotonicMs() < this.#notBeforeMs)
      return;
    const startedAtMs = runtime.monotonicMs();
    // Seq, hash and table are of one instant: nothing may come between these lines.
    const snapshot = machine.snapshot();
    const { stateHash } = machine;
    const metadata = metadataOf(this.#host.runsUpTo(machine.appliedSeq), {
      id: runtime.uuid(),
      keys: snapshot.size,
      stateHash,
    });
    let bytes = 0;
    try {
      const writer = await store.create(metadata);
      try {
        for (;;) {
          if (this.#stopped) return await writer.abort();
          const entries = snapshot.next(rarely('a small chunk', 256, snapshotChunkBytes));
          if (entries.length === 0) break;
          const chunk = encodePage({ entries, last: false });
          bytes += chunk.length;
          await writer.write(chunk);
          await nextTurn();
        }
        await writer.finish();
      } catch (error) {
        await writer.abort().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      this.#notBeforeMs = runtime.monotonicMs() + fullDiskPauseMs;
      logger.warn('no room for a snapshot', { reason: error.message });
      return;
    } finally {
      snapshot.close();
    }
    const { seq, keys } = metadata;
    this.#newest = { seq, bytes };
    const ms = Math.round(runtime.monotonicMs() - startedAtMs);
    logger.info('snapshot taken', { seq, keys, bytes, ms });
    this.#trim();
  }

  #trim(): void {
    const { log, retainBytes } = this.#host;
    if (this.#stopped || this.#newest.seq < log.firstSeq) return;
    const held =
      log.bytes > heldFactor * this.#usualBytes ? Number.POSITIVE_INFINITY : this.#host.neededSeq();
    const bytes = rarely('an early trim', 0, retainBytes);
    const keep = Math.min(this.#newest.seq + 1, log.seqToKeep(bytes), held);
    if (keep <= log.firstSeq) return;
    this.#trimming = log.trim(keep).catch((error: unknown) => this.#host.onStorageFailure(error));
  }
}
