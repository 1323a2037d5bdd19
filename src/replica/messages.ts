/**
 * What servers say to each other. Every message carries the sender's epoch and configId (R6); the
 * shell stamps it into the frame, the core compares it before anything else is looked at.
 */
import type { Entry } from './entry.js';
import type { EpochRun } from './epoch-runs.js';

export interface Stamp {
  readonly epoch: number;
  readonly configId: string;
}

export type PeerBody =
  /** Predecessor to successor, first in an epoch and on a connection: what do you have? (R7) */
  | { readonly kind: 'hello' }
  /** The successor's newest runs, from its commit index on. */
  | { readonly kind: 'hello-answer'; readonly runs: readonly EpochRun[]; readonly commit: number }
  /** Your log and mine agree up to here; what you have beyond it is cut; what follows comes from me. */
  | { readonly kind: 'settle'; readonly seq: number }
  | { readonly kind: 'append'; readonly entry: Entry; readonly commit: number }
  /** Everything up to here is on my disk and on all disks below me. Also from learners. */
  | { readonly kind: 'ack'; readonly seq: number; readonly entryEpoch: number }
  | { readonly kind: 'commit'; readonly commit: number }
  /** Beats (R8): numbered where they start, passed on unchanged, echoing the newest number of the other way. */
  | { readonly kind: 'down-beat'; readonly number: number; readonly echo: number }
  | { readonly kind: 'up-beat'; readonly number: number; readonly echo: number }
  /** A sign of life between neighbours; proves nothing else. */
  | { readonly kind: 'ping' }
  /** Learner to tail: feed me. */
  | {
      readonly kind: 'join';
      readonly runs: readonly EpochRun[];
      readonly commit: number;
      /** A snapshot that a broken transfer left here in part; the shell knows. */
      readonly partial?: PartialSnapshot;
    }
  /** Tail to learner: keep your log up to here, what follows comes from me. */
  | { readonly kind: 'catch-up'; readonly seq: number }
  /** Tail to learner: from now on my proofs wait for yours; number your up-beats above this. (R3) */
  | { readonly kind: 'gate'; readonly upNumber: number }
  | { readonly kind: 'ungate' }
  /** Your epoch is behind mine, which stands in the stamp. */
  | { readonly kind: 'stale' }
  /** To the successor and to learners: the state after op `seq`, the same from the head down to me. */
  | { readonly kind: 'state-hash'; readonly seq: number; readonly hash: string };

export interface PartialSnapshot {
  /** Of the file at the source. */
  readonly id: string;
  /** How many of its chunks are here. */
  readonly chunks: number;
}

export type PeerMessage = Stamp & { readonly body: PeerBody };
