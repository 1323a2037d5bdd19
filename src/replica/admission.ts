/**
 * The tail's side of a join (R3): feeds learners, closes the gate on one that is close, and has it
 * admitted when it has acked all that was in the tail's log when the gate closed.
 *
 * Invariant: once a compare-and-set of an admission was sent, only the adoption of another
 * configuration ends the gate. A read that still shows the old one proves nothing.
 */
import { type Member, sameMember } from '../coordination/configuration.js';
import type { Registration } from '../coordination/coordinator.js';
import type { ChainLease } from './chain-lease.js';
import type { Core, Link } from './core.js';
import type { LinkId } from './events.js';
import type { PeerBody } from './messages.js';
import type { Replication } from './replication.js';
import { Sender } from './sender.js';

/** A learner this many seqs behind is close: what is under way in a moment of load. */
export const closeSeqs = 20_000;

export interface LearnerState {
  readonly serverId: string;
  readonly link: LinkId;
  readonly acked: number;
  /** gated, or how it is being fed: live, reading, snapshot. */
  readonly state: string;
}

export class Admission {
  readonly #core: Core;
  readonly #replication: Replication;
  readonly #lease: ChainLease;
  readonly #feeds = new Map<Link, Sender>();
  /** After a gate in vain none is closed before this. */
  #notBeforeMs = 0;
  /** The one whose gate was the last to open without an admission. */
  #inVain: Member | undefined;

  constructor(core: Core, replication: Replication, lease: ChainLease) {
    this.#core = core;
    this.#replication = replication;
    this.#lease = lease;
  }

  /** Another configuration was adopted: whatever was under way has been decided. */
  reset(): void {
    this.#core.gate = undefined;
    this.#notBeforeMs = 0;
    for (const link of this.#feeds.keys()) {
      this.#core.closeLink(link.id, 'the epoch changed; join again');
    }
    this.#feeds.clear();
  }

  /** Each learner under way: where it stands. For `chain`. */
  *learners(): Iterable<LearnerState> {
    for (const [link, sender] of this.#feeds) {
      const gated = this.#core.gate?.sender === sender;
      const state = gated ? 'gated' : sender.state;
      yield { serverId: link.peer.serverId, link: link.id, acked: sender.acked, state };
    }
  }

