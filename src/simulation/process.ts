/**
 * One simulated process: clocks of its own that run a little fast or slow, timers by those clocks, random numbers, and a
 * network under its own address. It can be stopped for a while (SIGSTOP, or a machine that is suspended), stand
 * still in the middle of an event (a long collection of garbage), and be killed.
 *
 * Invariant: after `kill` none of its timers, deliveries or completions runs.
 */
import type { Duplex } from 'node:stream';
import { type Address, formatAddress } from '../protocol/address.js';
import type {
  ListeningPort,
  RareSite,
  Runtime,
  StreamListener,
  Timer,
} from '../runtime/runtime.js';
import type { Random } from './random.js';
import type { Network } from './network.js';
import type { Owner, Scheduled, World } from './world.js';

/** What a run's seed chose for one process. */
export interface ProcessTraits {
  /** How fast its clocks run beside the world's: 1.02 is 2 % fast. */
  readonly clockRate: number;
  /** How likely it is to stand still when it looks at the clock, and for how long at most. */
  readonly stallChance: number;
  readonly stallMsMax: number;
  /** How likely each rare site is to be taken. */
  readonly rareChances: ReadonlyMap<RareSite, number>;
}

/** The monotonic clock of a machine starts anywhere. */
const bootMsMax = 1_000_000;
const wallOriginMs = Date.UTC(2026, 0, 1);
/** The end of a turn of the loop comes this much later: other events may lie between. */
const turnMs = 0.01;
/** A loop that turns so often in so long does nothing else. */
const restlessMs = 50;
const turnsMax = 4_000;

export class SimProcess implements Owner {
  readonly name: string;
  /** Its network address, without port. */
  readonly host: string;
  readonly runtime: Runtime;
  isAlive = true;
  busyUntilMs = 0;
  readonly #world: World;
  readonly #network: Network;
  readonly #random: Random;
  #traits: ProcessTraits;
  readonly #bornAtMs: number;
  readonly #bootMs: number;
  #wallShiftMs = 0;
  /** How long its machine was suspended: the monotonic clock stood still, the wall clock did not. */
  #suspendedMs = 0;
  #nextPort = 40_000;
  #turnsSinceMs = 0;
  #turns = 0;

  constructor(
    world: World,
    network: Network,
    {
      name,
      host,
      random,
      traits,
    }: { name: string; host: string; random: Random; traits: ProcessTraits },
  ) {
    this.#world = world;
    this.#network = network;
    this.name = name;
    this.host = host;
    this.#random = random;
    this.#traits = traits;
    this.#bornAtMs = world.nowMs;
    this.#bootMs = random.below(bootMsMax);
    this.runtime = this.#makeRuntime();
  }

  /** World ms as far as this process has come: ahead of the world's while it stands still. */
  get nowMs(): number {
    return Math.max(this.#world.nowMs, this.busyUntilMs);
  }

  /** By its own clocks, now. For looks from outside: nothing stalls. */
  get instant(): { monotonicMs: number; wallMs: number } {
    const elapsed = (this.nowMs - this.#bornAtMs) * this.#traits.clockRate;
    return {
      monotonicMs: this.#bootMs + elapsed - this.#suspendedMs,
      wallMs: wallOriginMs + this.#bornAtMs + elapsed + this.#wallShiftMs,
    };
  }

  /** Runs `act` as this process, `delayMs` of world time from where it has come to. */
  post(delayMs: number, label: string, act: () => void): Scheduled {
    return this.#world.scheduleAt(this.nowMs + delayMs, label, act, this);
  }

  /** SIGSTOP until SIGCONT; `suspended`: with its whole machine, whose monotonic clock stands still. */
  stop(ms: number, suspended: boolean): void {
    this.busyUntilMs = this.nowMs + ms;
    if (suspended) this.#suspendedMs += ms * this.#traits.clockRate;
  }

  /** From here on it runs without standing still. */
  calm(): void {
    this.#traits = { ...this.#traits, stallChance: 0 };
  }

  shiftWallClock(ms: number): void {
    this.#wallShiftMs += ms;
  }

  kill(): void {
    this.isAlive = false;
  }

  #makeRuntime(): Runtime {
    return {
      monotonicMs: () => this.#look().monotonicMs,
      wallMs: () => this.#look().wallMs,
      after: (ms, act) => this.#after(ms, act),
      every: (ms, act) => this.#every(ms, act),
      atTurnEnd: (act) => {
        this.#countTurn();
        this.post(turnMs, 'turn end', act);
      },
      random: () => this.#random.fraction(),
      uuid: () => this.#random.uuid(),
      dial: (address) => this.#dial(address),
      listen: (address, listener) => this.#listen(address, listener),
      maybe: (site) => this.#random.chance(this.#traits.rareChances.get(site) ?? 0),
    };
  }

  /** A process may be held up at any instruction; it can tell only where it looks at the clock. */
  #look(): { monotonicMs: number; wallMs: number } {
    const { stallChance, stallMsMax } = this.#traits;
    if (stallChance > 0 && this.isAlive && this.#random.chance(stallChance)) {
      const ms = this.#random.between(1, stallMsMax);
      this.#world.trace.say(this.nowMs, this.name, `stands still for ${ms.toFixed(0)} ms`);
      this.busyUntilMs = this.nowMs + ms;
    }
    return this.instant;
  }

  /** A loop that never rests is a fault, though all that it does is right. */
  #countTurn(): void {
    if (this.nowMs - this.#turnsSinceMs > restlessMs) {
      this.#turnsSinceMs = this.nowMs;
      this.#turns = 0;
    }
    this.#turns += 1;
    if (this.#turns < turnsMax) return;
    this.#world.fail(
      new Error(`${this.name} spins: ${this.#turns} turns of its loop in ${restlessMs} ms`),
    );
  }

  #after(ms: number, act: () => void): Timer {
    return this.post(this.#worldMs(ms), 'timer', act);
  }

  #every(ms: number, act: () => void): Timer {
    let isCancelled = false;
    let next: Scheduled | undefined;
    const arm = (): void => {
      next = this.post(this.#worldMs(ms), 'interval', () => {
        act();
        if (!isCancelled) arm();
      });
    };
    arm();
    return {
      cancel: () => {
        isCancelled = true;
        next?.cancel();
      },
    };
  }

  /** Timers come late, never early. */
  #worldMs(ms: number): number {
    return Math.max(1, ms) / this.#traits.clockRate + this.#random.fraction();
  }

  #dial(address: Address): Duplex {
    const from = { host: this.host, port: this.#nextPort++ };
    return this.#network.dial(this, formatAddress(from), address);
  }

  #listen(address: Address, listener: StreamListener): Promise<ListeningPort> {
    return this.#network.listen(this, address, listener);
  }
}
