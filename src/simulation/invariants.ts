/**
 * What must hold in every state, watched from outside of the replicas: each step of each server, and what its disk has.
 *
 * - One history: an (epoch, seq) names one entry, with one before it; what was committed never changes (prefix order).
 * - One head commits in an epoch; commit indexes never fall; epochs on a disk never fall; an epoch is one configuration.
 * - What is committed is on the disk of every member of the newest configuration.
 * - Nobody holds a lease of an epoch older than one that commits.
 * - Equal states have equal hashes. What a disk said to be durable is there after any crash.
 *
 * Throws BreachError at the first breach.
 */
import { type Configuration, parseConfiguration } from '../coordination/configuration.js';
import type { Entry } from '../replica/entry.js';
import type { EpochRun } from '../replica/epoch-runs.js';
import type { Effect, Event } from '../replica/events.js';
import type { ReplicaStatus } from '../replica/replica.js';
import type { LoggedOp } from './checkers/history.js';
import type { Host } from './host.js';

export class BreachError extends Error {}

/** What is known of the log on the disk that bears a server's name. */
interface DiskRecord {
  readonly serverId: string;
  readonly host: Host;
  /** By seq: the epoch in which the op was logged. Index 0 stands for the empty log. */
  epochs: number[];
  durableSeq: number;
  /** Of the configuration that is on the disk. */
  epoch: number;
  persistingEpoch: number;
  /** Of the process that runs. */
  commitSeq: number;
  appliedSeq: number;
}

export class Invariants {
  readonly #hosts: () => readonly Host[];
  readonly #disks = new Map<string, DiskRecord>();
  readonly #records = new Map<Host, DiskRecord>();
  /** By seq: the epoch of the op that some head has committed. */
  readonly #committed: number[] = [0];
  readonly #entries = new Map<string, { readonly record: string; readonly before: number }>();
  readonly #committers = new Map<number, string>();
  readonly #configurations = new Map<number, string>();
  readonly #hashes = new Map<number, string>();
  readonly #log: LoggedOp[] = [];
  #chain: Configuration | undefined;
  #newestCommitEpoch = 0;
  /** How often two servers were seen in the same state, with the same hash. */
  equalStates = 0;
  /** Damaged or replaced on purpose: nothing is asked of it. */
  readonly lostDisks = new Set<string>();

  constructor(hosts: () => readonly Host[]) {
    this.#hosts = hosts;
  }

  /** All that was committed, in order. */
  get log(): readonly LoggedOp[] {
    return this.#log;
  }

  get lastCommitted(): number {
    return this.#committed.length - 1;
  }

  /** The newest configuration that coordination holds. */
  get chain(): Configuration | undefined {
    return this.#chain;
  }

  /** The name that the disk of this host bears, as far as anybody started a server on it. */
  serverIdOf(host: Host): string | undefined {
    return this.#records.get(host)?.serverId;
  }

  /** The epoch in which the op at `seq` was committed; undefined: none was. */
  committedEpoch(seq: number): number | undefined {
    return this.#committed[seq];
  }

  onRecovered(host: Host): void {
    const { inside } = host;
    if (inside === undefined || host.process === undefined) return;
    const { serverId } = inside;
    const status = inside.status(host.process.instant);
    const before = this.#records.get(host);
    if (before !== undefined && before.serverId !== serverId) {
      must(this.lostDisks.has(before.serverId), `${host.name} gave up a disk that was whole`);
    }
    const known = this.#disks.get(serverId);
    const record: DiskRecord = {
      serverId,
      host,
      epochs: [],
      durableSeq: status.durableSeq,
      epoch: status.epoch,
      persistingEpoch: 0,
      commitSeq: 0,
      appliedSeq: -1,
    };
    for (let seq = 0; seq <= status.lastSeq; seq++) {
      const epoch = inside.epochAt(seq) ?? this.#committed[seq];
      must(
        epoch !== undefined,
        `${host.name} starts from a snapshot of seq ${seq}, which nobody committed`,
      );
      record.epochs.push(seq === 0 ? 0 : (epoch as number));
    }
    if (known !== undefined && !this.lostDisks.has(serverId)) {
      must(
        status.epoch >= known.epoch,
        `${host.name} had adopted epoch ${known.epoch}, and starts in ${status.epoch}`,
      );
      must(
        status.lastSeq >= known.durableSeq,
        `${host.name} had its log on disk up to ${known.durableSeq}, and starts with ${status.lastSeq}`,
      );
      for (let seq = 1; seq <= known.durableSeq; seq++) {
        must(
          record.epochs[seq] === known.epochs[seq],
          `${host.name} had ${known.epochs[seq]}-${seq} on disk, and starts with ${record.epochs[seq]}-${seq}`,
        );
      }
    }
    this.#disks.set(serverId, record);
    this.#records.set(host, record);
  }

