/**
 * The coordination service of a run: the in-memory twin (../coordination/memory.ts) with latency, seen by each process
 * through a coordinator of its own whose answers come as events of that process.
 *
 * Invariant: a process that ended hears nothing, and nothing that it still asks for is done.
 */
import type { Coordinator, CoordinatorListener } from '../coordination/coordinator.js';
import { MemoryCoordination } from '../coordination/memory.js';
import type { SimProcess } from './process.js';
import type { Random } from './random.js';
import type { World } from './world.js';

/** How long the service keeps the session of a process that it does not hear. */
export const sessionTimeoutMs = 1_200;

export class SimCoordination {
  readonly service: MemoryCoordination;
  readonly #world: World;
  readonly #random: Random;
  readonly #coordinators = new Map<SimProcess, Coordinator[]>();
  /** Of each message, at most. */
  latencyMsMax = 2;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.service = new MemoryCoordination({
      arrives: () => random.chance(0.5),
      schedule: (task) => void world.schedule(this.#latencyMs(), 'coordination', task),
    });
  }

  coordinator(process: SimProcess): Coordinator {
    const inner = this.service.coordinator(process.name);
    const own = this.#coordinators.get(process) ?? [];
    this.#coordinators.set(process, [...own, inner]);
    return {
      start: (listener) => this.#ask(process, () => inner.start(this.#told(process, listener))),
      announce: (registration) => this.#ask(process, () => inner.announce(registration)),
      readChain: () => this.#answered(process, () => inner.readChain()),
      createChain: (data) => this.#answered(process, () => inner.createChain(data)),
      setChain: (data, version) => this.#answered(process, () => inner.setChain(data, version)),
      close: () => this.#answered(process, () => inner.close()),
    };
  }

  /** `process` is dead: its session ends after `afterMs`. */
  onKilled(process: SimProcess, afterMs: number): void {
    for (const inner of this.#of(process)) {
      this.service.crash(inner);
      this.#world.schedule(afterMs, 'session ends', () => this.service.expire(inner));
    }
    this.#coordinators.delete(process);
  }

  expire(process: SimProcess): void {
    for (const inner of this.#of(process)) this.service.expire(inner);
  }

  disconnect(process: SimProcess): void {
    for (const inner of this.#of(process)) this.service.disconnect(inner);
  }

  reconnect(process: SimProcess): void {
    for (const inner of this.#of(process)) this.service.reconnect(inner);
  }

  freezeReads(process: SimProcess): void {
    for (const inner of this.#of(process)) this.service.freezeReads(inner);
  }

  thawReads(process: SimProcess): void {
    for (const inner of this.#of(process)) this.service.thawReads(inner);
  }

  loseNextAnswer(process: SimProcess, write: 'done' | 'dropped'): void {
    for (const inner of this.#of(process)) this.service.loseNextAnswer(inner, write);
  }

  /** The next write of the process gets no answer, and arrives after `lateMs`, if at all. */
  delayNextWrite(process: SimProcess, lateMs: number): void {
    for (const inner of this.#of(process)) {
      const deliver = this.service.delayNextWrite(inner);
      this.#world.schedule(lateMs, 'a late write arrives', () => {
        try {
          deliver();
        } catch {
          // There was no write meanwhile.
        }
      });
    }
  }

  /** All is as it should be again. */
  heal(): void {
    this.latencyMsMax = 2;
    this.service.start();
    for (const process of this.#coordinators.keys()) {
      this.reconnect(process);
      this.thawReads(process);
    }
  }

  #of(process: SimProcess): readonly Coordinator[] {
    return this.#coordinators.get(process) ?? [];
  }

  #latencyMs(): number {
    return this.#random.between(0.1, this.latencyMsMax);
  }

  /** Leaves when the process has come to this point, which may be ahead of the world. */
  #ask(process: SimProcess, request: () => void): void {
    if (!process.isAlive) return;
    this.#world.scheduleAt(process.nowMs, 'asks coordination', () => {
      if (process.isAlive) request();
    });
  }

  #answered<Result>(process: SimProcess, request: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#ask(process, () => {
        const tell = (act: () => void): void => void process.post(0, 'coordination answers', act);
        request().then(
          (result) => tell(() => resolve(result)),
          (error: unknown) => tell(() => reject(error)),
        );
      });
    });
  }

  #told(process: SimProcess, listener: CoordinatorListener): CoordinatorListener {
    const tell = (act: () => void): void => void process.post(0, 'coordination tells', act);
    return {
      onChain: (read) => tell(() => listener.onChain(read)),
      onServers: (servers) => tell(() => listener.onServers(servers)),
      onSession: (state) => tell(() => listener.onSession(state)),
    };
  }
}
