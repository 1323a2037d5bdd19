/**
 * Reads everything at rest once, slowly, and checks every checksum: so rot is found while other members
 * still have what it took. Files come and go meanwhile; what vanished is no damage.
 *
 * Not covered: zeros behind the end of a segment, which hold nothing; and what the kernel still has in its
 * cache is read from there, not from the medium.
 */

import { AbortedError, CatenaError } from '../errors.js';
import { delay, runtime } from '../runtime/runtime.js';
import type { DataDirectory } from './data-directory.js';
import type { SegmentedLog } from './segmented-log.js';
import type { SnapshotStore } from './snapshot-store.js';
import { storageFailure } from './storage-failure.js';

export interface ScrubOptions {
  readonly data: DataDirectory;
  readonly log: SegmentedLog;
  readonly snapshots: SnapshotStore;
  /** Never faster than this, so a pass takes at least (and about) bytes / bytesPerSecond. */
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal;
  /** How much was read so far. */
  readonly onProgress?: (bytes: number) => void;
  /** Monotonic milliseconds, and waiting for some; tests give their own. */
  readonly clock?: () => number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface ScrubResult {
  readonly bytes: number;
  readonly durationMs: number;
}

/**
 * Throws DataDamagedError that names file and offset, RefusedToStartError for a foreign format,
 * StorageError where the disk cannot be read, AbortedError at the signal (before the log is closed).
 */
export async function scrub(options: ScrubOptions): Promise<ScrubResult> {
  const { data, log, snapshots, signal } = options;
  const clock = options.clock ?? ((): number => runtime.monotonicMs());
  const startedAtMs = clock();
  const pace = new Pace(options, clock);
  const onBytes = (bytes: number): Promise<void> => pace.spend(bytes);
  try {
    await data.verify();
    await verifyNewest(snapshots, onBytes);
    await log.verify(onBytes);
  } catch (error) {
    if (signal.aborted) throw new AbortedError('the scrub was stopped', { cause: error });
    throw error instanceof CatenaError ? error : storageFailure('the scrub', data.path, error);
  }
  return { bytes: pace.bytes, durationMs: clock() - startedAtMs };
}

/** The file stays open, so a newer snapshot does not disturb. */
async function verifyNewest(
  snapshots: SnapshotStore,
  onBytes: (bytes: number) => Promise<void>,
): Promise<void> {
  const reader = await snapshots.newest();
  if (reader === undefined) return;
  try {
    for await (const chunk of reader.chunks()) await onBytes(chunk.byteLength);
  } finally {
    await reader.close();
  }
}

class Pace {
  bytes = 0;
  readonly #options: ScrubOptions;
  readonly #clock: () => number;
  #dueMs = 0;

  constructor(options: ScrubOptions, clock: () => number) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Time that was lost is not made up for: that would be a burst. */
  async spend(bytes: number): Promise<void> {
    const { bytesPerSecond, signal, onProgress, sleep = sleepUnlessAborted } = this.#options;
    signal.throwIfAborted();
    this.bytes += bytes;
    onProgress?.(this.bytes);
    const now = this.#clock();
    this.#dueMs = Math.max(now, this.#dueMs) + (bytes / bytesPerSecond) * 1000;
    // Timers are no finer than this.
    if (this.#dueMs - now >= 1) await sleep(this.#dueMs - now, signal);
  }
}

async function sleepUnlessAborted(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, { signal, keepsAlive: false });
  signal.throwIfAborted();
}
