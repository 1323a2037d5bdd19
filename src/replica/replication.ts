/**
 * The way of an entry down the chain and of its acks back up (DESIGN 2, R7): Hello and resend when
 * a link or an epoch is new, appends, acks, the commit index.
 *
 * Nothing is sent down, acked or proven before this server's own log was settled by its predecessor;
 * the head's log is the law. acked <= own durable, acked <= the successor's ack, and while gating
 * <= the learner's.
 */
import { sameMember } from '../coordination/configuration.js';
import { InvariantError } from '../errors.js';
import type { ChainLease } from './chain-lease.js';
import type { Core, Link } from './core.js';
import type { Entry } from './entry.js';
import type { WriteRequest } from './events.js';
import { invariant } from './invariant.js';
import type { PeerBody } from './messages.js';
import type { Reads } from './reads.js';
import { Sender } from './sender.js';

export class Replication {
  readonly #core: Core;
  readonly #reads: Reads;
  readonly #lease: ChainLease;
  /** This server's log agrees with its predecessor's, in this epoch. The head's always does. */
  settled = false;
  /**
   * The newest epoch in which this process was settled. A restart that formed a later epoch explains
   * why its log may be ahead; nothing else does.
   */
  #settledEpoch = 0;
  #predecessorLink: Link | undefined;
  /** What this server is fed over: the predecessor's link, settled; or a learner's link to the tail. */
  #source: Link | undefined;
  #successor: Sender | undefined;
  /** All that are fed from here: the successor and the learners. */
  readonly senders = new Set<Sender>();
  #ackedUpstream = 0;
  /** What the source counts as committed; this log may not reach so far yet. */
  #sourceCommit = 0;
  readonly #writes = new Map<number, readonly WriteRequest[]>();

  constructor(core: Core, reads: Reads, lease: ChainLease) {
    this.#core = core;
    this.#reads = reads;
    this.#lease = lease;
  }

  /** Another epoch: links must be settled again, acks of the old one count for nothing. */
  reset(): void {
    this.settled = false;
    this.#predecessorLink = undefined;
    this.#source = undefined;
    this.#successor = undefined;
    this.senders.clear();
    this.#ackedUpstream = 0;
  }

  /** This server is head now: its log is the law, and its first entry says that the epoch began. */
  lead(): void {
    this.#settle();
    this.#appendOwn([{ op: { kind: 'epoch' }, keyHash: 0 }], []);
    this.greetSuccessor();
  }

  onWrites(writes: readonly WriteRequest[]): void {
    const { isHead, serves, configuration, options } = this.#core;
    if (!isHead || !serves || configuration === undefined) {
      const why = isHead || !this.#core.isMember ? 'NOT_SERVING' : 'NOT_HEAD';
      this.#core.emit({ kind: 'refuse', requests: writes, why });
      return;
    }
    if (configuration.members.length < options.minReplicas) {
      this.#core.emit({ kind: 'refuse', requests: writes, why: 'NOT_ENOUGH_REPLICAS' });
      return;
    }
    const entry = this.#appendOwn(writes, hashesOf(writes));
    this.#writes.set(entry.lastSeq, writes);
    this.#core.emit({ kind: 'assigned', entry, writes });
  }

  onDurable(seq: number): void {
    const { log } = this.#core;
    log.durable = Math.max(log.durable, Math.min(seq, log.lastSeq));
    this.advance();
  }

