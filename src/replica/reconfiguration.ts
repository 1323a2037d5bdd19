/**
 * How this server comes to a configuration and to the next one: what a read of `/chain` means (R4),
 * adoption (disk first, R7; holds, R9), and the one compare-and-set that may be under way: the first
 * start, a removal (R2), an admission (R3), a revival (R5), a leave (R10).
 *
 * Invariant: the epoch on disk never falls; a proposal is made only from the adopted configuration,
 * on the version of the znode that showed it.
 */
import {
  type Configuration,
  type Member,
  positionOf,
  sameMember,
} from '../coordination/configuration.js';
import type { Registration, WriteOutcome } from '../coordination/coordinator.js';
import {
  type ChangeBy,
  fenced,
  firstConfiguration,
  revived,
  standingOf,
  withLearner,
  withoutLeaver,
  withoutMembers,
} from '../coordination/membership.js';
import { RefusedToStartError } from '../errors.js';
import type { Admission } from './admission.js';
import type { ChainLease } from './chain-lease.js';
import type { Core } from './core.js';
import type { ChainReading } from './events.js';
import type { Replication } from './replication.js';
import type { Suspicion } from './suspicion.js';

type Purpose = 'first' | 'removal' | 'admission' | 'fence' | 'revival' | 'leave';

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
  /** The newest read of `/chain` that this server could use. */
  #chain: { readonly configuration: Configuration; readonly version: number } | undefined;
  #proposal: Proposal | undefined;
  #notBeforeMs = 0;
  #refreshedAtMs = 0;
  #olderSinceMs: number | undefined;
  /** 0 when there was no `/chain` at all. */
  #olderEpoch = 0;
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
  ) {
    this.#core = core;
    this.#replication = parts.replication;
    this.#lease = parts.lease;
    this.#admission = parts.admission;
    this.#suspicion = parts.suspicion;
    this.#onAdopted = parts.onAdopted;
    this.#lastKnown = lastKnown;
  }

  onChain(reading: ChainReading): void {
    switch (reading.kind) {
      case 'garbage':
        // The last good one stays in force; nobody is promoted by guesswork (FAULTS Z7).
        this.#core.note('error', '/chain holds no valid configuration; keeping the last good one');
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
        this.#refresh();
        this.#backOff();
    }
  }

  /** A peer is in this epoch, higher than ours: read, adopt, go on (R6). */
  onHigherEpoch(epoch: number): void {
    if (epoch <= this.#core.knownEpoch) return;
    this.#core.knownEpoch = epoch;
    this.#refresh();
  }

  onPersisted(): void {
    const { adopting } = this.#core;
    if (adopting === undefined) return;
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
    this.#refuseOlderChain();
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
      const reason = suspects.map(({ member, reason }) => `${member.address} ${reason}`).join(', ');
      const removed = suspects.map(({ member }) => member);
      this.#propose('removal', withoutMembers(configuration, removed, this.#change(reason)));
      return;
    }
    const isAlone = configuration.members.length === 1;
    if (leaving && !(isAlone && gate?.admission === 'sent')) {
      if (this.#replication.hasPendingWrites) return;
      // Alone: there is nobody to hand over to, and nothing to agree on.
      if (isAlone) return this.#leaveAlone();
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

  #leaveAlone(): void {
    if (!this.#hasLeft) this.#core.emit({ kind: 'left' });
    this.#hasLeft = true;
  }

  /** R5: the last configuration lists this server, but an earlier incarnation of it. */
  #considerRevival(): void {
    const { configuration, self, now, options } = this.#core;
    const registered = this.#suspicion.registered;
    if (configuration === undefined || registered === undefined || this.#core.leaving) return;
    if (!configuration.members.some((member) => member.serverId === self.serverId)) return;
    const standings = configuration.members.map((member) => standingOf(member, registered));
    // While a listed incarnation lives, it is the chain: it removes us, and we learn from it.
    if (standings.includes('alive')) {
      this.#reviveSinceMs = undefined;
      return;
    }
    const returned = returnedMembers(configuration, registered, self);
    const place = returned.findIndex((member) => member.serverId === self.serverId);
    if (place < 0) return;
    this.#reviveSinceMs ??= now.monotonicMs;
    const missing = configuration.members.length - returned.length;
    const waitMs =
      (missing === 0 ? 0 : options.timing.reviveGraceMs) + place * options.timing.goneMs;
    if (now.monotonicMs - this.#reviveSinceMs < waitMs) return;
    const reason =
      missing === 0 ? 'all members restarted' : `restarted, ${missing} of the last members missing`;
    this.#propose('revival', revived(configuration, returned, this.#change(reason)));
  }

  #onAbsent(): void {
    if (this.#core.configuration !== undefined) {
      this.#core.note('error', '/chain is gone; keeping the last good configuration');
      return;
    }
    const log = this.#core.log;
    if (this.#lastKnown !== undefined || log.lastSeq > 0) {
      this.#onOlder(0, Math.max(this.#core.epoch, 1));
      return;
    }
    if (this.#proposal !== undefined || this.#core.adopting !== undefined || this.#core.leaving)
      return;
    const clusterId = this.#core.options.randomId();
    const change = this.#change('first start');
    const configuration = firstConfiguration(clusterId, this.#core.self, change);
    this.#proposal = { purpose: 'first', configuration, version: undefined, doubtful: false };
    this.#core.emit({ kind: 'propose', configuration, version: undefined, confirm: false });
  }

  #onFound(configuration: Configuration, version: number): void {
    const known = this.#core.adopting ?? this.#core.configuration ?? this.#lastKnown;
    if (known !== undefined) {
      if (configuration.clusterId !== known.clusterId) {
        if (this.#core.configuration !== undefined) {
          this.#core.note('error', '/chain belongs to another cluster; keeping the last good one');
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
        this.#onOlder(configuration.epoch, known.epoch);
        return;
      }
    }
    this.#olderSinceMs = undefined;
    if (this.#chain !== undefined && configuration.epoch < this.#chain.configuration.epoch) return;
    this.#chain = { configuration, version };
    this.#core.knownEpoch = Math.max(this.#core.knownEpoch, configuration.epoch);
    if (this.#core.adopting !== undefined) return;
    if (this.#core.configuration?.epoch === configuration.epoch) return;
    this.#adopt(configuration);
  }

  #adopt(configuration: Configuration): void {
    this.#core.adopting = configuration;
    this.#core.emit({ kind: 'persist', state: { configuration } });
  }

  /** A read may be stale, so an older epoch (or none) is waited out; at a start, only for a while. */
  #onOlder(epoch: number, ours: number): void {
    if (this.#olderSinceMs !== undefined) return;
    this.#olderSinceMs = this.#core.now.monotonicMs;
    this.#olderEpoch = epoch;
    this.#core.note('warn', '/chain shows an older epoch than this server adopted', {
      epoch,
      ours,
    });
  }

  #refuseOlderChain(): void {
    if (this.#olderSinceMs === undefined || this.#core.configuration !== undefined) return;
    const { now, options } = this.#core;
    const sinceMs = now.monotonicMs - this.#olderSinceMs;
    if (sinceMs > options.timing.olderChainMs) {
      this.#refuse(
        this.#olderEpoch === 0
          ? 'there is no /chain in ZooKeeper, but this data directory holds data of a cluster'
          : `/chain shows an older epoch than this disk (${this.#core.epoch}): ZooKeeper went back`,
      );
    } else if (now.monotonicMs - this.#refreshedAtMs > options.timing.retryMs) {
      this.#refresh();
    }
  }

  /** Until a first configuration is in force nothing else may bring the next read of `/chain`. */
  #findChain(): void {
    const { configuration, adopting, now, options, leaving } = this.#core;
    if (configuration !== undefined || adopting !== undefined || leaving) return;
    if (this.#proposal !== undefined) return;
    if (now.monotonicMs - this.#refreshedAtMs > options.timing.retryMs) this.#refresh();
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

  #propose(purpose: Purpose, configuration: Configuration | undefined): void {
    const { gate, options, now } = this.#core;
    if (configuration === undefined || this.#chain === undefined) return;
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

/** Those of the configuration that are registered under another incarnation, in the chain's order. */
function returnedMembers(
  configuration: Configuration,
  registered: readonly Registration[],
  self: Member,
): Member[] {
  return configuration.members.flatMap((old) => {
    if (old.serverId === self.serverId) return [self];
    const back = registered.filter((server) => server.serverId === old.serverId).at(-1);
    if (back === undefined || back.state === 'leaving') return [];
    return [{ serverId: back.serverId, incarnation: back.incarnation, address: back.address }];
  });
}
