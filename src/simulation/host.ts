/**
 * One machine with a disk and, while it runs, one server process: the production server under its production
 * supervisor, on a simulated disk, network and coordination service.
 *
 * Invariant: at most one process at a time; the disk outlives all of them.
 */
import type { CatenaError } from '../errors.js';
import { MemoryDisk, type DiskFault, type DiskOperation } from '../log/memory-disk.js';
import type { LogFields, Logger } from '../logger.js';
import { formatAddress } from '../protocol/address.js';
import type { Effect, Event } from '../replica/events.js';
import type { ServerInside } from '../server/server-watch.js';
import { type SupervisedServer, superviseServer } from '../server/supervision/supervised-server.js';
import { type SimCoordination, sessionTimeoutMs } from './coordination.js';
import type { Farewell, Network } from './network.js';
import { SimProcess, type ProcessTraits } from './process.js';
import type { Random } from './random.js';
import type { World } from './world.js';

export interface HostSettings {
  readonly replicas: number;
  readonly minReplicas: number;
  readonly leaseMs: number;
  readonly reviveGraceMs: number;
}

export interface HostWatch {
  /** A server has read its disk. */
  onRecovered(host: Host): void;
  /** Before the effects are carried out. */
  onStep(host: Host, event: Event, effects: readonly Effect[]): void;
  /** By itself; `reason` is undefined if it was asked to. */
  onEnded(host: Host, reason: CatenaError | undefined): void;
}

export type DiskTrouble = (operation: DiskOperation) => DiskFault | undefined;

const dataPath = '/data';
const port = 5000;

export class Host {
  readonly name: string;
  readonly ip: string;
  readonly address: string;
  disk: MemoryDisk;
  /** Times of the disk, ms; drawn for each operation. */
  diskMsMax = 0.4;
  /** Asked at each operation of the disk; the first that has an answer decides. */
  readonly troubles = new Set<DiskTrouble>();
  /** What the disk has refused or done in part only, so far. */
  diskErrors = 0;
  /** It was shown an old `/chain` on purpose. */
  hadStaleReads = false;
  process: SimProcess | undefined;
  /** Of the server that runs; a supervisor may start several, one after the other. */
  inside: ServerInside | undefined;
  /** World ms of the end of its last process. */
  downSinceMs = 0;
  /** It is on its way out because it was asked to. */
  isLeaving = false;
  #supervised: SupervisedServer | undefined;
  #starts = 0;
  #isRetired = false;
  readonly #world: World;
  readonly #network: Network;
  readonly #coordination: SimCoordination;
  readonly #random: Random;
  readonly #settings: HostSettings;
  readonly #watch: HostWatch;
  #traits: ProcessTraits;

  constructor(
    world: World,
    parts: {
      index: number;
      network: Network;
      coordination: SimCoordination;
      settings: HostSettings;
      traits: ProcessTraits;
      watch: HostWatch;
    },
  ) {
    this.#world = world;
    this.#network = parts.network;
    this.#coordination = parts.coordination;
    this.#random = world.random.fork();
    this.#settings = parts.settings;
    this.#watch = parts.watch;
    this.#traits = parts.traits;
    this.name = String.fromCharCode('A'.charCodeAt(0) + parts.index);
    this.ip = `10.0.0.${parts.index + 1}`;
    this.address = formatAddress({ host: this.ip, port });
    this.disk = new MemoryDisk();
  }

  get isRunning(): boolean {
    return this.process !== undefined;
  }

