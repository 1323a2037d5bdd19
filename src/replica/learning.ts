/**
 * The learner's side of a join (R3, R12): asks the tail to be fed, keeps the longest prefix that
 * matches by epoch, acks what it has on disk, and joins the proof of the chain while gated. It
 * answers no reads and counts for nothing before a configuration lists it.
 */
import { firstEpochOf, sameMember } from '../coordination/configuration.js';
import { InvariantError } from '../errors.js';
import type { ChainLease } from './chain-lease.js';
import type { Core, Link } from './core.js';
import { type EpochRun, EpochRuns } from './epoch-runs.js';
import type { LinkId } from './events.js';
import { invariant } from './invariant.js';
import type { Reads } from './reads.js';
import type { Replication } from './replication.js';
import type { JoinState } from './waiting.js';

export class Learning {
  readonly #core: Core;
  readonly #replication: Replication;
  readonly #lease: ChainLease;
  readonly #reads: Reads;
  #tailLink: Link | undefined;
  /** Something came back for the join; until then it is asked again. */
  #answered = false;
  /** A snapshot is arriving over this link: asking elsewhere meanwhile would cross with it. */
  #installing: LinkId | undefined;
  /** The tail has closed its gate on this learner. */
  #isGated = false;

  constructor(core: Core, replication: Replication, lease: ChainLease, reads: Reads) {
    this.#core = core;
    this.#replication = replication;
    this.#lease = lease;
    this.#reads = reads;
  }

  reset(): void {
    this.#tailLink = undefined;
    this.#answered = false;
    this.#isGated = false;
  }

  /** For people. */
  get state(): JoinState {
    return { step: this.#step, behind: this.#replication.behind };
  }

  get #step(): JoinState['step'] {
    if (this.#installing !== undefined) return 'snapshot';
    if (this.#tailLink === undefined) return 'none';
    if (!this.#answered) return 'asking';
    return this.#isGated ? 'gated' : 'fed';
  }

  /** Finds or keeps the link to the tail, and asks until fed. */
  onTick(): void {
    const { role, tail, configuration, isCurrent } = this.#core;
    if (role !== 'learner' || configuration === undefined || tail === undefined) return;
    if (!isCurrent || this.#installing !== undefined) return;
    if (this.#tailLink === undefined) {
      for (const link of this.#core.links.values()) {
        if (link.dialed && sameMember(link.peer, tail)) this.#tailLink = link;
      }
    }
    if (this.#tailLink !== undefined && !this.#answered) this.#join(this.#tailLink);
  }

  onLink(link: Link): void {
    const { role, tail } = this.#core;
    if (role !== 'learner' || tail === undefined || !sameMember(link.peer, tail)) return;
    this.#tailLink = link;
    this.#answered = false;
    this.onTick();
  }

  onLinkDown(link: Link): void {
    if (this.#installing === link.id) this.#installing = undefined;
    if (this.#tailLink === link) this.reset();
  }

  onCatchUp(link: Link, seq: number): void {
    if (link !== this.#tailLink) return;
    const { log } = this.#core;
    if (seq < log.commit) {
      throw new InvariantError(
        `the tail's log ends or differs after ${seq}, committed here: ${log.commit}`,
      );
    }
    this.#answered = true;
    this.#replication.cut(seq, 'not in the log of the tail; it was never acknowledged');
    this.#replication.feedFrom(link);
  }

  /** The whole table came as a snapshot: what the log held before is replaced by it. */
  onSnapshotInstalled(id: LinkId, runs: readonly EpochRun[]): void {
    invariant(this.#core.role === 'learner', 'only a learner takes a snapshot');
    this.#installing = undefined;
    this.#core.log.reset(runs);
    this.#reads.onCut(this.#core.log.lastSeq);
    if (this.#tailLink?.id === id) this.#replication.feedFrom(this.#tailLink);
    this.#core.note('info', 'snapshot installed', { seq: this.#core.log.lastSeq });
  }

  /** The tail has begun to send a snapshot: no need to ask again. */
  onSnapshotBegun(link: Link, runs: readonly EpochRun[]): void {
    if (link !== this.#tailLink) return;
    this.#answered = true;
    this.#installing = link.id;
    const { log } = this.#core;
    const theirs = new EpochRuns(runs);
    const mine = log.runs.epochAt(log.commit);
    const their = theirs.epochAt(log.commit);
    // So far back that the tail has forgotten what epoch it was (epoch-runs.ts).
    if (their === 0 && log.commit <= theirs.lastSeq) return;
    // Only an operator's `recover` explains it: what this server holds is of the history given up.
    const firstEpoch = firstEpochOf(this.#core.configuration?.generation ?? 1);
    if (log.commit > 0 && their !== mine && mine >= firstEpoch) {
      throw new InvariantError(`the tail's snapshot lacks what is committed here at ${log.commit}`);
    }
  }

  onGate(link: Link, upNumber: number): void {
    if (link !== this.#tailLink) return;
    this.#isGated = true;
    this.#lease.joinProof(link, upNumber);
  }

  onUngate(link: Link): void {
    if (link !== this.#tailLink) return;
    this.#isGated = false;
    this.#lease.setAbove(undefined);
  }

  #join(link: Link): void {
    const { log } = this.#core;
    const runs = log.runs.from(Math.max(log.commit, 1));
    this.#core.send(link.id, { kind: 'join', runs, commit: log.commit });
  }
}
