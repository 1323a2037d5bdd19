/**
 * One process of a simulated server: a replica on the server's disk, with its table, and the small part
 * of a shell that carries out effects on the simulated disk, network and coordinator.
 */
import type { Configuration, Member } from '../../src/coordination/configuration.js';
import { CatenaError } from '../../src/errors.js';
import { EntryLog } from '../../src/replica/entry-log.js';
import type { Effect, Event, ReadRequest, WriteRequest } from '../../src/replica/events.js';
import { Replica } from '../../src/replica/replica.js';
import { type Instant, timingOf } from '../../src/replica/timing.js';
import { StateComparison } from '../../src/server/integrity/state-comparison.js';
import type { ChainWorld } from './chain.js';
import type { ClientReadRecord, ClientWriteRecord } from './chain-checks.js';
import { anyKey, applyTo, copyTable, seal, type SimDisk, type SimTable } from './chain-disk.js';
import { formatEffect, formatEvent, isSignOfLife } from './chain-trace.js';

export type SimWrite = WriteRequest & { readonly record: ClientWriteRecord };
export type SimRead = ReadRequest & { readonly record: ClientReadRecord };

type OutsideEffect = Extract<
  Effect,
  {
    kind:
      | 'dial'
      | 'probe'
      | 'close-link'
      | 'read-log'
      | 'send-snapshot'
      | 'propose'
      | 'refresh'
      | 'announce';
  }
>;

