/**
 * Has everything at rest read once an interval (src/log/scrub.ts), and says when that was last. A start
 * reads it all too, so the first pass comes an interval after it.
 *
 * A pass over B bytes takes about B / bytesPerSecond seconds, and never more than half of the interval:
 * with more data than that it reads faster. One pass at a time.
 */
import { AbortedError, CatenaError, StorageError } from '../../errors.js';
import { scrubBytesPerSecond } from '../../limits.js';
import { scrub, type ScrubResult } from '../../log/scrub.js';
import type { Logger } from '../../logger.js';
import type { ScrubStatus } from '../../protocol/status.js';
import { runtime } from '../../runtime/runtime.js';
import type { Recovered } from '../recovery.js';

export interface ScrubberOptions {
  /** 0: never. */
  readonly intervalMs: number;
  /** Reads everything once. */
  readonly pass: (bytesPerSecond: number, signal: AbortSignal) => Promise<ScrubResult>;
  /** About how many bytes there are to read. */
  readonly bytes: () => number;
  /** Calls once after so many milliseconds, unless what it returns is called before. */
  readonly schedule: (act: () => void, ms: number) => () => void;
  /** The wall clock, in milliseconds. */
  readonly now: () => number;
  readonly logger: Logger;
  /** Something at rest is damaged, or cannot be read. No pass comes after it. */
  readonly onDamage: (error: CatenaError) => void;
}

/** A scrubber of what a server has on its disk; `snapshotBytes`: how large the newest snapshot is. */
export function createScrubber(
  { data, log, snapshots }: Recovered,
  snapshotBytes: () => number,
  options: Pick<ScrubberOptions, 'intervalMs' | 'logger' | 'onDamage'>,
): Scrubber {
  return new Scrubber({
    ...options,
    pass: (bytesPerSecond, signal) => scrub({ data, log, snapshots, bytesPerSecond, signal }),
    bytes: () => log.bytes + snapshotBytes(),
    schedule: (act, ms) => {
      const timer = runtime.after(ms, act, { keepsAlive: false });
      return () => timer.cancel();
    },
    now: () => runtime.wallMs(),
  });
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #stopping = new AbortController();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #last: ScrubStatus | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  /** The last pass that came to its end. */
  get last(): ScrubStatus | undefined {
    return this.#last;
  }

  start(): void {
    const { intervalMs } = this.#options;
    if (intervalMs > 0) this.#scheduleAfter(intervalMs);
  }

  /** Resolves when nothing is read any more. To be called before the log is closed. */
  async stop(): Promise<void> {
    this.#cancel?.();
    this.#stopping.abort();
    await this.#running;
  }

  #scheduleAfter(ms: number): void {
    if (this.#stopping.signal.aborted) return;
    this.#cancel = this.#options.schedule(() => {
      this.#running = this.#pass();
    }, ms);
  }

  async #pass(): Promise<void> {
    const { intervalMs, pass, bytes, now, logger, onDamage } = this.#options;
    const bytesPerSecond = rateFor(bytes(), intervalMs);
    const expectedMs = Math.round((bytes() / bytesPerSecond) * 1000);
    logger.debug('scrub begins', { bytes: bytes(), bytesPerSecond, expectedMs });
    try {
      const result = await pass(bytesPerSecond, this.#stopping.signal);
      this.#last = { atMs: now(), bytes: result.bytes, durationMs: Math.round(result.durationMs) };
      logger.info('scrubbed', { ...result });
      this.#scheduleAfter(Math.max(0, intervalMs - result.durationMs));
    } catch (error) {
      if (error instanceof AbortedError) return;
      const known = error instanceof CatenaError;
      onDamage(known ? error : new StorageError(`the scrub failed (${String(error)})`));
    }
  }
}

/** Bytes a second, so that a pass ends in half of its interval at the latest. */
function rateFor(bytes: number, intervalMs: number): number {
  return Math.max(scrubBytesPerSecond, bytes / (intervalMs / 2_000));
}
