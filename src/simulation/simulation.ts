/**
 * One run: servers, clients, coordination, disks and network of one seed. First the safety phase, with faults; then the
 * liveness phase: the faults end, a core of servers is up, and within a bounded time it must be a chain in which a write
 * commits, everybody has the same state, and clients are answered. Last, what the clients saw is judged.
 *
 * The seed decides everything, so a run is repeated exactly by its options.
 */
import type { Effect, Event } from '../replica/events.js';
import type { RareSite } from '../runtime/runtime.js';
import type { CatenaError } from '../errors.js';
import type { HistoryOp } from './checkers/history.js';
import { judge } from './checkers/judge.js';
import { SimCoordination } from './coordination.js';
import { Host, type HostWatch } from './host.js';
import { BreachError, Invariants } from './invariants.js';
import { Nemesis, type Strike } from './nemesis.js';
import { Network } from './network.js';
import { type ProcessTraits, SimProcess } from './process.js';
import type { Random } from './random.js';
import { describeEffect, silentTrace, type Trace } from './trace.js';
import { SimClient } from './workload.js';
import { World } from './world.js';

export interface SimulationOptions {
  readonly seed: number;
  /** Ms of the safety phase. */
  readonly ticks: number;
  readonly trace?: Trace;
  /** Only the faults with these numbers happen; for shrinking. */
  readonly strikes?: ReadonlySet<number>;
}

export interface SimulationReport {
  readonly seed: number;
  readonly events: number;
  readonly digest: string;
  readonly strikes: readonly Strike[];
  readonly ops: number;
  readonly committed: number;
  readonly equalStates: number;
  /** Configurations that the chain went through. */
  readonly epochs: number;
}

/** Why a run failed, the faults that it had, and, if its clients saw what cannot be, a page that shows it. */
export class SimulationFailure extends Error {
  readonly strikes: readonly Strike[];
  readonly html: string | undefined;

  constructor(
    message: string,
    about: { strikes: readonly Strike[]; cause?: unknown; html?: string | undefined },
  ) {
    super(message, { cause: about.cause });
    this.strikes = about.strikes;
    this.html = about.html;
  }
}

/** From the end of the faults until everything must be well. */
const livenessMsMax = 60_000;
/** What faults planned for later is over after this. */
const lingerMs = 2_200;
/** A server that ended by itself is started again after this, as a service manager does. */
const restartMs = 500;

const rareSites: readonly RareSite[] = [
  'a batch of one',
  'a checkpoint is due',
  'a small chunk',
  'a small page',
  'a small read of the log',
  'a small transfer window',
  'an early flush',
  'an early redial',
  'an early trim',
  'an early seal',
  'few entries in memory',
  'few requests in flight',
  'little room in the chain',
  'little output room',
];

/**
 * By itself a server ends only for what a fault may do to it: a disk that failed, or data that was damaged. `REFUSED_TO_START`
 * is the end of who finds, for longer than a stale read lasts, an older `/chain` than it had adopted.
 */
function isExplained({ code }: CatenaError, host: Host, invariants: Invariants): boolean {
  const serverId = invariants.serverIdOf(host);
  if (code === 'STORAGE' || code === 'DISK_FULL') return host.diskErrors > 0;
  if (code === 'REFUSED_TO_START') return host.hadStaleReads;
  const isLost = serverId !== undefined && invariants.lostDisks.has(serverId);
  return code === 'DATA_DAMAGED' && isLost;
}

