/**
 * What the parts of one replica share: who it is, what it adopted, its log, its links, the clock of
 * the running step and the effects that the step has produced so far. No rules live here; each part
 * (replication, leases, reads, admission, learning, reconfiguration) keeps its own.
 */
import { type Configuration, type Member, positionOf } from '../coordination/configuration.js';
import type { CatenaError } from '../errors.js';
import type { Op } from '../machine/op.js';
import type { EntryLog } from './entry-log.js';
import type { Effect, LinkId, Role } from './events.js';
import type { PeerBody } from './messages.js';
import type { Sender } from './sender.js';
import type { Instant, Timing } from './timing.js';

export interface ReplicaOptions {
  readonly self: Member;
  /** The length of chain that is aimed at; further servers stay learners (R12). */
  readonly replicas: number;
  /** With fewer members writes are refused (R13). */
  readonly minReplicas: number;
  readonly timing: Timing;
  /** Bytes under way to a learner, or read from the log for a successor, before it acknowledges. */
  readonly transferWindowBytes: number;
  /** Unique each time: configIds, the first clusterId. */
  readonly randomId: () => string;
  /** Makes the record that stands in the log and travels down the chain. Deterministic. */
  readonly seal: (header: RecordHeader, ops: readonly Op[]) => Uint8Array;
  /** Whether a learner that lacks everything after `seq` is better served by a snapshot than by the log. */
  readonly prefersSnapshot: (seq: number) => boolean;
}

export interface RecordHeader {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly commit: number;
}

export interface Link {
  readonly id: LinkId;
  readonly peer: Pick<Member, 'serverId' | 'incarnation'>;
  /** Whether this side opened it: predecessors dial successors, learners dial the tail. */
  readonly dialed: boolean;
  /** Monotonic, when the last message in this server's epoch came over it. */
  heardAtMs: number;
  /** Monotonic, when the peer was last told that its epoch is behind. */
  staleToldAtMs: number;
}

/** The tail's promise to prove nothing without this learner any more (R3). */
export interface Gate {
  readonly learner: Member;
  /** Replaced only when this very learner joins again after its link broke. */
  sender: Sender;
  readonly startedAt: Instant;
  /** All that was in the tail's log when the gate closed, whatever epoch acked it. */
  readonly endSeq: number;
  /**
   * none: no compare-and-set was sent, the gate may open. sent: it may have been written. Once sent,
   * only the adoption of another configuration ends the gate.
   */
  admission: 'none' | 'sent';
}

export class Core {
  readonly options: ReplicaOptions;
  readonly log: EntryLog;
  role: Role = 'learner';
  /** Adopted by this process, and on disk. */
  configuration: Configuration | undefined;
  /** The highest epoch on this disk; 0 before the first. */
  epoch: number;
  /** The highest epoch heard of. Above `epoch`, this server no longer serves (R6). */
  knownEpoch: number;
  /** A configuration is on its way to disk; nothing is served or answered meanwhile. */
  adopting: Configuration | undefined;
  leaving = false;
  /** Nothing gets on this disk any more: what is not durable never will be, and no epoch is adopted. */
  diskFull = false;
  /** Monotonic; never lowered. The head commits nothing before it (R9). */
  holdUntilMs = 0;
  readonly links = new Map<LinkId, Link>();
  gate: Gate | undefined;
  now: Instant = { monotonicMs: 0, wallMs: 0 };
  effects: Effect[] = [];
  /** Set by the replica: every part forgets a link that is over. */
  onLinkOver: (link: Link) => void = () => undefined;

  constructor(options: ReplicaOptions, log: EntryLog, epoch: number) {
    this.options = options;
    this.log = log;
    this.epoch = epoch;
    this.knownEpoch = epoch;
  }

  get self(): Member {
    return this.options.self;
  }

  /** Whether this very incarnation is listed in the adopted configuration. */
  get isMember(): boolean {
    return this.role !== 'learner' && this.role !== 'halted';
  }

  get isHead(): boolean {
    return this.role === 'head' || this.role === 'single';
  }

  get isTail(): boolean {
    return this.role === 'tail' || this.role === 'single';
  }

  /** Whether this server knows of no newer epoch than the one it is in. */
  get isCurrent(): boolean {
    return this.adopting === undefined && this.knownEpoch === this.epoch;
  }

  /** Whether clients may be answered at all; the lease comes on top for reads. */
  get serves(): boolean {
    return this.isMember && !this.leaving && this.isCurrent;
  }

  get predecessor(): Member | undefined {
    return this.#neighbour(-1);
  }

  get successor(): Member | undefined {
    return this.#neighbour(1);
  }

  get tail(): Member | undefined {
    return this.configuration?.members.at(-1);
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  send(link: LinkId, body: PeerBody): void {
    const configId = this.configuration?.configId ?? '';
    this.effects.push({ kind: 'send', link, epoch: this.epoch, configId, body });
  }

  note(
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Readonly<Record<string, string | number | boolean | undefined>>,
  ): void {
    this.emit({ kind: 'note', level, message, ...(fields === undefined ? {} : { fields }) });
  }

  /** Over at once for every part here: what the shell still reports of this link is ignored. */
  closeLink(id: LinkId, reason: string): void {
    const link = this.links.get(id);
    if (link === undefined) return;
    this.links.delete(id);
    this.emit({ kind: 'close-link', link: id, reason });
    this.onLinkOver(link);
  }

  /** Nothing is answered from here on (P8). */
  halt(error: CatenaError): void {
    if (this.role === 'halted') return;
    this.role = 'halted';
    this.emit({ kind: 'halt', error });
  }

  #neighbour(offset: number): Member | undefined {
    if (this.configuration === undefined || !this.isMember) return undefined;
    return this.configuration.members[positionOf(this.configuration, this.self) + offset];
  }
}
