/**
 * Which epoch each entry of a log was first logged in, as runs: one small pair an epoch, never one
 * an entry. Two logs of one cluster that hold the same (seq, epoch) hold the same entries up to
 * there (log matching), so comparing runs finds the last common entry without reading a log.
 *
 * Of the oldest epochs only the end is kept, as one run of epoch 0, so that a long life stays small: what
 * they were is unknown, and such a run matches nothing.
 *
 * Invariant: epochs strictly rise from run to run, lastSeq strictly rises, runs cover 1..lastSeq.
 */
import { invariant } from './invariant.js';

/** More epochs than this are not told apart any more; 24 bytes each in a snapshot's head. */
export const epochRunsMax = 10_000;

export interface EpochRun {
  readonly epoch: number;
  /** The last seq of this epoch that the log holds. */
  readonly lastSeq: number;
}

/** Whether the runs rise as they must. What strangers and files say of a log is asked before it is believed. */
export function areRuns(runs: readonly EpochRun[]): boolean {
  return runs.every(({ epoch, lastSeq }, index) => {
    const before = runs[index - 1] ?? { epoch: -1, lastSeq: 0 };
    return epoch > before.epoch && lastSeq > before.lastSeq;
  });
}

/** The runs that a file claims to hold; undefined if they are none. */
export function parseRuns(value: unknown): EpochRun[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const isCount = (part: unknown): boolean => Number.isSafeInteger(part) && Number(part) >= 0;
  const runs = (value as (Partial<EpochRun> | null)[]).map((run) => ({
    epoch: run?.epoch as number,
    lastSeq: run?.lastSeq as number,
  }));
  const areCounts = runs.every(({ epoch, lastSeq }) => isCount(epoch) && isCount(lastSeq));
  return areCounts && areRuns(runs) ? runs : undefined;
}

export class EpochRuns {
  #runs: EpochRun[];

  constructor(runs: readonly EpochRun[] = []) {
    this.#runs = [...runs];
  }

  /** 0 for an empty log. */
  get lastSeq(): number {
    return this.#runs.at(-1)?.lastSeq ?? 0;
  }

  /** 0 for an empty log. */
  get lastEpoch(): number {
    return this.#runs.at(-1)?.epoch ?? 0;
  }

  /** The log now ends at `lastSeq`, with an entry of `epoch`. */
  extend(epoch: number, lastSeq: number): void {
    const last = this.#runs.at(-1);
    invariant(last === undefined || epoch >= last.epoch, 'epochs never fall along a log');
    invariant(lastSeq > this.lastSeq, 'a log only grows at its end');
    if (last?.epoch === epoch) this.#runs.pop();
    this.#runs.push({ epoch, lastSeq });
    if (this.#runs.length <= epochRunsMax) return;
    const [, second] = this.#runs;
    this.#runs.splice(0, 2, { epoch: 0, lastSeq: second?.lastSeq ?? 0 });
  }

  /** Forgets everything after `seq`. */
  cut(seq: number): void {
    while (this.lastSeq > seq) {
      const run = this.#runs.pop() as EpochRun;
      if (this.lastSeq < seq) this.#runs.push({ epoch: run.epoch, lastSeq: seq });
    }
  }

  /** The epoch of the entry at `seq`; 0 when the log does not hold it, or it is not known any more. */
  epochAt(seq: number): number {
    if (seq < 1 || seq > this.lastSeq) return 0;
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#runs[middle] as EpochRun).lastSeq >= seq) high = middle;
      else low = middle + 1;
    }
    return (this.#runs[low] as EpochRun).epoch;
  }

  /** The runs that reach to `seq` or beyond: what a peer needs to find the last common entry above it. */
  from(seq: number): EpochRun[] {
    return this.#runs.filter((run) => run.lastSeq >= seq);
  }

  /** The runs of the log cut at `seq`. */
  upTo(seq: number): EpochRun[] {
    const copy = new EpochRuns(this.#runs);
    copy.cut(seq);
    return copy.#runs;
  }

  /**
   * The last seq that this log and the other one have in common, given the other one's newest runs
   * (`from` of its commit index). 0 when nothing of them matches; whether that is a cut below what
   * the other one knows to be committed is for the other one to judge.
   */
  commonWith(theirs: readonly EpochRun[]): number {
    for (let index = theirs.length - 1; index >= 0; index--) {
      const their = theirs[index] as EpochRun;
      if (their.epoch === 0) continue;
      const position = this.#runs.findIndex((run) => run.epoch === their.epoch);
      if (position < 0) continue;
      return Math.min((this.#runs[position] as EpochRun).lastSeq, their.lastSeq);
    }
    return 0;
  }
}