  onJoin(link: Link, body: PeerBody & { kind: 'join' }): void {
    const { isTail, log, options } = this.#core;
    // The learner matches against this log, so this log must be the head's already (REPORT T4).
    if (!isTail || !this.#replication.settled) return;
    // It asks until it is answered. A second answer would have it cut what it has acked (REPORT T5).
    if (this.#feeds.has(link)) return;
    const common = log.runs.commonWith(body.runs);
    const prefersSnapshot = common < log.commit && options.prefersSnapshot(common);
    const isFed = common >= body.commit && !prefersSnapshot;
    // A snapshot of nothing could not be acked: it asks again, and a commit is on its way.
    if (!isFed && log.commit === 0) return;
    const sender = new Sender(this.#core, link, true);
    this.#feeds.set(link, sender);
    if (isFed) {
      this.#feedAfter(sender, common);
      this.#resumeGate(sender);
      return;
    }
    sender.state = 'snapshot';
    this.#replication.senders.add(sender);
    this.#core.note('info', 'sending a snapshot to a learner', { learner: link.peer.serverId });
    // Never wipe what may have been acked: the snapshot reaches at least as far as what is common. Nor what is
    // committed, where it is so far back that only its epochs were forgotten and nothing seems common.
    this.#core.emit({
      kind: 'send-snapshot',
      link: link.id,
      afterSeq: Math.max(common, Math.min(body.commit, log.commit)),
      partial: body.partial,
    });
  }

  onSnapshotSent(link: Link, seq: number): void {
    const sender = this.#feeds.get(link);
    if (sender?.state !== 'snapshot') return;
    // What follows is sent when the learner acks the snapshot: it takes nothing while it installs it.
    sender.awaitSnapshot(seq);
  }

  onLinkDown(link: Link): void {
    this.#drop(link);
    const { gate } = this.#core;
    if (gate?.sender.link === link && gate.admission === 'none')
      this.#openGate('learner went away');
  }

  /** Closes, opens or carries on a gate. The registry says which learners are alive. */
  onTick(registered: readonly Registration[]): void {
    const { gate, links } = this.#core;
    if (gate === undefined) this.#considerGate(registered);
    else if (gate.admission === 'none') {
      const { link } = gate.sender;
      // It may have gone while a compare-and-set was out that then proved never to have been sent.
      if (!links.has(link.id)) this.#openGate('learner went away');
      else if (this.#gateIsLate()) this.#openGate('learner too slow');
      // Closing its link opens the gate: the chain must not wait for a process that stands still.
      else if (this.#isSilent(link)) this.#core.closeLink(link.id, 'silent while gated');
    }
  }

  /** The gated learner has acked all it must: it may be written into the chain. */
  get admissible(): Member | undefined {
    const { gate, links } = this.#core;
    if (gate === undefined || gate.sender.acked < gate.endSeq) return undefined;
    return links.has(gate.sender.link.id) ? gate.learner : undefined;
  }

  #considerGate(registered: readonly Registration[]): void {
    const { configuration, options, now, log, isTail, serves } = this.#core;
    if (!isTail || !serves || !this.#replication.settled) return;
    if (configuration === undefined || configuration.members.length >= options.replicas) return;
    if (now.monotonicMs < this.#notBeforeMs) return;
    for (const server of this.#inTurn(registered)) {
      for (const [link, sender] of this.#feeds) {
        if (!sameMember(server, link.peer) || server.state === 'leaving') continue;
        if (!sender.isFedFromMemory || log.lastSeq - sender.acked > closeSeqs) continue;
        // Its earlier incarnation is still listed: that one must be removed first.
        if (configuration.members.some(({ serverId }) => serverId === server.serverId)) continue;
        const { serverId, incarnation, address } = server;
        this.#closeGate({ serverId, incarnation, address }, sender);
        return;
      }
    }
  }

  /** The oldest first; but after all others the one whose gate was in vain, so that it holds up nobody else. */
  #inTurn(registered: readonly Registration[]): Registration[] {
    const isLast = (server: Registration): boolean =>
      this.#inVain !== undefined && sameMember(server, this.#inVain);
    return [...registered.filter((server) => !isLast(server)), ...registered.filter(isLast)];
  }

  #closeGate(learner: Member, sender: Sender): void {
    this.#core.gate = {
      learner,
      sender,
      startedAt: this.#core.now,
      endSeq: this.#core.log.lastSeq,
      admission: 'none',
    };
    const upNumber = this.#lease.upNumber;
    this.#core.send(sender.link.id, { kind: 'gate', upNumber });
    this.#lease.onGateClosed(sender.link);
    this.#core.note('debug', 'gate closed', { learner: learner.address });
  }

  /** The learner of a gate that may not open is back on a new link: its proofs count from there on. */
  #resumeGate(sender: Sender): void {
    const { gate } = this.#core;
    if (gate === undefined || !sameMember(gate.learner, sender.link.peer)) return;
    gate.sender = sender;
    this.#core.send(sender.link.id, { kind: 'gate', upNumber: this.#lease.upNumber });
    this.#lease.onGateClosed(sender.link);
  }

  #isSilent(link: Link): boolean {
    const { now, options } = this.#core;
    return now.monotonicMs - link.heardAtMs > options.timing.silenceMs;
  }

  #openGate(reason: string): void {
    const { gate } = this.#core;
    if (gate === undefined) return;
    this.#core.gate = undefined;
    this.#inVain = gate.learner;
    this.#lease.onGateOpened();
    this.#notBeforeMs = this.#core.now.monotonicMs + this.#core.options.timing.gateMs;
    if (this.#feeds.has(gate.sender.link)) {
      this.#core.send(gate.sender.link.id, { kind: 'ungate' });
    }
    this.#core.note('info', 'gate opened', { learner: gate.learner.address, reason });
    this.#replication.advance();
  }

  #gateIsLate(): boolean {
    const { gate, now, options } = this.#core;
    if (gate === undefined) return false;
    const sinceMs = now.monotonicMs - gate.startedAt.monotonicMs;
    return sinceMs > options.timing.gateMs && gate.sender.acked < gate.endSeq;
  }

  #feedAfter(sender: Sender, seq: number): void {
    this.#core.send(sender.link.id, { kind: 'catch-up', seq });
    this.#replication.senders.add(sender);
    sender.startAfter(seq);
    sender.sendCommit();
  }

  #drop(link: Link): void {
    const sender = this.#feeds.get(link);
    if (sender === undefined) return;
    this.#feeds.delete(link);
    this.#replication.senders.delete(sender);
  }
}