  onStep(host: Host, event: Event, effects: readonly Effect[]): void {
    const record = this.#records.get(host);
    const { inside, process } = host;
    if (record === undefined || inside === undefined || process === undefined) return;
    const status = inside.status(process.instant);
    this.#checkState(host, record);
    if (event.kind === 'snapshot-installed') this.#onInstalled(host, record, event.runs);
    if (event.kind === 'persisted') record.epoch = record.persistingEpoch;
    must(
      !status.leaseHolds || status.epoch >= this.#newestCommitEpoch,
      `${host.name} has a lease of epoch ${status.epoch} after a commit in ${this.#newestCommitEpoch}`,
    );
    for (const effect of effects) {
      if (effect.kind === 'append') this.#onAppend(record, effect.entry);
      else if (effect.kind === 'cut') {
        record.epochs.length = Math.min(record.epochs.length, effect.seq + 1);
      } else if (effect.kind === 'apply') this.#onApply(host, record, status, effect.entry);
      else if (effect.kind === 'persist') {
        this.#onPersist(host, record, effect.state.configuration);
      }
    }
    record.durableSeq = Math.min(status.durableSeq, record.epochs.length - 1);
    must(
      status.commitSeq >= record.commitSeq,
      `${host.name} takes its commit index back from ${record.commitSeq} to ${status.commitSeq}`,
    );
    must(
      status.role === 'learner' ||
        status.commitSeq <= status.durableSeq ||
        status.lastSeq < status.commitSeq,
      `${host.name} counts ${status.commitSeq} as committed, and has ${status.durableSeq} on disk`,
    );
    record.commitSeq = status.commitSeq;
  }

  /** `data`: what `/chain` holds now. */
  onChain(data: string | undefined): void {
    const chain = data === undefined ? undefined : parseConfiguration(data);
    if (chain === undefined) return;
    const known = this.#configurations.get(chain.epoch);
    must(
      known === undefined || known === chain.configId,
      `two configurations of epoch ${chain.epoch}: ${known} and ${chain.configId}`,
    );
    this.#configurations.set(chain.epoch, chain.configId);
    this.#chain = chain;
    this.#checkDurable();
  }

