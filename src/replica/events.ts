/**
 * What happens to a replica and what it wants done. Effects are executed in the order given, all of
 * them, before the next event; an effect that takes time (append, persist, propose …) reports back
 * with an event of its own.
 */
import type { Configuration, Member } from '../coordination/configuration.js';
import type { Registration, WriteOutcome } from '../coordination/coordinator.js';
import type { CatenaError } from '../errors.js';
import type { Op } from '../machine/op.js';
import type { Entry } from './entry.js';
import type { EpochRun } from './epoch-runs.js';
import type { PartialSnapshot, PeerBody, PeerMessage } from './messages.js';

/** A client's write as the core sees it; the shell's own object, handed back in effects. */
export interface WriteRequest {
  readonly op: Op;
  readonly keyHash: number;
}

/**
 * A client's read as the core sees it. `scope`: the hash of its key; 'all' for reads of many keys,
 * which wait for the whole suffix; 'position' for reads of the log itself (verify), head only.
 */
export interface ReadRequest {
  readonly scope: number | 'all' | 'position';
}

/** A connection to or from another server; never reused. */
export type LinkId = number;

/** What this server keeps on disk besides its log: adopted before the first answer in it (R7). */
export interface DurableState {
  readonly configuration: Configuration;
}

export type ChainReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'garbage' }
  | {
      readonly kind: 'found';
      readonly configuration: Configuration;
      /** The znode's version, for the next compare-and-set. */
      readonly version: number;
    };

export type Refusal = 'NOT_HEAD' | 'NOT_SERVING' | 'NOT_ENOUGH_REPLICAS' | 'UNAVAILABLE';

export type Role = 'learner' | 'head' | 'middle' | 'tail' | 'single' | 'halted';

export type Event =
  | { readonly kind: 'chain'; readonly reading: ChainReading }
  | { readonly kind: 'servers'; readonly servers: readonly Registration[] }
  /** Whether the coordination session answers; until it was told, it counts as one that does. */
  | { readonly kind: 'session'; readonly isConnected: boolean }
  | { readonly kind: 'proposed'; readonly outcome: WriteOutcome }
  /** The state of the last `persist` effect is on disk. */
  | { readonly kind: 'persisted' }
  /**
   * Everything up to `seq` is on disk, as it stands after all effects given so far: what a `cut` that was
   * given but not yet carried out takes away is never reported.
   */
  | { readonly kind: 'durable'; readonly seq: number }
  | { readonly kind: 'writes'; readonly writes: readonly WriteRequest[] }
  | { readonly kind: 'reads'; readonly reads: readonly ReadRequest[] }
  /** The values of these reads were read just now, before this event's instant. */
  | { readonly kind: 'reads-done'; readonly reads: readonly ReadRequest[] }
  | {
      readonly kind: 'link-up';
      readonly link: LinkId;
      readonly peer: Pick<Member, 'serverId' | 'incarnation'>;
      readonly dialed: boolean;
    }
  | { readonly kind: 'link-down'; readonly link: LinkId }
  /**
   * The target of `dial` or `probe` could not be reached. refused: nobody listens there; replaced:
   * another incarnation of the server answered; unreachable: no answer.
   */
  | {
      readonly kind: 'dial-failed';
      readonly target: Member;
      readonly why: 'refused' | 'replaced' | 'unreachable';
    }
  /** The messages of one link come in the order in which they were sent, none after its `link-down`. */
  | { readonly kind: 'message'; readonly link: LinkId; readonly message: PeerMessage }
  /** Answer to `read-log`: the consecutive entries that start at `fromSeq`. */
  | { readonly kind: 'log-read'; readonly link: LinkId; readonly entries: readonly Entry[] }
  /** Answer to `send-snapshot`: a snapshot of everything up to `seq` has been sent. */
  | { readonly kind: 'snapshot-sent'; readonly link: LinkId; readonly seq: number }
  /** A snapshot that covers `runs` begins to arrive over `link`. */
  | { readonly kind: 'snapshot-begun'; readonly link: LinkId; readonly runs: readonly EpochRun[] }
  /**
   * A snapshot received over `link` is on disk and in the table; its log covers `runs`. It may begin to
   * replace them only while `link` is up, and nothing is reported between its beginning and its end.
   */
  | {
      readonly kind: 'snapshot-installed';
      readonly link: LinkId;
      readonly runs: readonly EpochRun[];
    }
  /** The table's hash after op `seq`: told by `hash-state`, or found equal to the one above by `compare-state`. */
  | { readonly kind: 'state-hashed'; readonly seq: number; readonly hash: string }
  | { readonly kind: 'tick' }
  /** The end of a turn of the loop: acks and the commit index that are due leave now. */
  | { readonly kind: 'turn-end' }
  | { readonly kind: 'leave' }
  /** Nothing gets on this disk any more; the chain is left without it, the process ends. */
  | { readonly kind: 'disk-full' };

