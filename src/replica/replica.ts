/**
 * One server's part of the chain: a pure state machine. `step` takes an event and the instant at
 * which it happened and returns what must be done, in order. No socket, file, timer, promise, clock
 * or randomness in here: a run is its list of events.
 *
 * The rules R1-R14 are those of docs/architecture.md; each part of this folder names the ones it
 * keeps. This file dispatches, and is the only place where roles change.
 */
import {
  type Configuration,
  type Member,
  positionOf,
  sameMember,
} from '../coordination/configuration.js';
import { CatenaError, InvariantError } from '../errors.js';
import { Admission, type LearnerState } from './admission.js';
import { ChainLease } from './chain-lease.js';
import { Core, type Link, type ReplicaOptions } from './core.js';
import type { EntryLog } from './entry-log.js';
import type { EpochRun } from './epoch-runs.js';
import type { Effect, Event, LinkId, Role } from './events.js';
import type { Founding } from './founding.js';
import { Identity } from './identity.js';
import { invariant } from './invariant.js';
import { Learning } from './learning.js';
import type { PeerMessage } from './messages.js';
import { Reads } from './reads.js';
import { Reconfiguration } from './reconfiguration.js';
import { Replication } from './replication.js';
import { Suspicion } from './suspicion.js';
import type { Instant } from './timing.js';
import { type Waiting, waitingOf } from './waiting.js';

export interface ReplicaState {
  readonly log: EntryLog;
  /** What an earlier process of this server last adopted, from disk. */
  readonly lastKnown: Configuration | undefined;
  /** The log comes from a backup and belongs to no cluster yet. Without meaning beside `lastKnown`. */
  readonly founding?: Founding | undefined;
}

/** What clients and operators may know of a replica. */
export interface ReplicaStatus {
  readonly role: Role;
  readonly configuration: Configuration | undefined;
  readonly epoch: number;
  readonly lastSeq: number;
  readonly durableSeq: number;
  readonly commitSeq: number;
  readonly leaseHolds: boolean;
  readonly learners: readonly LearnerState[];
}

export class Replica {
  readonly #core: Core;
  readonly #lease: ChainLease;
  readonly #reads: Reads;
  readonly #replication: Replication;
  readonly #admission: Admission;
  readonly #learning: Learning;
  readonly #suspicion: Suspicion;
  readonly #identity: Identity;
  readonly #reconfiguration: Reconfiguration;
  #beatAtMs = Number.NEGATIVE_INFINITY;
  #started = false;
  /** The configuration that dropped this process, a member until then. */
  #removedBy: Configuration | undefined;

