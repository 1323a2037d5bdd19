/**
 * How this server comes to a configuration and to the next one: what a read of `/chain` means (R4),
 * adoption (disk first, R7; holds, R9), and the one compare-and-set that may be under way: the first
 * start, a removal (R2), an admission (R3), a revival (R5), a leave (R10).
 *
 * Invariant: the epoch on disk never falls; a proposal is made only from the adopted configuration,
 * on the version of the znode that showed it.
 */
import { type Configuration, positionOf, sameMember } from '../coordination/configuration.js';
import type { WriteOutcome } from '../coordination/coordinator.js';
import {
  type ChangeBy,
  fenced,
  firstConfiguration,
  revived,
  withLearner,
  withoutLeaver,
  withoutMembers,
} from '../coordination/membership.js';
import { RefusedToStartError } from '../errors.js';
import type { Admission } from './admission.js';
import type { ChainLease } from './chain-lease.js';
import { ChainMisfit, type Misfit, type MisfitKind } from './chain-misfit.js';
import type { Core } from './core.js';
import type { ChainReading } from './events.js';
import { type Founding, refusalToFound } from './founding.js';
import type { Replication } from './replication.js';
import { type Revival, revivalOf } from './revival.js';
import type { Suspect, Suspicion } from './suspicion.js';

type Purpose = 'first' | 'removal' | 'admission' | 'fence' | 'revival' | 'leave';

/** Where this server stands on its way to a configuration; for `waiting.ts` to put into words. */
export interface Outlook {
  /** From disk. */
  readonly lastKnown: Configuration | undefined;
  /** `/chain` is nothing that this server can go on from. */
  readonly misfit: Misfit | undefined;
  /** Of the compare-and-set that is under way. */
  readonly proposes: Purpose | undefined;
  /** The adopted configuration lists this server as it was before its restart. */
  readonly revival: Revival | undefined;
  readonly reviveSinceMs: number | undefined;
}

/** Why a start is refused; garbage is waited for, it is an operator's to mend. */
const refusals: Readonly<Record<MisfitKind, string | undefined>> = {
  absent: 'there is no /chain in ZooKeeper, but this data directory holds data of a cluster',
  older: '/chain shows an older epoch than this disk: ZooKeeper went back',
  members: 'there is no /chain in ZooKeeper, but members of a chain are registered: it was lost',
  garbage: undefined,
  // Refused at once, with both names.
  'another cluster': undefined,
};

interface Proposal {
  readonly purpose: Purpose;
  readonly configuration: Configuration;
  readonly version: number | undefined;
  /** Whether an earlier compare-and-set of this gate's admission may still land. */
  readonly doubtful: boolean;
}

export class Reconfiguration {
  readonly #core: Core;
  readonly #replication: Replication;
  readonly #lease: ChainLease;
  readonly #admission: Admission;
  readonly #suspicion: Suspicion;
  readonly #onAdopted: (previous: Configuration | undefined) => void;

  /** From disk: what an earlier process of this server had adopted. */
  readonly #lastKnown: Configuration | undefined;
  /** Set: the log was restored from a backup, and no configuration was adopted on it yet. */
  readonly #founding: Founding | undefined;
  /** The newest read of `/chain` that this server could use. */
  #chain: { readonly configuration: Configuration; readonly version: number } | undefined;
  #proposal: Proposal | undefined;
  /** The last compare-and-set whose answer was lost. */
  #unanswered: Proposal | undefined;
  #notBeforeMs = 0;
  #refreshedAtMs = 0;
  readonly #misfit: ChainMisfit;
  /** `/chain` is absent; whether this is a first start depends on who is registered, which is not known yet. */
  #awaitsRegistry = false;
  #reviveSinceMs: number | undefined;
  #hasLeft = false;

