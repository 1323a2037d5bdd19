/** What a server took over while it was a learner, told once when it becomes a member. No I/O. */
import type { Role } from '../../replica/events.js';

export class CatchUpReport {
  /** Where its own log ended. */
  #fromSeq: number;
  #snapshotSeq = 0;
  #snapshotBytes = 0;
  #ops = 0;
  #bytes = 0;
  #cutOps = 0;
  #lastSeq: number;
  #isLearner = false;

  /** `lastSeq`: of its own log. */
  constructor(lastSeq: number) {
    this.#fromSeq = lastSeq;
    this.#lastSeq = lastSeq;
  }

  onAppend(firstSeq: number, lastSeq: number, bytes: number): void {
    this.#lastSeq = lastSeq;
    if (!this.#isLearner) return;
    this.#ops += lastSeq - firstSeq + 1;
    this.#bytes += bytes;
  }

  onCut(seq: number): void {
    if (this.#isLearner) this.#cutOps += this.#lastSeq - seq;
    this.#lastSeq = seq;
  }

  onSnapshot(seq: number, bytes: number): void {
    this.#lastSeq = seq;
    this.#snapshotSeq = seq;
    this.#snapshotBytes = bytes;
    this.#ops = 0;
    this.#bytes = 0;
  }

  /** A line for people when a learner has become a member, else undefined. */
  onRole(role: Role): string | undefined {
    const wasLearner = this.#isLearner;
    this.#isLearner = role === 'learner';
    if (this.#isLearner && !wasLearner) this.#begin();
    if (this.#isLearner || !wasLearner || role === 'halted') return undefined;
    const parts = [`had everything up to op ${this.#fromSeq - this.#cutOps}`];
    if (this.#cutOps > 0) parts.push(`gave up ${this.#cutOps} ops that were never acknowledged`);
    if (this.#snapshotSeq > 0) {
      parts.push(`received a snapshot of op ${this.#snapshotSeq} (${this.#snapshotBytes} bytes)`);
    }
    parts.push(`received ${this.#ops} ops of log (${this.#bytes} bytes)`);
    return `caught up: ${parts.join(', ')}`;
  }

  #begin(): void {
    this.#fromSeq = this.#lastSeq;
    this.#snapshotSeq = 0;
    this.#snapshotBytes = 0;
    this.#ops = 0;
    this.#bytes = 0;
    this.#cutOps = 0;
  }
}