  /** The successor's link is up (dialed by us): ask what it has, once our own log is settled. */
  onSuccessorLink(link: Link): void {
    if (this.#successor !== undefined) this.senders.delete(this.#successor);
    this.#successor = new Sender(this.#core, link, false);
    this.#lease.setBelow(undefined);
    this.greetSuccessor();
  }

  greetSuccessor(): void {
    if (!this.settled) return;
    const successor = this.#successor ?? this.#adoptSuccessorLink();
    if (successor?.state === 'idle') this.#core.send(successor.link.id, { kind: 'hello' });
  }

  onLinkDown(link: Link): void {
    if (this.#predecessorLink === link) this.#predecessorLink = undefined;
    if (this.#source === link) this.#source = undefined;
    if (this.#successor?.link === link) {
      this.senders.delete(this.#successor);
      this.#successor = undefined;
      this.#lease.setBelow(undefined);
    }
  }

  onHello(link: Link): void {
    const { predecessor, log } = this.#core;
    if (predecessor === undefined || !sameMember(predecessor, link.peer)) {
      this.#core.closeLink(link.id, 'hello from a server that is not my predecessor');
      return;
    }
    // The newest connection counts: what an older one still brings is no longer from the predecessor.
    this.#predecessorLink = link;
    this.#source = undefined;
    this.#ackedUpstream = 0;
    this.#lease.setAbove(undefined);
    const runs = log.runs.from(Math.max(log.commit, 1));
    this.#core.send(link.id, { kind: 'hello-answer', runs, commit: log.commit });
  }

  onHelloAnswer(link: Link, body: PeerBody & { kind: 'hello-answer' }): void {
    const successor = this.#successor;
    if (successor?.link !== link || successor.state !== 'idle') return;
    const common = this.#core.log.runs.commonWith(body.runs);
    this.#core.send(link.id, { kind: 'settle', seq: common });
    this.senders.add(successor);
    this.#lease.setBelow(link);
    successor.startAfter(common);
    successor.sendCommit();
  }

  onSettle(link: Link, seq: number): void {
    if (link !== this.#predecessorLink) return;
    const { log, configuration } = this.#core;
    if (seq < log.lastSeq) {
      const explained = this.#settledEpoch < (configuration?.restartEpoch ?? 0);
      if (!explained || seq < log.commit) {
        throw new InvariantError(
          `the predecessor's log ends or differs after ${seq}, mine reaches ${log.lastSeq} ` +
            `(committed ${log.commit}) and no restart explains it`,
        );
      }
      this.cut(seq, 'not in the log of the head; it was never acknowledged');
    }
    this.#source = link;
    this.#lease.setAbove(link);
    const again = this.settled;
    this.#settle();
    // A successor that was settled against this log needs no second Hello: nothing of it was cut.
    if (!again) this.greetSuccessor();
    this.advance();
  }

  /** Cuts this server's log after `seq`; the caller has judged that it may. */
  cut(seq: number, reason: string): void {
    const { log } = this.#core;
    if (seq >= log.lastSeq) return;
    this.#core.note('warn', 'log suffix cut', { from: seq + 1, to: log.lastSeq, reason });
    log.cut(seq);
    this.#core.emit({ kind: 'cut', seq });
    this.#reads.onCut(seq);
  }

  /** From here on entries are taken from this link: a learner's connection to the tail. */
  feedFrom(link: Link): void {
    this.#source = link;
    this.#sourceCommit = 0;
    this.#ackedUpstream = 0;
  }

  onAppend(link: Link, entry: Entry, commit: number): void {
    if (!this.#isSource(link)) return;
    const { log } = this.#core;
    if (entry.lastSeq <= log.lastSeq && log.runs.epochAt(entry.lastSeq) === entry.epoch) {
      this.onCommit(link, commit);
      return;
    }
    if (entry.firstSeq !== log.lastSeq + 1 || entry.epoch < log.runs.lastEpoch) {
      this.#core.closeLink(link.id, `append of ${entry.firstSeq} onto ${log.lastSeq}`);
      return;
    }
    this.#append(entry);
    this.onCommit(link, commit);
  }

  /** A commit index from above. Late ones are harmless: it never falls. */
  onCommit(link: Link, commit: number): void {
    if (!this.#isSource(link)) return;
    const { log } = this.#core;
    this.#sourceCommit = Math.max(this.#sourceCommit, commit);
    const known = Math.min(commit, log.lastSeq);
    invariant(
      known <= log.durable || !this.#core.isMember || known <= log.commit,
      'nothing is committed that this member has not made durable',
    );
    this.#commitThrough(known);
  }

  /** An ack counts only if this log holds that very entry (R7). */
  onAck(link: Link, seq: number, entryEpoch: number): void {
    for (const sender of this.senders) {
      if (sender.link !== link) continue;
      if (this.#core.log.runs.epochAt(seq) !== entryEpoch) return;
      sender.onAck(seq);
      this.advance();
      return;
    }
  }

  onLogRead(link: Link, entries: readonly Entry[]): void {
    for (const sender of this.senders) if (sender.link === link) sender.onLogRead(entries);
  }

  /** What is proven here and below: own disk, the successor, the gated learner. */
  get proven(): number {
    let proven = this.#core.log.durable;
    if (this.#core.successor !== undefined) proven = Math.min(proven, this.#successor?.acked ?? 0);
    if (this.#core.gate !== undefined) proven = Math.min(proven, this.#core.gate.sender.acked);
    return proven;
  }

  /** Ops that a learner's source counts as committed and that are not on this disk. */
  get behind(): number {
    return Math.max(0, this.#sourceCommit - this.#core.log.durable);
  }

  /** The head commits what all have proven, unless it holds (R9). */
  advance(): void {
    const { isHead, isCurrent, now, holdUntilMs } = this.#core;
    if (!isHead || !isCurrent || now.monotonicMs < holdUntilMs) return;
    this.#commitThrough(this.proven);
  }

  /** Acks and the commit index that are due leave once a turn, not once a message. */
  onTurnEnd(): void {
    this.#sendAck();
    for (const sender of this.senders) sender.sendCommit();
  }

  /** The head's state goes down the chain at each beat, and from the tail to its learners. */
  startStateHash(): void {
    if (!this.#core.isHead || this.#fed.length === 0) return;
    this.#core.emit({ kind: 'hash-state' });
  }

  /** Only the one whose log this server follows is believed: the later of two that differ must stop. */
  onStateHash(link: Link, seq: number, hash: string): void {
    if (link !== this.#source) return;
    const from = this.#core.configuration?.members.find((member) => sameMember(member, link.peer));
    if (from !== undefined) this.#core.emit({ kind: 'compare-state', seq, hash, from });
  }

  /** Passed on only when it was found equal here: so a member that differs stops alone. */
  onStateHashed(seq: number, hash: string): void {
    for (const { link } of this.#fed) this.#core.send(link.id, { kind: 'state-hash', seq, hash });
  }

  /** How the writes after `seq` end is for `verify` to tell: this server will not see it. */
  abandonWrites(seq = 0): void {
    for (const entry of this.#core.log.uncommitted()) {
      const writes = this.#writes.get(entry.lastSeq);
      if (writes === undefined || entry.lastSeq <= seq) continue;
      this.#core.emit({ kind: 'abandon', entry, writes });
      this.#writes.delete(entry.lastSeq);
    }
  }

  /** What is still to be sent to the successor and to learners lies here and beyond. */
  get neededSeq(): number {
    let needed = Number.POSITIVE_INFINITY;
    for (const sender of this.senders) needed = Math.min(needed, sender.neededSeq);
    return needed;
  }

  get hasPendingWrites(): boolean {
    return this.#writes.size > 0;
  }

  /**
   * Whether this server is fed over `link`. What another link brings is dropped, and the link with
   * it: its other end takes it for settled, and would wait for acks for ever.
   */
  #isSource(link: Link): boolean {
    if (link === this.#source) return true;
    this.#core.closeLink(link.id, 'entries on a connection that is not settled');
    return false;
  }

  get #fed(): Sender[] {
    return [...this.senders].filter(({ isFed }) => isFed);
  }

  #settle(): void {
    this.settled = true;
    this.#settledEpoch = this.#core.epoch;
  }

  #adoptSuccessorLink(): Sender | undefined {
    const { successor } = this.#core;
    if (successor === undefined) return undefined;
    for (const link of this.#core.links.values()) {
      if (!link.dialed || !sameMember(link.peer, successor)) continue;
      this.#successor = new Sender(this.#core, link, false);
    }
    return this.#successor;
  }

  #appendOwn(writes: readonly WriteRequest[], keyHashes: readonly number[]): Entry {
    const { log, epoch, options } = this.#core;
    const ops = writes.map(({ op }) => op);
    const header = {
      epoch,
      firstSeq: log.lastSeq + 1,
      count: ops.length,
      commit: log.commit,
    };
    const entry: Entry = {
      epoch,
      firstSeq: header.firstSeq,
      lastSeq: log.lastSeq + ops.length,
      commit: header.commit,
      ops,
      keyHashes,
      record: options.seal(header, ops),
    };
    this.#append(entry);
    return entry;
  }

  /** Sent on at the same time as it goes to disk: the ack, not the append, waits for the sync. */
  #append(entry: Entry): void {
    this.#core.log.append(entry);
    this.#core.emit({ kind: 'append', entry });
    for (const sender of this.senders) sender.pump();
  }

  #sendAck(): void {
    const { log, isHead, isMember } = this.#core;
    if (isHead || this.#source === undefined) return;
    if (isMember && !this.settled) return;
    const seq = this.proven;
    if (seq <= this.#ackedUpstream) return;
    this.#ackedUpstream = seq;
    this.#core.send(this.#source.id, { kind: 'ack', seq, entryEpoch: log.runs.epochAt(seq) });
  }

  #commitThrough(seq: number): void {
    const { log } = this.#core;
    for (let entry = log.takeCommitted(seq); entry !== undefined; entry = log.takeCommitted(seq)) {
      const writes = this.#writes.get(entry.lastSeq);
      if (writes !== undefined) this.#writes.delete(entry.lastSeq);
      this.#core.emit({ kind: 'apply', entry, writes });
      this.#reads.onCommitted(entry.lastSeq);
    }
  }
}

function hashesOf(writes: readonly WriteRequest[]): number[] {
  return writes.map(({ keyHash }) => keyHash);
}