  constructor(
    core: Core,
    parts: {
      replication: Replication;
      lease: ChainLease;
      admission: Admission;
      suspicion: Suspicion;
      onAdopted: (previous: Configuration | undefined) => void;
    },
    lastKnown: Configuration | undefined,
    founding: Founding | undefined,
  ) {
    this.#core = core;
    this.#misfit = new ChainMisfit(core);
    this.#replication = parts.replication;
    this.#lease = parts.lease;
    this.#admission = parts.admission;
    this.#suspicion = parts.suspicion;
    this.#onAdopted = parts.onAdopted;
    this.#lastKnown = lastKnown;
    this.#founding = lastKnown === undefined ? founding : undefined;
  }

  get outlook(): Outlook {
    return {
      lastKnown: this.#lastKnown,
      misfit: this.#misfit.current,
      proposes: this.#proposal?.purpose,
      revival: this.#core.isMember ? undefined : this.#revival,
      reviveSinceMs: this.#reviveSinceMs,
    };
  }

  onChain(reading: ChainReading): void {
    this.#awaitsRegistry = false;
    switch (reading.kind) {
      case 'garbage':
        // The last good one stays in force; nobody is promoted by guesswork (FAULTS Z7).
        this.#misfit.begin('garbage');
        return;
      case 'absent':
        this.#onAbsent();
        return;
      case 'found':
        this.#onFound(reading.configuration, reading.version);
    }
  }

  onProposed(outcome: WriteOutcome): void {
    const proposal = this.#proposal;
    if (proposal === undefined) return;
    this.#proposal = undefined;
    this.#core.note('debug', 'compare-and-set answered', { outcome, purpose: proposal.purpose });
    switch (outcome) {
      case 'done':
        this.#onFound(proposal.configuration, (proposal.version ?? -1) + 1);
        return;
      case 'unavailable':
        // Certainly never sent: the gate may open again, unless an earlier one is in doubt.
        if (
          proposal.purpose === 'admission' &&
          !proposal.doubtful &&
          this.#core.gate !== undefined
        ) {
          this.#core.gate.admission = 'none';
        }
        this.#backOff();
        return;
      case 'conflict':
      case 'unknown':
        if (outcome === 'unknown') this.#unanswered = proposal;
        this.#refresh();
        this.#backOff();
    }
  }