  constructor(options: ReplicaOptions, state: ReplicaState) {
    this.#core = new Core(options, state.log, state.lastKnown?.epoch ?? 0);
    this.#core.onLinkOver = (link) => this.#onLinkOver(link);
    this.#lease = new ChainLease(this.#core);
    this.#reads = new Reads(this.#core, this.#lease);
    this.#replication = new Replication(this.#core, this.#reads, this.#lease);
    this.#admission = new Admission(this.#core, this.#replication, this.#lease);
    this.#learning = new Learning(this.#core, this.#replication, this.#lease, this.#reads);
    this.#suspicion = new Suspicion(this.#core);
    this.#identity = new Identity(this.#core);
    this.#reconfiguration = new Reconfiguration(
      this.#core,
      {
        replication: this.#replication,
        lease: this.#lease,
        admission: this.#admission,
        suspicion: this.#suspicion,
        onAdopted: () => this.#onAdopted(),
      },
      state.lastKnown,
      state.founding,
    );
  }

  /**
   * What must be done about `event`, in this order. Never throws: a broken invariant becomes a `halt`
   * effect, after which every event is ignored.
   */
  step(event: Event, now: Instant): readonly Effect[] {
    const core = this.#core;
    if (core.role === 'halted') return [];
    core.now = now;
    core.effects = [];
    try {
      if (!this.#started) this.#start();
      this.#dispatch(event);
    } catch (error) {
      // What the step did before it failed must not get out: only the halt does.
      core.effects = [];
      core.halt(error instanceof CatenaError ? error : new InvariantError(String(error)));
    }
    return core.effects;
  }

  /** Bytes of entries that are not committed: the head's measure for backpressure. */
  get unacknowledgedBytes(): number {
    return this.#core.log.uncommittedBytes;
  }

  /** The first seq that a peer fed from here may still want from the log; Infinity if none wants any. */
  get neededSeq(): number {
    return this.#replication.neededSeq;
  }

  get configuration(): Configuration | undefined {
    return this.#core.configuration;
  }

  get role(): Role {
    return this.#core.role;
  }

  status(now: Instant): ReplicaStatus {
    const { role, configuration, epoch, log } = this.#core;
    return {
      role,
      configuration,
      epoch,
      lastSeq: log.lastSeq,
      durableSeq: log.durable,
      commitSeq: log.commit,
      leaseHolds: this.#lease.holds(now),
      learners: [...this.#admission.learners()],
    };
  }

  /** Why this server does not serve, and whom it waits for; undefined when it serves. */
  waiting(now: Instant): Waiting | undefined {
    return waitingOf(this.#core, {
      now,
      outlook: this.#reconfiguration.outlook,
      registered: this.#suspicion.registered,
      join: this.#learning.state,
      settled: this.#replication.settled,
      leaseHolds: this.#lease.holds(now),
      removedBy: this.#removedBy,
    });
  }

  /**
   * How the op (epoch, seq) ended, as far as this head knows. never: what is committed proves that it
   * cannot be any more, since along the log epochs do not fall.
   */
  verify(epoch: number, seq: number): 'executed' | 'pending' | 'never' | 'unknown' {
    const { log } = this.#core;
    if (epoch > this.#core.epoch) return 'unknown';
    if (seq <= log.commit) {
      const actual = log.runs.epochAt(seq);
      if (actual === 0) return 'unknown';
      return actual === epoch ? 'executed' : 'never';
    }
    return log.runs.epochAt(log.commit) > epoch ? 'never' : 'pending';
  }

  /** The epoch of the op `seq`; 0 for none. */
  epochAt(seq: number): number {
    return this.#core.log.runs.epochAt(seq);
  }

  /** The epochs of the log up to `seq`: what must travel with a snapshot of it. */
  runsUpTo(seq: number): readonly EpochRun[] {
    return this.#core.log.runs.upTo(seq);
  }

  #start(): void {
    this.#started = true;
    // R9 (i): an earlier process of this server may have removed someone just before it died.
    this.#core.holdUntilMs = this.#core.now.monotonicMs + this.#core.options.timing.leaseMs;
  }

  #dispatch(event: Event): void {
    switch (event.kind) {
      case 'chain':
        return this.#reconfiguration.onChain(event.reading);
      case 'servers':
        this.#identity.onServers(event.servers);
        return this.#suspicion.onServers(event.servers);
      case 'session':
        return this.#identity.onSession(event.isConnected);
      case 'proposed':
        return this.#reconfiguration.onProposed(event.outcome);
      case 'persisted':
        return this.#reconfiguration.onPersisted();
      case 'durable':
        return this.#replication.onDurable(event.seq);
      case 'writes':
        return this.#replication.onWrites(event.writes);
      case 'reads':
        return this.#reads.onReads(event.reads);
      case 'reads-done':
        return this.#reads.onReadsDone(event.reads);
      case 'link-up':
        return this.#onLinkUp(event.link, event.peer, event.dialed);
      case 'link-down':
        return this.#onLinkDown(event.link);
      case 'dial-failed':
        return this.#suspicion.onDialFailed(event.target, event.why);
      case 'message':
        return this.#onMessage(event.link, event.message);
      case 'log-read':
        return this.#withLink(event.link, (link) =>
          this.#replication.onLogRead(link, event.entries),
        );
      case 'snapshot-sent':
        return this.#withLink(event.link, (link) =>
          this.#admission.onSnapshotSent(link, event.seq),
        );
      case 'snapshot-begun':
        return this.#withLink(event.link, (link) =>
          this.#learning.onSnapshotBegun(link, event.runs),
        );
      case 'snapshot-installed':
        // Whatever became of the link: this is what disk and table hold now.
        return this.#learning.onSnapshotInstalled(event.link, event.runs);
      case 'state-hashed':
        return this.#replication.onStateHashed(event.seq, event.hash);
      case 'tick':
        return this.#onTick();
      case 'turn-end':
        return this.#replication.onTurnEnd();
      case 'leave':
        return this.#onLeave();
      case 'disk-full':
        return this.#onDiskFull();
    }
  }

  /** R6: an epoch that is not ours is never looked into. */
  #onMessage(id: LinkId, message: PeerMessage): void {
    const link = this.#core.links.get(id);
    if (link === undefined || this.#core.configuration === undefined) return;
    // Later epochs are not adopted any more, but who speaks in them lives.
    if (this.#core.diskFull) this.#suspicion.onHeard(link.peer.serverId);
    if (message.epoch > this.#core.epoch) {
      if (this.#knows(link)) this.#reconfiguration.onHigherEpoch(message.epoch, message.configId);
      else this.#closeStranger(link);
      return;
    }
    // Until the new epoch is on disk nothing may be answered in it, and the old one is over.
    if (this.#core.adopting !== undefined) return;
    if (message.epoch < this.#core.epoch) {
      if (message.body.kind !== 'stale') this.#tellStale(link);
      return;
    }
    if (message.configId !== this.#core.configuration.configId) {
      invariant(
        !this.#knows(link),
        `epoch ${message.epoch} has two configurations: ZooKeeper went back`,
      );
      this.#closeStranger(link);
      return;
    }
    link.heardAtMs = this.#core.now.monotonicMs;
    this.#suspicion.onHeard(link.peer.serverId);
    this.#dispatchMessage(link, message);
  }

  /** Whether coordination names this server at all: only then does what it claims weigh anything. */
  #knows({ peer }: Link): boolean {
    const named = [
      ...(this.#core.configuration?.members ?? []),
      ...(this.#suspicion.registered ?? []),
    ];
    return named.some(({ serverId }) => serverId === peer.serverId);
  }

  #closeStranger(link: Link): void {
    this.#core.note('warn', 'a server that coordination does not name', {
      serverId: link.peer.serverId,
    });
    this.#core.closeLink(link.id, 'coordination does not name this server');
  }

  #dispatchMessage(link: Link, { body }: PeerMessage): void {
    switch (body.kind) {
      case 'hello':
        return this.#replication.onHello(link);
      case 'hello-answer':
        return this.#replication.onHelloAnswer(link, body);
      case 'settle':
        return this.#replication.onSettle(link, body.seq);
      case 'append':
        return this.#replication.onAppend(link, body.entry, body.commit);
      case 'ack':
        return this.#replication.onAck(link, body.seq, body.entryEpoch);
      case 'commit':
        return this.#replication.onCommit(link, body.commit);
      case 'down-beat':
        this.#lease.onDownBeat(link, body.number, body.echo);
        return this.#reads.onProof();
      case 'up-beat':
        this.#lease.onUpBeat(link, body.number, body.echo);
        return this.#reads.onProof();
      case 'join':
        return this.#admission.onJoin(link, body);
      case 'catch-up':
        return this.#learning.onCatchUp(link, body.seq);
      case 'gate':
        return this.#learning.onGate(link, body.upNumber);
      case 'ungate':
        return this.#learning.onUngate(link);
      case 'ping':
      case 'stale':
        return;
      case 'state-hash':
        return this.#replication.onStateHash(link, body.seq, body.hash);
    }
  }

  #onLinkUp(id: LinkId, peer: Pick<Member, 'serverId' | 'incarnation'>, dialed: boolean): void {
    const heardAtMs = this.#core.now.monotonicMs;
    const link: Link = { id, peer, dialed, heardAtMs, staleToldAtMs: Number.NEGATIVE_INFINITY };
    this.#core.links.set(id, link);
    const { successor } = this.#core;
    if (dialed && successor !== undefined && sameMember(peer, successor)) {
      this.#replication.onSuccessorLink(link);
    } else if (dialed) {
      this.#learning.onLink(link);
    }
  }

  #onLinkDown(id: LinkId): void {
    const link = this.#core.links.get(id);
    if (link === undefined) return;
    this.#core.links.delete(id);
    this.#onLinkOver(link);
    this.#probePredecessor();
  }

  #onLinkOver(link: Link): void {
    this.#replication.onLinkDown(link);
    this.#admission.onLinkDown(link);
    this.#learning.onLinkDown(link);
  }

  #withLink(id: LinkId, act: (link: Link) => void): void {
    const link = this.#core.links.get(id);
    if (link !== undefined) act(link);
  }

  #onTick(): void {
    const { now, options } = this.#core;
    if (now.monotonicMs - this.#beatAtMs >= options.timing.beatMs) {
      this.#beatAtMs = now.monotonicMs;
      this.#beat();
    }
    this.#suspicion.onTick();
    this.#identity.onTick();
    if (this.#core.role === 'halted') return;
    this.#learning.onTick();
    this.#admission.onTick(this.#suspicion.registered ?? []);
    this.#reconfiguration.onTick();
    this.#replication.advance();
    this.#reads.onProof();
    this.#reads.onTick();
  }

  #beat(): void {
    if (this.#core.configuration === undefined || this.#core.adopting !== undefined) return;
    for (const link of this.#core.links.values()) this.#core.send(link.id, { kind: 'ping' });
    this.#probePredecessor();
    this.#replication.greetSuccessor();
    this.#replication.startStateHash();
    this.#lease.startBeat();
  }

  /**
   * Only predecessors dial, so one whose link is gone is asked whether it still listens: a dead
   * process refuses. At each beat, for a dying one may accept for a moment still.
   */
  #probePredecessor(): void {
    const { predecessor, links } = this.#core;
    if (predecessor === undefined) return;
    for (const link of links.values()) {
      if (!link.dialed && sameMember(link.peer, predecessor)) return;
    }
    this.#core.emit({ kind: 'probe', target: predecessor });
  }

  #onLeave(): void {
    if (this.#core.leaving) return;
    this.#stopServing();
    // No member at all: there is nobody to hand over to, and nothing to agree on.
    if (this.#core.isMember) this.#reconfiguration.onTick();
    else this.#core.emit({ kind: 'left' });
  }

  /**
   * What is durable here may still be acked and committed; for the rest the outcome is open at once: the
   * others may hold it, and commit it without this server.
   */
  #onDiskFull(): void {
    if (this.#core.diskFull) return;
    this.#core.diskFull = true;
    this.#replication.abandonWrites(this.#core.log.durable);
    if (!this.#core.leaving) this.#stopServing();
    this.#reconfiguration.onTick();
  }

  /** R10: before anybody is told that this server has left. */
  #stopServing(): void {
    this.#core.leaving = true;
    this.#reads.refuseAll();
    this.#core.emit({ kind: 'announce', state: 'leaving' });
  }

  /** The sender is told our epoch, so that it reads the configuration; once a beat is enough. */
  #tellStale(link: Link): void {
    const sinceMs = this.#core.now.monotonicMs - link.staleToldAtMs;
    if (sinceMs < this.#core.options.timing.beatMs) return;
    link.staleToldAtMs = this.#core.now.monotonicMs;
    this.#core.send(link.id, { kind: 'stale' });
  }

  /** A configuration is on disk and in force: take the role that it gives this incarnation. */
  #onAdopted(): void {
    const configuration = this.#core.configuration as Configuration;
    const position = positionOf(configuration, this.#core.self);
    const last = configuration.members.length - 1;
    this.#lease.reset();
    this.#replication.reset();
    this.#admission.reset();
    this.#learning.reset();
    if (position < 0) this.#becomeLearner(configuration);
    else if (last === 0) this.#becomeSingle(configuration);
    else if (position === 0) this.#becomeHead(configuration);
    else if (position < last) this.#becomeMiddle(configuration);
    else this.#becomeTail(configuration);
    // After the role is taken: who the neighbours are depends on it.
    this.#suspicion.onAdopted();
    invariant(this.#core.epoch === configuration.epoch, 'the role follows the adopted epoch');
    this.#beatAtMs = Number.NEGATIVE_INFINITY;
    this.#onTick();
  }

  #becomeLearner(configuration: Configuration): void {
    const wasMember = this.#core.isMember;
    this.#enter('learner', configuration);
    if (wasMember) {
      this.#removedBy = configuration;
      this.#replication.abandonWrites();
      this.#reads.refuseAll();
    }
    const { tail, self } = this.#core;
    // An earlier incarnation of this server may be the tail: there is nobody to learn from then.
    this.#core.emit({ kind: 'dial', target: tail?.serverId === self.serverId ? undefined : tail });
    if (this.#core.leaving) this.#core.emit({ kind: 'left' });
    else if (wasMember) this.#core.emit({ kind: 'announce', state: 'learner' });
  }

  #becomeSingle(configuration: Configuration): void {
    this.#becomeMember('single', configuration);
    this.#replication.lead();
  }

  #becomeHead(configuration: Configuration): void {
    invariant(this.#core.predecessor === undefined, 'nobody stands above the head');
    this.#becomeMember('head', configuration);
    this.#replication.lead();
  }

  #becomeMiddle(configuration: Configuration): void {
    this.#becomeMember('middle', configuration);
  }

  #becomeTail(configuration: Configuration): void {
    this.#becomeMember('tail', configuration);
    invariant(this.#core.successor === undefined, 'nobody stands below the tail');
  }

  #becomeMember(role: Role, configuration: Configuration): void {
    const wasMember = this.#core.isMember;
    this.#enter(role, configuration);
    this.#removedBy = undefined;
    this.#core.emit({ kind: 'dial', target: this.#core.successor });
    if (!wasMember) this.#core.emit({ kind: 'announce', state: 'member' });
  }

  #enter(role: Role, configuration: Configuration): void {
    this.#core.role = role;
    const { reason } = configuration.change;
    this.#core.emit({ kind: 'role', role, configuration, reason });
  }
}
