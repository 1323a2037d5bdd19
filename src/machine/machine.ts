/**
 * The deterministic state machine: ops on the table, in the order of the log. Every member applies
 * the same ops with the same seqs and so holds the same table. Pure.
 *
 * Invariant: the table is exactly the effect of the ops 1..appliedSeq.
 */
import { InvariantError } from '../errors.js';
import type { Entry } from '../replica/entry.js';
import { HashTable, type TableSnapshot } from '../table/hash-table.js';
import type { Op, OpResult } from './op.js';

export class Machine {
  readonly table = new HashTable();
  #appliedSeq: number;

  /** `baseSeq`: the table will be filled by `load` with the state after this seq. */
  constructor(baseSeq = 0) {
    this.#appliedSeq = baseSeq;
  }

  get appliedSeq(): number {
    return this.#appliedSeq;
  }

  /** Applies a committed entry; a result an op. Entries come in order, without a gap. */
  apply(entry: Entry): OpResult[] {
    if (entry.firstSeq !== this.#appliedSeq + 1) {
      throw new InvariantError(`entry ${entry.firstSeq} applied onto ${this.#appliedSeq}`);
    }
    const results: OpResult[] = [];
    let seq = entry.firstSeq;
    for (const op of entry.ops) results.push(this.#applyOp(op, seq++));
    this.#appliedSeq = entry.lastSeq;
    return results;
  }

  /** One entry of a snapshot; only before the first apply. */
  load(key: Uint8Array, value: Uint8Array, version: number): void {
    this.table.put(key, value, version);
  }

  /** The table at this instant, while later ops go on. */
  snapshot(): TableSnapshot {
    return this.table.snapshot();
  }

  #applyOp(op: Op, seq: number): OpResult {
    switch (op.kind) {
      case 'put':
        return { existed: this.table.put(op.key, op.value, seq) };
      case 'delete':
        return { existed: this.table.delete(op.key) };
      case 'epoch':
        return { existed: false };
    }
  }
}