  /** A snapshot took the place of log and table. */
  #onInstalled(host: Host, record: DiskRecord, runs: readonly EpochRun[]): void {
    const epochs = [0];
    for (const { epoch, lastSeq } of runs) {
      while (epochs.length <= lastSeq) epochs.push(epoch);
    }
    for (let seq = 1; seq < epochs.length; seq++) {
      must(
        epochs[seq] === this.#committed[seq],
        `${host.name} installs a snapshot with ${epochs[seq]}-${seq}, committed is ${this.#committed[seq]}-${seq}`,
      );
    }
    record.epochs = epochs;
    record.appliedSeq = -1;
  }

  #onAppend(record: DiskRecord, entry: Entry): void {
    const { epochs, host } = record;
    const { epoch, firstSeq, lastSeq } = entry;
    must(
      firstSeq === epochs.length,
      `${host.name} appends ${epoch}-${firstSeq} after ${epochs.length - 1}`,
    );
    const before = epochs[firstSeq - 1] as number;
    const bytes = Buffer.from(entry.record).toString('latin1');
    const key = `${epoch}-${firstSeq}`;
    const known = this.#entries.get(key);
    if (known === undefined) this.#entries.set(key, { record: bytes, before });
    else {
      must(known.record === bytes, `${key} names two entries; ${host.name} has the second`);
      must(
        known.before === before,
        `${key} stands after an op of epoch ${known.before} and, at ${host.name}, of ${before}`,
      );
    }
    for (let seq = firstSeq; seq <= lastSeq; seq++) epochs.push(epoch);
  }

  #onApply(host: Host, record: DiskRecord, status: ReplicaStatus, entry: Entry): void {
    const { epoch, firstSeq, lastSeq } = entry;
    for (let seq = firstSeq; seq <= lastSeq; seq++) {
      const known = this.#committed[seq];
      if (known === undefined) break;
      must(known === epoch, `${host.name} applies ${epoch}-${seq} where all have ${known}-${seq}`);
    }
    if (lastSeq <= this.lastCommitted) return;
    must(firstSeq === this.lastCommitted + 1, `${host.name} commits ${firstSeq} out of order`);
    must(
      status.role === 'head' || status.role === 'single',
      `${host.name}, a ${status.role}, applies ${epoch}-${firstSeq}, which no head has committed`,
    );
    const name = host.process?.name ?? '';
    const committer = this.#committers.get(status.epoch) ?? name;
    must(committer === name, `two heads commit in epoch ${status.epoch}: ${committer} and ${name}`);
    this.#committers.set(status.epoch, committer);
    must(
      status.epoch >= this.#newestCommitEpoch,
      `${name} commits in epoch ${status.epoch} after a commit in ${this.#newestCommitEpoch}`,
    );
    this.#newestCommitEpoch = status.epoch;
    this.#take(entry);
    this.#checkLeases(host, status.epoch);
    record.durableSeq = Math.min(status.durableSeq, record.epochs.length - 1);
    this.#checkDurable();
  }

  #take({ epoch, firstSeq, ops }: Entry): void {
    let seq = firstSeq;
    for (const op of ops) {
      this.#committed.push(epoch);
      const at = { epoch, seq };
      if (op.kind === 'epoch') this.#log.push({ at, op: { kind: 'epoch' } });
      else if (op.kind === 'put') {
        this.#log.push({ at, op: { kind: 'put', key: textOf(op.key), value: textOf(op.value) } });
      } else this.#log.push({ at, op: { kind: 'delete', key: textOf(op.key) } });
      seq += 1;
    }
  }

  #onPersist(host: Host, record: DiskRecord, configuration: Configuration): void {
    const { epoch, configId } = configuration;
    must(epoch >= record.epoch, `${host.name} goes back from epoch ${record.epoch} to ${epoch}`);
    const known = this.#configurations.get(epoch);
    must(
      known === undefined || known === configId,
      `${host.name} adopts another configuration of epoch ${epoch}`,
    );
    this.#configurations.set(epoch, configId);
    record.persistingEpoch = epoch;
  }

  /** R8, R9: whoever may still answer reads would not see what is committed now. */
  #checkLeases(committer: Host, epoch: number): void {
    for (const host of this.#hosts()) {
      const { inside, process } = host;
      if (host === committer || inside === undefined || process === undefined) continue;
      const status = inside.status(process.instant);
      must(
        !status.leaseHolds || status.epoch >= epoch,
        `${committer.name} commits in epoch ${epoch} while ${host.name} holds a lease of epoch ${status.epoch}`,
      );
    }
  }

  #checkDurable(): void {
    const seq = this.lastCommitted;
    if (seq === 0 || this.#chain === undefined) return;
    for (const { serverId } of this.#chain.members) {
      if (this.lostDisks.has(serverId)) continue;
      const record = this.#disks.get(serverId);
      const has = record !== undefined && record.durableSeq >= seq ? record.epochs[seq] : undefined;
      must(
        has === this.#committed[seq],
        `${record?.host.name ?? serverId}, a member of epoch ${this.#chain.epoch}, has not ${this.#committed[seq]}-${seq} on ` +
          `disk, which is committed (${record === undefined ? 'no disk' : `on disk up to ${record.durableSeq}, there epoch ${record.epochs[seq]}`})`,
      );
    }
  }

  #checkState(host: Host, record: DiskRecord): void {
    const machine = host.inside?.machine();
    if (machine === undefined || machine.appliedSeq === record.appliedSeq) return;
    record.appliedSeq = machine.appliedSeq;
    const { stateHash } = machine;
    const known = this.#hashes.get(machine.appliedSeq);
    if (known === undefined) this.#hashes.set(machine.appliedSeq, stateHash);
    else {
      must(known === stateHash, `${host.name} has another state after seq ${machine.appliedSeq}`);
      this.equalStates += 1;
    }
  }
}

function must(condition: boolean, breach: string): void {
  if (!condition) throw new BreachError(breach);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