export class SimProcess {
  readonly member: Member;
  readonly disk: SimDisk;
  readonly replica: Replica;
  table: SimTable;
  running = true;
  /** SIGSTOP: nothing is handled until it goes on. */
  stopped = false;
  dialTarget: Member | undefined;
  redialAtMs = 0;
  /** Has happened, and waits to be handled: probes, snapshots sent, log reads, reads done. */
  readonly inbox: Event[] = [];
  turnEndDue = false;
  hasLeft = false;
  haltedBy: string | undefined;
  readonly #comparison = new StateComparison({
    machine: () => this.table.machine,
    onEqual: (seq, hash) => {
      this.#world.checks.statesFoundEqual += 1;
      this.inbox.push({ kind: 'state-hashed', seq, hash });
    },
  });
  /** How long the monotonic clock of this machine stood still. */
  #suspendedMs = 0;
  #suspendedAtMs: number | undefined;
  readonly #world: ChainWorld;

  constructor(world: ChainWorld, member: Member, disk: SimDisk) {
    this.#world = world;
    this.member = member;
    this.disk = disk;
    const { runs, commit, table, suffix } = disk.recovered();
    this.table = table;
    let ids = 0;
    this.replica = new Replica(
      {
        self: member,
        replicas: world.options.replicas,
        minReplicas: world.options.minReplicas,
        timing: timingOf(world.options.leaseMs, world.options.reviveGraceMs),
        transferWindowBytes: 120,
        randomId: () => `${member.incarnation}#${(ids += 1)}`,
        seal,
        prefersSnapshot: (seq) => seq < this.disk.baseSeq,
      },
      { log: new EntryLog(runs, commit, suffix, 200), lastKnown: disk.lastKnown },
    );
  }

  get name(): string {
    return this.member.incarnation;
  }

  get server(): string {
    return this.member.serverId;
  }

  get isLive(): boolean {
    return this.running && !this.stopped;
  }

  get now(): Instant {
    const { nowMs } = this.#world;
    const standsAtMs = this.#suspendedAtMs ?? nowMs;
    return { monotonicMs: standsAtMs - this.#suspendedMs, wallMs: nowMs + 1_000_000 };
  }

  /** SIGSTOP; or the whole machine is suspended, and its monotonic clock stands still. */
  stop(suspended = false): void {
    this.#world.log(`# ${this.name} is ${suspended ? 'suspended' : 'stopped'}`);
    this.stopped = true;
    if (suspended) this.#suspendedAtMs = this.#world.nowMs;
  }

  goOn(): void {
    if (!this.stopped) return;
    this.#world.log(`# ${this.name} goes on`);
    this.stopped = false;
    if (this.#suspendedAtMs === undefined) return;
    this.#suspendedMs += this.#world.nowMs - this.#suspendedAtMs;
    this.#suspendedAtMs = undefined;
  }

  get configuration(): Configuration | undefined {
    return this.replica.configuration;
  }

  handle(event: Event): void {
    if (!this.running) return;
    const { role } = this.replica;
    const text = this.#world.traced ? formatEvent(event, this.#peerOfEvent(event)) : '';
    const effects = this.replica.step(event, this.now);
    if (this.#world.traced) this.#trace(event, role, text, effects);
    try {
      for (const effect of effects) this.#execute(effect);
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      // As the shell does: what was found wrong while an effect is carried out ends the process.
      this.#execute({ kind: 'halt', error });
    }
    this.turnEndDue = event.kind !== 'turn-end' && this.running;
    if (this.turnEndDue && this.#world.options.turnEnds === 'at once') this.endTurn();
    this.#world.check();
  }

  endTurn(): void {
    this.turnEndDue = false;
    if (this.running) this.handle({ kind: 'turn-end' });
  }

  /** Carries out the first `count` appends and cuts that wait. */
  sync(count?: number): void {
    if (this.disk.waiting === 0 || this.disk.isFull) return;
    this.handle({ kind: 'durable', seq: this.disk.sync(count) });
  }

  persist(): void {
    const { persisting } = this.disk;
    if (persisting === undefined || this.disk.isFull) return;
    this.disk.lastKnown = persisting;
    this.disk.persisting = undefined;
    this.handle({ kind: 'persisted' });
  }

  #trace(event: Event, role: string, text: string, effects: readonly Effect[]): void {
    const peerOf = (link: number): string => this.#world.peerOf(this.name, link);
    const done = effects.flatMap((effect) => formatEffect(effect, peerOf) ?? []);
    // A probe at each beat is a sign of life as well.
    if (event.kind === 'tick' && done.every((text) => text.startsWith('probe '))) return;
    const quiet =
      event.kind === 'tick' ||
      event.kind === 'turn-end' ||
      event.kind === 'state-hashed' ||
      event.kind === 'servers' ||
      event.kind === 'dial-failed' ||
      (event.kind === 'message' && isSignOfLife(event.message.body));
    if (quiet && done.length === 0) return;
    this.#world.log(
      `${this.name} ${role}: ${text}${done.length === 0 ? '' : ` => ${done.join('; ')}`}`,
    );
  }

  #peerOfEvent(event: Event): string {
    return 'link' in event ? this.#world.peerOf(this.name, event.link) : '';
  }

  #execute(effect: Effect): void {
    const world = this.#world;
    const { checks } = world;
    switch (effect.kind) {
      case 'persist':
        this.disk.persisting = effect.state.configuration;
        return;
      case 'append':
        checks.onAppend(effect.entry, this.disk.lastId);
        this.disk.append(effect.entry);
        return;
      case 'cut':
        this.disk.cut(effect.seq);
        return;
      case 'assigned':
        for (const [index, write] of effect.writes.entries()) {
          const { record } = write as SimWrite;
          checks.onAssigned(record, effect.entry.epoch, effect.entry.firstSeq + index);
        }
        return;
      case 'apply': {
        const isHead = this.replica.role === 'head' || this.replica.role === 'single';
        const epoch = this.configuration?.epoch ?? 0;
        checks.onApply(this.name, epoch, isHead, effect.entry, this.table);
        applyTo(this.table, effect.entry);
        this.#comparison.onApplied();
        for (const write of effect.writes ?? []) {
          checks.onAcknowledged((write as SimWrite).record);
        }
        return;
      }
      case 'abandon':
        for (const write of effect.writes) (write as SimWrite).record.state = 'unknown';
        return;
      case 'refuse':
        for (const request of effect.requests) {
          (request as SimWrite | SimRead).record.state = 'refused';
        }
        return;
      case 'read':
        for (const read of effect.reads) this.#readValue(read as SimRead);
        this.inbox.push({ kind: 'reads-done', reads: effect.reads });
        return;
      case 'answer':
        for (const read of effect.reads) checks.onAnswered(this.name, (read as SimRead).record);
        return;
      case 'send': {
        const { epoch, configId, body } = effect;
        world.network.send(this.name, effect.link, {
          kind: 'message',
          message: { epoch, configId, body },
        });
        return;
      }
      case 'left':
        this.hasLeft = true;
        return;
      case 'halt':
        this.haltedBy = effect.error.message;
        world.onHalt(this, effect.error.message);
        return;
      case 'hash-state': {
        const { appliedSeq: seq, stateHash: hash } = this.table.machine;
        this.inbox.push({ kind: 'state-hashed', seq, hash });
        return;
      }
      case 'compare-state':
        this.#comparison.compare(effect);
        return;
      case 'role':
        this.#comparison.reset();
        return;
      case 'note':
        return;
      case 'dial':
      case 'probe':
      case 'close-link':
      case 'read-log':
      case 'send-snapshot':
      case 'propose':
      case 'refresh':
      case 'announce':
        this.#executeOutside(effect);
    }
  }

  /** Connections and the coordinator. */
  #executeOutside(effect: OutsideEffect): void {
    const { network, coordinator } = this.#world;
    switch (effect.kind) {
      case 'dial':
        this.dialTarget = effect.target;
        this.redialAtMs = 0;
        this.#world.dropDialed(this);
        return;
      case 'probe':
        this.#world.probe(this, effect.target);
        return;
      case 'close-link':
        this.#world.closeEnd(this, effect.link);
        return;
      case 'read-log': {
        const entries = this.disk.read(effect.fromSeq, effect.bytesMax);
        if (entries === undefined) this.#world.closeEnd(this, effect.link);
        else this.inbox.push({ kind: 'log-read', link: effect.link, entries });
        return;
      }
      case 'send-snapshot': {
        // The newest snapshot on disk serves, if it reaches far enough; else one is taken.
        const { baseSeq, base, baseRuns } = this.disk;
        const isThere = baseSeq > 0 && baseSeq >= effect.afterSeq;
        const seq = isThere ? baseSeq : this.replica.status(this.now).commitSeq;
        const runs = isThere ? baseRuns : this.replica.runsUpTo(seq);
        const table = copyTable(isThere ? base : this.table);
        network.send(this.name, effect.link, { kind: 'snapshot-begin', runs });
        network.send(this.name, effect.link, { kind: 'snapshot-end', runs, table });
        this.inbox.push({ kind: 'snapshot-sent', link: effect.link, seq });
        return;
      }
      case 'propose':
        this.#world.propose(this, effect);
        return;
      case 'refresh':
        coordinator.reads.add(this.name);
        return;
      case 'announce':
        coordinator.register({ ...this.member, state: effect.state });
        return;
    }
  }

  #readValue(read: SimRead): void {
    const { scope } = read;
    const key = typeof scope === 'number' ? scope : anyKey;
    read.record.value = this.table.counts.get(key) ?? 0;
  }

  /** Whether a lease holds, and with it every committed entry is in this log. */
  get leaseHolds(): boolean {
    return this.running && this.replica.status(this.now).leaseHolds;
  }

  /** For people. */
  get text(): string {
    const { role, epoch, commitSeq, leaseHolds } = this.replica.status(this.now);
    const state = this.running ? (this.stopped ? 'stopped' : role) : 'down';
    return `${this.name} ${state} e${epoch} commit ${commitSeq}${leaseHolds ? ' lease' : ''} log ${this.disk.text}`;
  }

  /** The id of the newest entry that this process applied. */
  get lastApplied(): string {
    return this.table.list.at(-1) ?? '';
  }
}
