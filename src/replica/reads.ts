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

interface WaitingRead {
  readonly read: ReadRequest;
  readonly sinceMs: number;
}

export class Reads {
  readonly #core: Core;
  readonly #lease: ChainLease;
  /** Reads by the seq whose commit they wait for: the last seq of an entry. */
  readonly #waitingForCommit = new Map<number, WaitingRead[]>();
  #waitingForLease: WaitingRead[] = [];

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
    this.#try(reads.map(({ read }) => read));
  }

  /** The suffix was cut: nothing beyond its end will ever be committed under the seqs waited for. */
  onCut(lastSeq: number): void {
    for (const [seq, reads] of this.#waitingForCommit) {
      if (seq <= lastSeq) continue;
      this.#waitingForCommit.delete(seq);
      this.onReads(reads.map(({ read }) => read));
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
    const isLate = ({ sinceMs }: WaitingRead): boolean => sinceMs <= oldestMs;
    const late = this.#waitingForLease.filter(isLate);
    if (late.length > 0) this.#waitingForLease = this.#waitingForLease.filter((w) => !isLate(w));
    for (const [seq, waiting] of this.#waitingForCommit) {
      // The first of them waits longest.
      if (!isLate(waiting[0] as WaitingRead)) continue;
      late.push(...waiting.filter(isLate));
      const rest = waiting.filter((w) => !isLate(w));
      if (rest.length > 0) this.#waitingForCommit.set(seq, rest);
      else this.#waitingForCommit.delete(seq);
    }
    if (late.length === 0) return;
    this.#core.emit({ kind: 'refuse', requests: late.map(({ read }) => read), why: 'UNAVAILABLE' });
  }

  /** No longer a member, or leaving: other servers can answer. */
  refuseAll(): void {
    const waiting = [...this.#waitingForCommit.values()].flat();
    const reads = [...waiting, ...this.#waitingForLease].map(({ read }) => read);
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
    const sinceMs = this.#core.now.monotonicMs;
    const waiting = this.#waitingForCommit.get(seq);
    if (waiting === undefined) this.#waitingForCommit.set(seq, [{ read, sinceMs }]);
    else waiting.push({ read, sinceMs });
  }

  #refuse(requests: readonly ReadRequest[]): void {
    this.#core.emit({ kind: 'refuse', requests, why: 'NOT_SERVING' });
  }
}