export class Simulation implements HostWatch {
  readonly #options: SimulationOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #coordination: SimCoordination;
  readonly #random: Random;
  readonly #hosts: Host[] = [];
  readonly #clients: SimClient[] = [];
  readonly #invariants: Invariants;
  readonly #nemesis: Nemesis;
  readonly #replicas: number;
  #chainVersion = -1;
  /** Hosts that stay down to the end. */
  #dropped: ReadonlySet<Host> = new Set();

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#world = new World(options.seed, options.trace ?? silentTrace);
    const random = this.#world.random.fork();
    this.#random = random;
    this.#network = new Network(this.#world, random.fork());
    this.#network.linkDefaults = {
      delayMsMin: 0.05,
      delayMsMax: random.pick([0.3, 0.3, 5, 40]),
      pieceChance: random.pick([0, 0, 0.05, 0.5]),
      flipChance: 0,
    };
    this.#network.capacityBytes = random.pick([512, 4_096, 65_536]);
    this.#coordination = new SimCoordination(this.#world, random.fork());
    this.#invariants = new Invariants(() => this.#hosts);
    const servers = 2 + random.below(4);
    this.#replicas = 1 + random.below(Math.min(servers, 3) + (servers > 3 ? 2 : 0));
    const leaseMs = random.pick([200, 500]);
    this.#makeHosts(servers, leaseMs);
    this.#makeClients(2 + random.below(2));
    this.#nemesis = new Nemesis(
      {
        world: this.#world,
        network: this.#network,
        coordination: this.#coordination,
        hosts: this.#hosts,
        clients: this.#clients.map(({ process }) => process),
        invariants: this.#invariants,
        leaseMs,
      },
      options.strikes,
    );
    this.#world.onEvent = () => this.#check();
  }

  /** Throws SimulationFailure. */
  async run(): Promise<SimulationReport> {
    try {
      await this.#runPhases();
    } catch (error) {
      if (error instanceof SimulationFailure) throw error;
      const name = error instanceof BreachError ? 'an invariant is broken' : 'something went wrong';
      const text = error instanceof Error ? error.message : String(error);
      const atS = (this.#world.nowMs / 1000).toFixed(6);
      const { strikes } = this.#nemesis;
      throw new SimulationFailure(`${name} at ${atS} s: ${text}`, { strikes, cause: error });
    }
    this.#judge();
    return {
      seed: this.#options.seed,
      events: this.#world.eventsHandled,
      digest: this.#world.digest,
      strikes: this.#nemesis.strikes,
      ops: this.#history().length,
      committed: this.#invariants.lastCommitted,
      equalStates: this.#invariants.equalStates,
      epochs: this.#invariants.chain?.epoch ?? 0,
    };
  }

  /** From outside: something that this run set off went wrong where nobody waits for it. */
  fail(reason: unknown): void {
    this.#world.fail(reason);
  }

  onRecovered(host: Host): void {
    this.#watched(() => this.#invariants.onRecovered(host));
  }

  onStep(host: Host, event: Event, effects: readonly Effect[]): void {
    const { trace } = this.#world;
    if (trace.isOn && host.process !== undefined) {
      const { name, nowMs } = host.process;
      for (const effect of effects) {
        const line = describeEffect(effect);
        if (line !== undefined) trace.say(nowMs, name, line);
      }
    }
    this.#watched(() => this.#invariants.onStep(host, event, effects));
  }

  /** A breach is this run's failure, not an error of the server that is looked at. */
  #watched(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#world.fail(error);
    }
  }

  onEnded(host: Host, reason: CatenaError | undefined): void {
    if (reason !== undefined && !isExplained(reason, host, this.#invariants)) {
      this.#world.fail(new BreachError(`${host.name} ended: ${reason.code} ${reason.message}`));
      return;
    }
    this.#world.schedule(restartMs, 'restart', () => host.start());
  }

  async #runPhases(): Promise<void> {
    for (const host of this.#hosts) {
      const ms = this.#random.chance(0.8)
        ? this.#random.between(0, 200)
        : this.#random.between(0, 2_000);
      this.#world.schedule(ms, 'first start', () => host.start());
    }
    for (const client of this.#clients) client.start();
    // Half of the runs begin in peace.
    this.#world.schedule(this.#random.chance(0.5) ? 800 : 0, 'faults begin', () =>
      this.#nemesis.start(),
    );
    await this.#world.run(this.#options.ticks);
    await this.#heal();
  }

  /** The liveness phase. */
  async #heal(): Promise<void> {
    const { trace } = this.#world;
    trace.say(this.#world.nowMs, 'world', 'the faults end');
    this.#nemesis.stop();
    await this.#endFaults();
    const startMs = this.#world.nowMs;
    const before = this.#clients.map(({ done }) => done);
    const isWell = (): boolean =>
      this.#isWhole() && this.#clients.every(({ done }, index) => done > (before[index] ?? 0));
    await this.#world.run(startMs + livenessMsMax, isWell);
    if (!isWell())
      throw new BreachError(
        `no whole chain ${livenessMsMax} ms after the faults ended: ${this.#text()}`,
      );
    for (const client of this.#clients) client.isStopping = true;
    const isOver = (): boolean =>
      this.#clients.every(({ isDone }) => isDone) && this.#isWhole() && this.#isConverged();
    await this.#world.run(this.#world.nowMs + livenessMsMax, isOver);
    if (!isOver()) throw new BreachError(`the servers do not come to one state: ${this.#text()}`);
    this.#checkTables();
  }

  async #endFaults(): Promise<void> {
    for (const host of this.#hosts) host.heal();
    for (const client of this.#clients) client.isCalm = true;
    this.#network.heal();
    this.#coordination.heal();
    // What was planned to end later, ends; who was to come back, comes back.
    for (const host of this.#hosts) host.start();
    await this.#world.run(this.#world.nowMs + lingerMs);
    this.#network.heal();
    this.#coordination.heal();
    for (const host of this.#hosts) host.heal();
    this.#dropped = this.#chooseDropped();
    for (const host of this.#hosts) {
      if (this.#dropped.has(host)) host.retire();
      else host.start();
    }
  }

  /** Who stays down for good, while one whole disk of the newest configuration is up. */
  #chooseDropped(): ReadonlySet<Host> {
    if (!this.#random.chance(0.4) || this.#hosts.length < 2) return new Set();
    const dropped = this.#random
      .shuffled(this.#hosts)
      .slice(0, 1 + this.#random.below(this.#hosts.length - 1));
    const names = dropped.map((host) => this.#invariants.serverIdOf(host));
    const { chain, lostDisks } = this.#invariants;
    const isCore = chain?.members.some(
      ({ serverId }) => !names.includes(serverId) && !lostDisks.has(serverId),
    );
    if (isCore !== true) return new Set();
    for (const host of dropped)
      this.#world.trace.say(this.#world.nowMs, 'world', `${host.name} stays down`);
    return new Set(dropped);
  }

  #running(): readonly Host[] {
    return this.#hosts.filter((host) => !this.#dropped.has(host));
  }

  #isWhole(): boolean {
    const members = this.#invariants.chain?.members ?? [];
    const hosts = this.#running();
    const length = Math.min(this.#replicas, hosts.length);
    if (members.length < length) return false;
    let alive = 0;
    for (const { inside, process } of hosts) {
      if (inside === undefined || process === undefined) continue;
      const { role, leaseHolds } = inside.status(process.instant);
      if (role === 'learner' || role === 'halted') continue;
      if (!leaseHolds || !members.some(({ serverId }) => serverId === inside.serverId))
        return false;
      alive += 1;
    }
    return alive === members.length;
  }

  #isConverged(): boolean {
    const seq = this.#invariants.lastCommitted;
    return this.#members().every(({ inside }) => inside?.machine().appliedSeq === seq);
  }

  #members(): readonly Host[] {
    const members = this.#invariants.chain?.members ?? [];
    return this.#running().filter(({ inside }) =>
      members.some(({ serverId }) => serverId === inside?.serverId),
    );
  }

  #checkTables(): void {
    const hashes = new Set(this.#members().map(({ inside }) => inside?.machine().stateHash));
    if (hashes.size !== 1) throw new BreachError(`members end in ${hashes.size} states`);
    for (const { inside } of this.#members()) inside?.machine().table.check();
  }

  #check(): void {
    const { chain } = this.#coordination.service.backup();
    const version = chain?.version ?? -1;
    if (version === this.#chainVersion) return;
    this.#chainVersion = version;
    if (this.#world.trace.isOn) {
      this.#world.trace.say(
        this.#world.nowMs,
        '/chain',
        `version ${version}: ${chain?.data ?? 'gone'}`,
      );
    }
    this.#invariants.onChain(chain?.data);
  }

  #history(): HistoryOp[] {
    return this.#clients.flatMap(({ history }) => history);
  }

  #judge(): void {
    const verdict = judge(this.#history(), { log: this.#invariants.log });
    const lines = [...verdict.lines, ...this.#judgeVerifications()];
    if (verdict.result === 'ok' && lines.length === 0) return;
    throw new SimulationFailure(
      `the clients saw what cannot be (${verdict.result}):\n${lines.join('\n')}`,
      {
        strikes: this.#nemesis.strikes,
        html: verdict.html,
      },
    );
  }

  /** `verify` must not have said what turned out to be wrong. */
  #judgeVerifications(): string[] {
    return this.#clients.flatMap(({ verifications }) =>
      verifications.flatMap(({ client, opId: { epoch, seq }, outcome }) => {
        const committed = this.#invariants.committedEpoch(seq) === epoch;
        const isWrong =
          (outcome === 'executed' && !committed) || (outcome === 'never' && committed);
        return isWrong
          ? [`client ${client} was told '${outcome}' of ${epoch}-${seq}, which is wrong`]
          : [];
      }),
    );
  }

  #text(): string {
    const chain = (this.#invariants.chain?.members ?? []).map(({ address }) => address).join(' > ');
    const hosts = this.#hosts.map((host) => {
      const { inside, process } = host;
      if (this.#dropped.has(host)) return `${host.name} down for good`;
      if (inside === undefined || process === undefined)
        return `${host.name} ${process === undefined ? 'down' : 'starting'}`;
      const { role, epoch, commitSeq, lastSeq, leaseHolds } = inside.status(process.instant);
      return `${host.name} ${role} of epoch ${epoch}, ${commitSeq} of ${lastSeq} committed${leaseHolds ? '' : ', no lease'}`;
    });
    const clients = this.#clients.map(
      ({ process, done, isDone }) => `${process.name} ${done}${isDone ? ' done' : ''}`,
    );
    return `chain ${chain}; ${hosts.join('; ')}; ${clients.join(', ')}; replicas ${this.#replicas}`;
  }

  #makeHosts(count: number, leaseMs: number): void {
    const settings = {
      replicas: this.#replicas,
      minReplicas: 1,
      leaseMs,
      reviveGraceMs: this.#random.pick([0, 300, 2_000]),
    };
    for (let index = 0; index < count; index++) {
      this.#hosts.push(
        new Host(this.#world, {
          index,
          network: this.#network,
          coordination: this.#coordination,
          settings,
          traits: this.#traits(true),
          watch: this,
        }),
      );
    }
  }

  #makeClients(count: number): void {
    const keys = 1 + this.#random.below(8);
    const settings = {
      keys,
      lanes: 1 + this.#random.below(3),
      pauseMsMax: this.#random.pick([4, 20, 80]),
      valueBytesMax: this.#random.pick([1, 20, 20, 3_000]),
    };
    for (let index = 0; index < count; index++) {
      const process = new SimProcess(this.#world, this.#network, {
        name: `c${index + 1}`,
        host: `10.0.1.${index + 1}`,
        random: this.#random.fork(),
        traits: this.#traits(false),
      });
      const addresses = this.#hosts.map(({ address }) => address);
      this.#clients.push(
        new SimClient(this.#world, { number: index + 1, process, addresses, settings }),
      );
    }
  }

  #traits(isServer: boolean): ProcessTraits {
    const random = this.#random;
    const rareChances = new Map<RareSite, number>();
    for (const site of rareSites) rareChances.set(site, random.pick([0, 0, 0.05, 0.5]));
    // Mostly tiny, so that runs are short of memory and rich in segments.
    rareChances.set('a small segment', 0.9);
    return {
      // Two clocks differ by less than the margin of the leases.
      clockRate: random.pick([1, 1, 0.96, 1.04]),
      stallChance: isServer ? random.pick([0, 0, 0.0005, 0.005]) : 0,
      stallMsMax: random.pick([50, 800]),
      rareChances,
    };
  }
}
