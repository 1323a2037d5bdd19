/**
 * The times of the chain protocol, all derived from the one that an operator may choose: D, the
 * length of a lease. All in milliseconds.
 */
import { leaseMargin } from '../limits.js';

/** An instant on two clocks. Only differences count; the wall clock only ever shortens a lease. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Timing {
  /** D: how long a removed member may still believe in its lease, hence how long a new head waits. */
  readonly leaseMs: number;
  /** D * (1 - margin): how long a lease is used. */
  readonly leaseUseMs: number;
  /** Between two beats of the head, and two signs of life on a link. */
  readonly beatMs: number;
  /** A neighbour silent for this long is removed. */
  readonly silenceMs: number;
  /** A server whose znode is gone is removed after this, times one plus the remover's place in the chain. */
  readonly goneMs: number;
  /** A gate whose learner does not catch up for this long is opened again. */
  readonly gateMs: number;
  /** How long a full outage waits for the missing members once those that are back could form a chain. */
  readonly reviveGraceMs: number;
  /** Between two tries of a compare-and-set, or two reads of `/chain`, that did not help. */
  readonly retryMs: number;
  /** A read that could not be answered for this long is refused. */
  readonly readWaitMs: number;
  /** How long `/chain` may show an older epoch than this server's disk before a start is refused. */
  readonly olderChainMs: number;
  /** A registration seen for this long is that of a live process: longer than any session timeout. */
  readonly rivalMs: number;
}

export function timingOf(leaseMs: number, reviveGraceMs: number): Timing {
  return {
    leaseMs,
    leaseUseMs: leaseMs * (1 - leaseMargin),
    beatMs: leaseMs / 10,
    silenceMs: leaseMs * 0.8,
    goneMs: leaseMs / 5,
    gateMs: leaseMs * 4,
    reviveGraceMs,
    retryMs: leaseMs / 2,
    readWaitMs: 10_000,
    olderChainMs: 5_000,
    rivalMs: 10_000,
  };
}
