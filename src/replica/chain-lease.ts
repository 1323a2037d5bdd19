/**
 * When this member may answer reads (R8): who starts beats, who passes them on, and which of the two
 * proofs its place in the chain needs. The arithmetic of beats is in lease.ts.
 *
 * While the tail gates a learner, the learner is the lowest of the chain for beats: it starts the
 * up-beats, the tail passes them on.
 */
import type { Core, Link } from './core.js';
import { BeatLedger, leaseHolds } from './lease.js';
import type { Instant } from './timing.js';

export class ChainLease {
  readonly #core: Core;
  #ledger = new BeatLedger();
  /** Links that beats travel on, set when the logs at both ends are settled. */
  #above: Link | undefined;
  #below: Link | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Another epoch: nothing that was proven before counts. */
  reset(): void {
    this.#ledger = new BeatLedger();
    this.#above = undefined;
    this.#below = undefined;
  }

  setAbove(link: Link | undefined): void {
    this.#above = link;
  }

  setBelow(link: Link | undefined): void {
    this.#below = link;
  }

  /** Up-beats that the learner starts must be numbered above this. */
  get upNumber(): number {
    return this.#ledger.newestUp;
  }

  /** From here on the proof from below is the learner's. */
  onGateClosed(learner: Link): void {
    this.#ledger.forgetBelow();
    this.#below = learner;
  }

  onGateOpened(): void {
    this.#ledger.forgetBelow();
    this.#below = undefined;
  }

  /** A learner whose tail closed the gate: the lowest for beats from here on. */
  joinProof(link: Link, upNumber: number): void {
    this.#ledger.receivedUp(upNumber, 0);
    this.#above = link;
  }

  /** The head starts a down-beat; the others only pass on. */
  startBeat(): void {
    if (!this.#core.isHead || this.#below === undefined) return;
    this.#passDown(this.#ledger.newestDown + 1, this.#ledger.newestUp);
  }

  onDownBeat(link: Link, number: number, echo: number): void {
    if (link !== this.#above) {
      // Its other end takes it for settled, but it lost its place to another connection: start over.
      this.#core.closeLink(link.id, 'a beat from above on a connection that is not settled');
      return;
    }
    if (number <= this.#ledger.newestDown) return;
    this.#ledger.receivedDown(number, echo);
    if (this.#below !== undefined) this.#passDown(number, echo);
    else if (this.#core.role !== 'middle') this.#passUp(this.#ledger.newestUp + 1, number);
  }

  onUpBeat(link: Link, number: number, echo: number): void {
    if (link !== this.#below) return;
    // A number that was sent on before must not get a later instant: an old echo would count for it.
    if (number <= this.#ledger.newestUp) return;
    this.#ledger.receivedUp(number, echo);
    if (this.#above !== undefined) this.#passUp(number, echo);
  }

  /** Whether a read whose value was taken at or before `now` may be answered. */
  holds(now: Instant): boolean {
    return this.#core.serves && this.isProven(now);
  }

  /** Whether all others were in this epoch a short while ago. */
  isProven(now: Instant): boolean {
    const { role, gate } = this.#core;
    const { provenAbove, provenBelow } = this.#ledger;
    switch (role) {
      case 'single':
        if (gate === undefined) return true;
        return this.#fresh(gate.startedAt, now) || this.#fresh(provenBelow, now);
      case 'head':
        return this.#fresh(provenBelow, now);
      case 'middle':
        return this.#fresh(provenAbove, now) && this.#fresh(provenBelow, now);
      case 'tail':
        return (
          this.#fresh(provenAbove, now) && (gate === undefined || this.#fresh(provenBelow, now))
        );
      case 'learner':
      case 'halted':
        return false;
    }
  }

  #fresh(start: Instant | undefined, now: Instant): boolean {
    return leaseHolds(start, now, this.#core.options.timing.leaseUseMs);
  }

  #passDown(number: number, echo: number): void {
    if (this.#below === undefined) return;
    this.#ledger.sendsDown(number, this.#core.now);
    this.#core.send(this.#below.id, { kind: 'down-beat', number, echo });
  }

  #passUp(number: number, echo: number): void {
    if (this.#above === undefined) return;
    this.#ledger.sendsUp(number, this.#core.now);
    this.#core.send(this.#above.id, { kind: 'up-beat', number, echo });
  }
}
