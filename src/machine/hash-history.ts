/**
 * The hashes of the state at the ends of the newest entries, in a ring of numbers: what another member
 * says of a seq a moment ago can still be compared.
 *
 * Invariant: seqs rise from the oldest to the newest.
 */

/** Ends of entries. At thousands of batches a second it reaches back over some beats of the chain. */
export const hashHistoryEntries = 4096;

export interface Lanes {
  readonly high: number;
  readonly low: number;
}

export class HashHistory {
  readonly #seqs = new Float64Array(hashHistoryEntries);
  readonly #lanes = new Int32Array(2 * hashHistoryEntries);
  /** How many were ever added. */
  #count = 0;

  add(seq: number, { high, low }: Lanes): void {
    const slot = this.#count % hashHistoryEntries;
    this.#seqs[slot] = seq;
    this.#lanes[2 * slot] = high;
    this.#lanes[2 * slot + 1] = low;
    this.#count += 1;
  }

  /** Undefined if no entry ended there, or too long ago. */
  find(seq: number): Lanes | undefined {
    let low = Math.max(0, this.#count - hashHistoryEntries);
    let high = this.#count - 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#seqs[middle % hashHistoryEntries]! < seq) low = middle + 1;
      else high = middle;
    }
    const slot = low % hashHistoryEntries;
    if (this.#count === 0 || this.#seqs[slot] !== seq) return undefined;
    return { high: this.#lanes[2 * slot]!, low: this.#lanes[2 * slot + 1]! };
  }
}
