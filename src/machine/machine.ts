/**
 * The deterministic state machine: ops on the table, in the order of the log. Every member applies
 * the same ops with the same seqs and so holds the same table. Pure.
 *
 * Invariant: the table is exactly the effect of the ops 1..appliedSeq.
 */
import { InvariantError } from '../errors.js';
import type { Entry } from '../replica/entry.js';
import { formatHash } from '../table/content-hash.js';
import { HashTable, type TableSnapshot } from '../table/hash-table.js';
import { HashHistory } from './hash-history.js';
import type { Op, OpResult } from './op.js';

export class Machine {
  readonly table = new HashTable();
  #appliedSeq: number;
  readonly #baseSeq: number;
  readonly #hashes = new HashHistory();

  /** `baseSeq`: the table will be filled by `load` with the state after this seq. */
  constructor(baseSeq = 0) {
    this.#appliedSeq = baseSeq;
    this.#baseSeq = baseSeq;
  }

  get appliedSeq(): number {
    return this.#appliedSeq;
  }

  /** Of all keys, values and versions after `appliedSeq`: 16 hexadecimal digits. */
  get stateHash(): string {
    const { high, low } = this.table.contentHash;
    return formatHash(high, low);
  }

  /** The hash after op `seq`, if an entry ended there and is among the newest `hashHistoryEntries`. */
  hashAfter(seq: number): string | undefined {
    if (seq === this.#appliedSeq) return this.stateHash;
    const found = this.#hashes.find(seq);
    return found === undefined ? undefined : formatHash(found.high, found.low);
  }

  /** Applies a committed entry; a result an op. Entries come in order, without a gap. */
  apply(entry: Entry): OpResult[] {
    if (entry.firstSeq !== this.#appliedSeq + 1) {
      throw new InvariantError(`entry ${entry.firstSeq} applied onto ${this.#appliedSeq}`);
    }
    // What was loaded is complete now: it is the state after an entry like any other.
    if (this.#appliedSeq === this.#baseSeq) this.#hashes.add(this.#baseSeq, this.table.contentHash);
    const results: OpResult[] = [];
    let seq = entry.firstSeq;
    for (const op of entry.ops) results.push(this.#applyOp(op, seq++));
    this.#appliedSeq = entry.lastSeq;
    this.#hashes.add(entry.lastSeq, this.table.contentHash);
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