  start(): void {
    if (this.process !== undefined || this.#isRetired) return;
    this.#starts += 1;
    const process = new SimProcess(this.#world, this.#network, {
      name: `${this.name}${this.#starts}`,
      host: this.ip,
      random: this.#random.fork(),
      traits: this.#traits,
    });
    this.process = process;
    this.isLeaving = false;
    this.#network.onStarted(this.ip);
    this.#say('starts');
    const disk = this.disk.mount();
    this.disk.setFault((operation) => this.#onDiskOperation(process, operation));
    process.post(0, 'start', () => {
      const supervised = superviseServer({
        listen: { host: this.ip, port },
        dataPath,
        disk,
        cluster: 'simulated',
        coordinator: () => this.#coordination.coordinator(process),
        coordinationName: 'simulated coordination',
        ...this.#settings,
        logRetainBytes: 1024 * 1024,
        scrubIntervalMs: 0,
        logger: this.#logger(process),
        onLine: (line) => this.#world.trace.say(process.nowMs, process.name, line),
        watch: {
          onRecovered: (inside) => {
            if (process !== this.process) return;
            this.inside = inside;
            this.#watch.onRecovered(this);
          },
          onStep: (event, effects) => {
            if (process === this.process) this.#watch.onStep(this, event, effects);
          },
        },
      });
      this.#supervised = supervised;
      void supervised.ended.then((reason) => this.#onEnded(process, reason));
    });
  }

  /** Without power from here to the end. */
  retire(): void {
    this.#isRetired = true;
    this.crash('power');
  }

  /** Machine and disk are well from here on. */
  heal(): void {
    this.troubles.clear();
    this.disk.free = Number.MAX_SAFE_INTEGER;
    this.diskMsMax = 0.4;
    this.#traits = { ...this.#traits, stallChance: 0 };
    this.process?.calm();
  }

  /** `kill`: as kill -9. `power`: what was not synced is lost, as `keep` says, and nobody is told. */
  crash(how: 'kill' | 'power'): void {
    const { process } = this;
    if (process === undefined) return;
    this.#say(how === 'kill' ? 'is killed' : 'loses power');
    this.#gone(process, how === 'kill' ? 'reset' : 'silence');
    if (how === 'kill') this.disk.kill();
    else this.disk.crash((change) => this.#survivors(change.length));
  }

  leave(): void {
    const { process } = this;
    if (process === undefined || this.isLeaving) return;
    this.isLeaving = true;
    this.#say('is asked to leave');
    process.post(0, 'leave', () => void this.#supervised?.leave());
  }

  stop(ms: number, suspended: boolean): void {
    const { process } = this;
    if (process === undefined) return;
    this.#say(
      `${suspended ? 'is suspended with its machine' : 'is stopped'} for ${ms.toFixed(0)} ms`,
    );
    process.stop(ms, suspended);
    if (ms > sessionTimeoutMs) {
      this.#world.schedule(sessionTimeoutMs, 'session of a stopped process ends', () => {
        if (process.isAlive) this.#coordination.expire(process);
      });
    }
  }

  /** Everything on it is gone. Only while no process runs. */
  reformat(): void {
    if (this.process !== undefined) throw new Error('a running server has its disk');
    this.#say('has a new disk');
    this.disk = new MemoryDisk();
  }

  #onEnded(process: SimProcess, reason: CatenaError | undefined): void {
    if (!process.isAlive) return;
    this.#say(
      `ends: ${reason === undefined ? 'it was asked to' : `${reason.code} ${reason.message}`}`,
    );
    this.#gone(process, 'reset');
    this.disk.kill();
    this.#watch.onEnded(this, reason);
  }

  #gone(process: SimProcess, farewell: Farewell): void {
    process.kill();
    this.process = undefined;
    this.downSinceMs = this.#world.nowMs;
    this.inside = undefined;
    this.#supervised = undefined;
    this.#network.onKilled(process, farewell);
    // The child process of the real coordinator ends the session of a parent that died.
    const sessionMs = farewell === 'reset' ? this.#random.between(1, 30) : sessionTimeoutMs;
    this.#coordination.onKilled(process, sessionMs);
  }

  #onDiskOperation(process: SimProcess, operation: DiskOperation): DiskFault {
    const trouble = this.#troubleOf(operation);
    if (trouble !== undefined) this.diskErrors += 1;
    const until =
      trouble?.until ??
      new Promise<void>((resolve) => {
        const ms = this.#random.between(0.02, this.diskMsMax);
        process.post(ms, `disk ${operation.kind}`, resolve);
      });
    return { ...trouble, until };
  }

  #troubleOf(operation: DiskOperation): DiskFault | undefined {
    for (const trouble of this.troubles) {
      const found = trouble(operation);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Of an unsynced change all survives, nothing, or a part. */
  #survivors(length: number): number {
    const draw = this.#random.below(3);
    return draw === 0 ? 0 : draw === 1 ? length : this.#random.below(length + 1);
  }

  #say(what: string): void {
    this.#world.trace.say(this.#world.nowMs, this.name, what);
  }

  #logger(process: SimProcess): Logger {
    const at =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        if (!this.#world.trace.isOn) return;
        this.#world.trace.say(
          process.nowMs,
          process.name,
          `${level}: ${message} ${JSON.stringify(fields)}`,
        );
      };
    return { debug: () => {}, info: at('info'), warn: at('warn'), error: at('error') };
  }
}
