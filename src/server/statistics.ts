/** Counts of what clients asked, by kind, for `stats`. */
import type { OpStatistics } from '../protocol/status.js';

interface Tally {
  count: number;
  failures: number;
  totalMs: number;
  maxMs: number;
}

export class Statistics {
  readonly #tallies = new Map<string, Tally>();

  record(kind: string, elapsedMs: number, failed: boolean): void {
    let tally = this.#tallies.get(kind);
    if (tally === undefined) {
      tally = { count: 0, failures: 0, totalMs: 0, maxMs: 0 };
      this.#tallies.set(kind, tally);
    }
    tally.count += 1;
    if (failed) tally.failures += 1;
    tally.totalMs += elapsedMs;
    if (elapsedMs > tally.maxMs) tally.maxMs = elapsedMs;
  }

  list(): OpStatistics[] {
    return [...this.#tallies].map(([kind, { count, failures, totalMs, maxMs }]) => ({
      kind,
      count,
      failures,
      meanMs: totalMs / count,
      maxMs,
    }));
  }
}
