/**
 * Which epoch each op of the log belongs to, as runs: one entry for each change of epoch, so it stays
 * tiny. Pure. Invariant: runs ascend strictly in firstSeq and in epoch.
 */

interface EpochRun {
  readonly epoch: number;
  readonly firstSeq: number;
}

export class EpochRuns {
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

  reset(baseEpoch: number): void {
    this.#baseEpoch = baseEpoch;
    this.#runs = [];
  }
}