  /** A peer is in this epoch, higher than ours: read, adopt, go on (R6). */
  onHigherEpoch(epoch: number, configId: string): void {
    const own = [this.#proposal, this.#unanswered].find(
      (proposal) => proposal?.configuration.configId === configId,
    );
    // Its id is random, so the peer has it from `/chain`, where only our write can have put it: that one was done.
    // Who could not know this while ZooKeeper is out of its reach would be removed for its silence in that epoch.
    const isWritten = own?.configuration.epoch === epoch && this.#misfit.current === undefined;
    // One that another has followed already says nothing new, and next to that one would look old.
    const isPassed = (this.#core.adopting?.epoch ?? 0) > epoch;
    if (isWritten && !isPassed && !this.#core.leaving) {
      this.#onFound(own.configuration, (own.version ?? -1) + 1);
      return;
    }
    if (epoch <= this.#core.knownEpoch) return;
    this.#core.knownEpoch = epoch;
    this.#refresh();
  }

  onPersisted(): void {
    const { adopting, diskFull } = this.#core;
    if (adopting === undefined || diskFull) return;
    this.#core.adopting = undefined;
    const previous = this.#core.configuration;
    this.#core.configuration = adopting;
    this.#core.epoch = adopting.epoch;
    this.#notBeforeMs = 0;
    this.#reviveSinceMs = undefined;
    this.#holdFor(previous, adopting);
    this.#onAdopted(previous);
    // A newer one may have been read while this one went to disk.
    if (this.#chain !== undefined && this.#chain.configuration.epoch > adopting.epoch) {
      this.#adopt(this.#chain.configuration);
    }
  }

  onTick(): void {
    const { now, options } = this.#core;
    if (this.#core.diskFull) return this.#withdraw();
    this.#misfit.onTick();
    this.#refuseMisfit();
    this.#findChain();
    if (this.#proposal !== undefined || this.#core.adopting !== undefined) return;
    if (this.#core.knownEpoch > this.#core.epoch) {
      if (now.monotonicMs - this.#refreshedAtMs > options.timing.retryMs) this.#refresh();
      return;
    }
    if (now.monotonicMs < this.#notBeforeMs) return;
    if (this.#chain === undefined || this.#chain.configuration.epoch !== this.#core.epoch) return;
    if (this.#core.isMember) this.#considerAsMember();
    else this.#considerRevival();
  }

  #considerAsMember(): void {
    const { configuration, leaving, gate } = this.#core;
    if (configuration === undefined) return;
    const suspects = this.#suspicion.suspects(this.#lease.isProven(this.#core.now));
    if (suspects.length > 0) {
      this.#proposeRemoval(configuration, suspects);
      return;
    }
    const isAlone = configuration.members.length === 1;
    if (leaving && !(isAlone && gate?.admission === 'sent')) {
      if (this.#replication.hasPendingWrites) return;
      // Alone: there is nobody to hand over to, and nothing to agree on.
      if (isAlone) return this.#haveLeft();
      const change = this.#change(`${this.#core.self.address} leaves`);
      this.#propose('leave', withoutLeaver(configuration, this.#core.self, change));
      return;
    }
    const learner = leaving ? undefined : this.#admission.admissible;
    if (learner !== undefined) {
      const change = this.#change(`${learner.address} has caught up`);
      this.#propose('admission', withLearner(configuration, learner, change));
    } else if (gate?.admission === 'sent') {
      this.#propose('fence', fenced(configuration, this.#change('an admission is in doubt')));
    }
  }

  #haveLeft(): void {
    if (!this.#hasLeft) this.#core.emit({ kind: 'left' });
    this.#hasLeft = true;
  }

  /**
   * R10 on a full disk. What `/chain` says is enough, adopted or not, for one who answers nothing in
   * any epoch: it has itself written out of whatever configuration lists it.
   */
  #withdraw(): void {
    const { now, self, epoch, knownEpoch, adopting, gate, options } = this.#core;
    if (this.#hasLeft || this.#proposal !== undefined) return;
    const configuration = this.#chain?.configuration;
    if (configuration !== undefined && configuration.epoch < knownEpoch) {
      if (now.monotonicMs - this.#refreshedAtMs > options.timing.retryMs) this.#refresh();
      return;
    }
    // In another epoch nothing of this server is acked or committed any more.
    const isCurrent = adopting === undefined && configuration?.epoch === epoch;
    if (!isCurrent) this.#replication.abandonWrites();
    if (configuration === undefined || positionOf(configuration, self) < 0) {
      return this.#haveLeft();
    }
    const suspects = this.#suspicion
      .suspects(this.#lease.isProven(now))
      .filter(({ member }) => positionOf(configuration, member) >= 0);
    const isLast = configuration.members.every(
      (member) =>
        sameMember(member, self) || suspects.some((suspect) => sameMember(suspect.member, member)),
    );
    // Acks will not come from the dead, nor from a learner whose admission cannot be decided from here.
    const isStuck = configuration.members.length > 1 || gate?.admission === 'sent';
    if (isLast && isStuck) this.#replication.abandonWrites();
    // Nobody who lives could go on: with this one still listed, any of them may revive the chain.
    if (isLast && !this.#replication.hasPendingWrites) return this.#haveLeft();
    if (isLast || now.monotonicMs < this.#notBeforeMs) return;
    if (suspects.length > 0) return this.#proposeRemoval(configuration, suspects);
    if (this.#replication.hasPendingWrites) return;
    const change = this.#change(`${self.address} leaves, its disk is full`);
    this.#propose('leave', withoutLeaver(configuration, self, change));
  }

  /** R5: the last configuration lists this server, but an earlier incarnation of it. */
  #considerRevival(): void {
    const { configuration, now, options } = this.#core;
    const revival = this.#revival;
    if (configuration === undefined || revival === undefined || this.#core.leaving) return;
    // While a listed incarnation lives, it is the chain: it removes us, and we learn from it.
    if (revival.alive.length > 0) {
      this.#reviveSinceMs = undefined;
      return;
    }
    if (revival.later !== undefined) {
      this.#reviveSinceMs = undefined;
      if (now.monotonicMs - this.#refreshedAtMs > options.timing.retryMs) this.#refresh();
      return;
    }
    this.#reviveSinceMs ??= now.monotonicMs;
    if (now.monotonicMs - this.#reviveSinceMs < revival.waitMs) return;
    const missing = revival.missing.length;
    const reason =
      missing === 0 ? 'all members restarted' : `restarted, ${missing} of the last members missing`;
    this.#propose('revival', revived(configuration, revival.returned, this.#change(reason)));
  }

  get #revival(): Revival | undefined {
    const { configuration, self, options } = this.#core;
    const { registered } = this.#suspicion;
    if (configuration === undefined || registered === undefined) return undefined;
    return revivalOf(configuration, registered, self, options.timing);
  }

  #onAbsent(): void {
    if (this.#core.configuration !== undefined) {
      this.#misfit.begin('absent');
      return;
    }
    const log = this.#core.log;
    const founding = this.#founding;
    if (this.#lastKnown !== undefined || (log.lastSeq > 0 && founding === undefined)) {
      this.#misfit.begin('absent');
      return;
    }
    if (this.#proposal !== undefined || this.#core.adopting !== undefined || this.#core.leaving)
      return;
    const { registered } = this.#suspicion;
    this.#awaitsRegistry = registered === undefined;
    if (registered?.some(({ state }) => state === 'member')) this.#misfit.begin('members');
    if (registered === undefined || this.#misfit.current !== undefined) return;
    const clusterId = this.#core.options.randomId();
    const change = this.#change(founding?.reason ?? 'first start');
    const epoch = log.runs.lastEpoch + 1;
    const configuration = firstConfiguration(clusterId, this.#core.self, change, epoch);
    this.#proposal = { purpose: 'first', configuration, version: undefined, doubtful: false };
    this.#core.emit({ kind: 'propose', configuration, version: undefined, confirm: false });
  }

  #onFound(configuration: Configuration, version: number): void {
    const known = this.#core.adopting ?? this.#core.configuration ?? this.#lastKnown;
    if (known !== undefined) {
      if (configuration.clusterId !== known.clusterId) {
        if (this.#core.configuration !== undefined) {
          this.#misfit.begin('another cluster', configuration.epoch);
          return;
        }
        this.#refuse(
          `/chain belongs to cluster ${configuration.clusterId}, this data to ${known.clusterId}`,
        );
        return;
      }
      if (configuration.epoch === known.epoch && configuration.configId !== known.configId) {
        this.#refuse(
          `/chain shows another configuration of epoch ${known.epoch}: ZooKeeper went back`,
        );
        return;
      }
      if (configuration.epoch < known.epoch) {
        this.#misfit.begin('older', configuration.epoch);
        return;
      }
    }
    if (known === undefined && this.#founding !== undefined) {
      const refusal = refusalToFound(configuration, this.#core.self);
      if (refusal !== undefined) return this.#core.halt(refusal);
    }
    this.#misfit.end();
    if (this.#chain !== undefined && configuration.epoch < this.#chain.configuration.epoch) return;
    const isNews = configuration.epoch !== this.#chain?.configuration.epoch;
    this.#chain = { configuration, version };
    this.#core.knownEpoch = Math.max(this.#core.knownEpoch, configuration.epoch);
    if (this.#core.diskFull) {
      if (isNews) this.#notBeforeMs = 0;
      return this.#withdraw();
    }
    if (this.#core.adopting !== undefined) return;
    if (this.#core.configuration?.epoch === configuration.epoch) return;
    this.#adopt(configuration);
  }

  #adopt(configuration: Configuration): void {
    this.#core.adopting = configuration;
    this.#core.emit({ kind: 'persist', state: { configuration } });
  }

  /** A read may be stale, so an older epoch (or none) is waited out; at a start, only for a while. */
  #refuseMisfit(): void {
    const { current } = this.#misfit;
    if (current === undefined || this.#core.configuration !== undefined) return;
    if (this.#misfit.ageMs <= this.#core.options.timing.olderChainMs) return;
    const why = refusals[current.kind];
    if (why !== undefined) this.#refuse(`${why} (epoch ${this.#core.epoch} on this disk)`);
  }

  /**
   * Until a first configuration is in force, and while `/chain` does not fit, nothing else may bring the next
   * read of it: coordination tells a change once, and may have told this one before the read that did not fit.
   */
  #findChain(): void {
    const { configuration, adopting, now, options, leaving } = this.#core;
    if (this.#awaitsRegistry && this.#suspicion.registered !== undefined) this.#onAbsent();
    const { current } = this.#misfit;
    if (current === undefined && configuration !== undefined) return;
    if (adopting !== undefined || leaving || this.#proposal !== undefined) return;
    const { retryMs, olderChainMs } = options.timing;
    const intervalMs = this.#misfit.ageMs > olderChainMs ? olderChainMs : retryMs;
    if (now.monotonicMs - this.#refreshedAtMs > intervalMs) this.#refresh();
  }

  #holdFor(previous: Configuration | undefined, adopted: Configuration): void {
    const core = this.#core;
    const holdEndMs = core.now.monotonicMs + core.options.timing.leaseMs;
    const wasMember = previous !== undefined && positionOf(previous, core.self) >= 0;
    const isMember = positionOf(adopted, core.self) >= 0;
    const first = isMember && !wasMember;
    const missing = (previous?.members ?? []).some(
      (member) =>
        positionOf(adopted, member) < 0 &&
        member.serverId !== core.self.serverId &&
        !adopted.left.some((leaver) => sameMember(leaver, member)) &&
        !adopted.members.some((listed) => listed.serverId === member.serverId) &&
        !this.#suspicion.isReplaced(member),
    );
    if (first || missing) core.holdUntilMs = Math.max(core.holdUntilMs, holdEndMs);
  }

  #proposeRemoval(configuration: Configuration, suspects: readonly Suspect[]): void {
    const reason = suspects.map(({ member, reason }) => `${member.address} ${reason}`).join(', ');
    const removed = suspects.map(({ member }) => member);
    this.#propose('removal', withoutMembers(configuration, removed, this.#change(reason)));
  }

  #propose(purpose: Purpose, configuration: Configuration | undefined): void {
    const { gate, options, now } = this.#core;
    if (configuration === undefined || this.#chain === undefined) return;
    // On a `/chain` that was lost the version proves nothing: it may have been counted anew.
    if (this.#misfit.current !== undefined) return;
    const doubtful = gate?.admission === 'sent';
    this.#proposal = { purpose, configuration, version: this.#chain.version, doubtful };
    if (purpose === 'admission' && gate !== undefined) gate.admission = 'sent';
    this.#notBeforeMs = now.monotonicMs + options.timing.retryMs;
    this.#core.emit({
      kind: 'propose',
      configuration,
      version: this.#chain.version,
      confirm: purpose === 'admission',
    });
  }

  #change(reason: string): ChangeBy {
    return { configId: this.#core.options.randomId(), by: this.#core.self.address, reason };
  }

  #refresh(): void {
    this.#refreshedAtMs = this.#core.now.monotonicMs;
    this.#core.emit({ kind: 'refresh' });
  }

  #backOff(): void {
    this.#notBeforeMs = this.#core.now.monotonicMs + this.#core.options.timing.retryMs;
  }

  #refuse(what: string): void {
    this.#core.halt(
      new RefusedToStartError(
        `${what}. If the cluster is to go on with the data of this server, run 'kv-server recover'; ` +
          'writes that only other servers hold are lost by that.',
      ),
    );
  }
}
