/**
 * Compares this server's state with that of the one above it in the chain, at equal seq. What was said
 * of a seq that is not applied here yet waits for it, one at a time: a server far behind reaches it.
 *
 * Invariant: a state that differs is never reported as equal, and ends this server (P8).
 */
import type { Member } from '../../coordination/configuration.js';
import { InvariantError } from '../../errors.js';
import type { Machine } from '../../machine/machine.js';

export interface StateClaim {
  readonly seq: number;
  readonly hash: string;
  /** Who says so. */
  readonly from: Pick<Member, 'serverId' | 'address'>;
}

export interface StateComparisonHost {
  machine(): Pick<Machine, 'appliedSeq' | 'hashAfter'>;
  onEqual(seq: number, hash: string): void;
}

export class StateComparison {
  readonly #host: StateComparisonHost;
  #waiting: StateClaim | undefined;

  constructor(host: StateComparisonHost) {
    this.#host = host;
  }

  /** Throws InvariantError if the states differ. */
  compare(claim: StateClaim): void {
    if (claim.seq <= this.#host.machine().appliedSeq) this.#decide(claim);
    else this.#waiting ??= claim;
  }

  /** To be called after each entry. Throws as `compare` does. */
  onApplied(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.seq > this.#host.machine().appliedSeq) return;
    this.#waiting = undefined;
    this.#decide(waiting);
  }

  /** Another epoch: after an operator's recovery the seq that is waited for may be another op. */
  reset(): void {
    this.#waiting = undefined;
  }

  #decide({ seq, hash, from }: StateClaim): void {
    const own = this.#host.machine().hashAfter(seq);
    // Too long ago, or inside of what a snapshot brought: a newer one comes with the next beat.
    if (own === undefined) return;
    if (own !== hash) {
      throw new InvariantError(
        `the state after op ${seq} differs from that of my predecessor: it is ${own} here and ${hash} ` +
          `at ${from.address} (server ${from.serverId}); memory is damaged or the program is wrong; ` +
          'started again, this server rebuilds its state from its disk',
      );
    }
    this.#host.onEqual(seq, hash);
  }
}