export type Effect =
  | { readonly kind: 'persist'; readonly state: DurableState }
  | { readonly kind: 'append'; readonly entry: Entry }
  /** Removes what lies after `seq` from the log on disk, before any later append. */
  | { readonly kind: 'cut'; readonly seq: number }
  /** These writes got the op ids of `entry`, in order. Answers those that did not want to wait. */
  | { readonly kind: 'assigned'; readonly entry: Entry; readonly writes: readonly WriteRequest[] }
  /** The entry is committed: apply it to the table; `writes` (if any) wait for its results. */
  | {
      readonly kind: 'apply';
      readonly entry: Entry;
      readonly writes: readonly WriteRequest[] | undefined;
    }
  /** This server can no longer tell how these writes end: answer 'unknown' with their op ids. */
  | { readonly kind: 'abandon'; readonly entry: Entry; readonly writes: readonly WriteRequest[] }
  | {
      readonly kind: 'refuse';
      readonly requests: readonly (WriteRequest | ReadRequest)[];
      readonly why: Refusal;
    }
  /** Read the values, then report `reads-done` with a fresh instant. */
  | { readonly kind: 'read'; readonly reads: readonly ReadRequest[] }
  /** The values just read may leave. */
  | { readonly kind: 'answer'; readonly reads: readonly ReadRequest[] }
  | {
      readonly kind: 'send';
      readonly link: LinkId;
      readonly epoch: number;
      readonly configId: string;
      readonly body: PeerBody;
    }
  /** Keep one connection open to this server, and only this one, trying again for ever. */
  | { readonly kind: 'dial'; readonly target: Member | undefined }
  /** Does anybody listen there? Only a failure is reported. */
  | { readonly kind: 'probe'; readonly target: Member }
  | { readonly kind: 'close-link'; readonly link: LinkId; readonly reason: string }
  | {
      readonly kind: 'read-log';
      readonly link: LinkId;
      readonly fromSeq: number;
      readonly bytesMax: number;
    }
  /** A snapshot that reaches at least to `afterSeq`; of one that is there in part, the rest. */
  | {
      readonly kind: 'send-snapshot';
      readonly link: LinkId;
      readonly afterSeq: number;
      readonly partial: PartialSnapshot | undefined;
    }
  /**
   * Compare-and-set `/chain`; `version` undefined creates it. `confirm`: only on a session that has
   * just answered a read that shows this very version (R3).
   */
  | {
      readonly kind: 'propose';
      readonly configuration: Configuration;
      readonly version: number | undefined;
      readonly confirm: boolean;
    }
  /** Report `state-hashed` for the table as it is now. */
  | { readonly kind: 'hash-state' }
  /**
   * Once op `seq` is applied here, compare the hash of the table after it. Equal: report `state-hashed`.
   * Different: stop at once. Not known any more: leave it.
   */
  | {
      readonly kind: 'compare-state';
      readonly seq: number;
      readonly hash: string;
      readonly from: Member;
    }
  /** Read `/chain` again. */
  | { readonly kind: 'refresh' }
  | { readonly kind: 'announce'; readonly state: Registration['state'] }
  /** Role, epoch or chain changed; for people and for clients' views. */
  | {
      readonly kind: 'role';
      readonly role: Role;
      readonly configuration: Configuration;
      readonly reason: string;
    }
  /** Worth a line in the log. `fields` hold the details. */
  | {
      readonly kind: 'note';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields?: Readonly<Record<string, string | number | boolean | undefined>>;
    }
  /** A graceful leave is complete: the process may end. */
  | { readonly kind: 'left' }
  /** Stop at once and say why; nothing may be answered any more. */
  | { readonly kind: 'halt'; readonly error: CatenaError };
