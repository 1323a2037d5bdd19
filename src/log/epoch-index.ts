/**
 * Which epoch each op of this disk's log belongs to, by the seq at which an epoch begins: one item a change of
 * epoch, so it stays tiny. Pure. Unlike the replica's EpochRuns it begins where the log does.
 * Invariant: items ascend strictly in firstSeq and in epoch.
 */

interface EpochRun {
  readonly epoch: number;
  readonly firstSeq: number;
}

export class EpochIndex {
  #baseEpoch = 0;
  #runs: EpochRun[] = [];

  /** Epoch of the last op, or of the base while there is none. */
  get lastEpoch(): number {
    return this.#runs.at(-1)?.epoch ?? this.#baseEpoch;
  }

  /** Epoch of the op at `seq`; of the base for anything below the log. */
  epochAt(seq: number): number {
    return this.#runs.findLast((run) => run.firstSeq <= seq)?.epoch ?? this.#baseEpoch;
  }

  add(epoch: number, firstSeq: number): void {
    if (this.#runs.length === 0 || epoch !== this.lastEpoch) this.#runs.push({ epoch, firstSeq });
  }

  /** Forgets everything after `lastSeq`. */
  cut(lastSeq: number): void {
    while ((this.#runs.at(-1)?.firstSeq ?? 0) > lastSeq) this.#runs.pop();
  }

  /** Forgets what lies below `firstSeq`; the op just below becomes the base. */
  trim(firstSeq: number): void {
    this.#baseEpoch = this.epochAt(firstSeq - 1);
    while ((this.#runs[1]?.firstSeq ?? firstSeq + 1) <= firstSeq) this.#runs.shift();
  }

  reset(baseEpoch: number): void {
    this.#baseEpoch = baseEpoch;
    this.#runs = [];
  }
}
