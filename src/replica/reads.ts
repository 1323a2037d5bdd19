/**
 * Reads at every member (DESIGN 2, R8). A read of a clean key is tried at once; of a dirty key it
 * waits for the commit of the op that made it dirty. The value is read first, then the lease is
 * checked at a later instant, and only then the answer leaves.
 *
 * Whatever waited for a lease is looked at from the start when one is there: what was clean on
 * arrival may be dirty now.
 */
import type { ChainLease } from './chain-lease.js';
import type { Core } from './core.js';
import type { ReadRequest } from './events.js';

export class Reads {
  readonly #core: Core;
  readonly #lease: ChainLease;
  /** Reads by the seq whose commit they wait for: the last seq of an entry. */
  readonly #waitingForCommit = new Map<number, ReadRequest[]>();
  #waitingForLease: { read: ReadRequest; sinceMs: number }[] = [];

  constructor(core: Core, lease: ChainLease) {
    this.#core = core;
    this.#lease = lease;
  }

  onReads(reads: readonly ReadRequest[]): void {
    if (!this.#core.isMember || this.#core.leaving) {
      this.#refuse(reads);
      return;
    }
    const ready: ReadRequest[] = [];
    const headOnly: ReadRequest[] = [];
    for (const read of reads) {
      if (read.scope === 'position') {
        if (this.#core.isHead) ready.push(read);
        else headOnly.push(read);
        continue;
      }
      const seq = this.#core.log.dirtyThrough(read.scope);
      if (seq === 0) ready.push(read);
      else this.#waitFor(seq, read);
    }
    if (headOnly.length > 0)
      this.#core.emit({ kind: 'refuse', requests: headOnly, why: 'NOT_HEAD' });
    this.#try(ready);
  }

  /** The values were read before `core.now`: the one place where answers are let go. */
  onReadsDone(reads: readonly ReadRequest[]): void {
    if (!this.#core.isMember || this.#core.leaving) this.#refuse(reads);
    else if (this.#lease.holds(this.#core.now)) this.#core.emit({ kind: 'answer', reads });
    else this.#waitForLease(reads);
  }

  /** The entry that ends at `seq` has just been applied. */
  onCommitted(seq: number): void {
    const reads = this.#waitingForCommit.get(seq);
    if (reads === undefined) return;
    this.#waitingForCommit.delete(seq);
    this.#try(reads);
  }

  /** The suffix was cut: nothing beyond its end will ever be committed under the seqs waited for. */
  onCut(lastSeq: number): void {
    for (const [seq, reads] of this.#waitingForCommit) {
      if (seq <= lastSeq) continue;
      this.#waitingForCommit.delete(seq);
      this.onReads(reads);
    }
  }

  /** A proof came in: those who waited for a lease may try. */
  onProof(): void {
    if (this.#waitingForLease.length === 0 || !this.#lease.holds(this.#core.now)) return;
    const waiting = this.#waitingForLease;
    this.#waitingForLease = [];
    this.onReads(waiting.map(({ read }) => read));
  }

  onTick(): void {
    const oldestMs = this.#core.now.monotonicMs - this.#core.options.timing.readWaitMs;
    const first = this.#waitingForLease[0];
    if (first === undefined || first.sinceMs > oldestMs) return;
    const late = this.#waitingForLease.filter(({ sinceMs }) => sinceMs <= oldestMs);
    this.#waitingForLease = this.#waitingForLease.filter(({ sinceMs }) => sinceMs > oldestMs);
    this.#core.emit({ kind: 'refuse', requests: late.map(({ read }) => read), why: 'UNAVAILABLE' });
  }

  /** No longer a member, or leaving: other servers can answer. */
  refuseAll(): void {
    const reads = [...this.#waitingForCommit.values()].flat();
    reads.push(...this.#waitingForLease.map(({ read }) => read));
    this.#waitingForCommit.clear();
    this.#waitingForLease = [];
    if (reads.length > 0) this.#refuse(reads);
  }

  #try(reads: readonly ReadRequest[]): void {
    if (reads.length === 0) return;
    if (this.#lease.holds(this.#core.now)) this.#core.emit({ kind: 'read', reads });
    else this.#waitForLease(reads);
  }

  #waitForLease(reads: readonly ReadRequest[]): void {
    const sinceMs = this.#core.now.monotonicMs;
    for (const read of reads) this.#waitingForLease.push({ read, sinceMs });
  }

  #waitFor(seq: number, read: ReadRequest): void {
    const waiting = this.#waitingForCommit.get(seq);
    if (waiting === undefined) this.#waitingForCommit.set(seq, [read]);
    else waiting.push(read);
  }

  #refuse(requests: readonly ReadRequest[]): void {
    this.#core.emit({ kind: 'refuse', requests, why: 'NOT_SERVING' });
  }
}
