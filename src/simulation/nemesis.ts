/**
 * Which faults a run has, and when. The kinds and how often each comes is drawn once from the seed (swarm testing: Groce
 * et al. 2012), so that some runs have much of little; each fault then comes at a drawn time.
 *
 * Invariant: leaving out a strike changes no other, save by what it would have done to the world.
 */
import { type FaultParts, Faults } from './faults.js';
import type { Random } from './random.js';

/** A fault that was done: the n-th draw, what kind, when. */
export interface Strike {
  readonly number: number;
  readonly kind: string;
  readonly atMs: number;
}

export class Nemesis {
  readonly #parts: FaultParts;
  readonly #source: Random;
  readonly #only: ReadonlySet<number> | undefined;
  readonly #faults: Faults;
  /** Of each kind, parallel to the faults. */
  readonly #weights: readonly number[];
  readonly #pauseMs: number;
  /** What has happened, in order. */
  readonly strikes: Strike[] = [];
  #draws = 0;

  /** `only`: the numbers of the strikes that are to happen, for shrinking; all by default. */
  constructor(parts: FaultParts, only?: ReadonlySet<number>) {
    this.#parts = parts;
    this.#only = only;
    this.#source = parts.world.random.fork();
    this.#faults = new Faults(parts, this.#source.fork());
    this.#weights = this.#faults.all.map(() => this.#source.pick([0, 0, 1, 1, 3, 9]));
    this.#pauseMs = this.#source.pick([50, 100, 250, 600]);
  }

  start(): void {
    this.#plan();
  }

  /** No fault begins any more; those that last are ended by the caller's `heal`. */
  stop(): void {
    this.#faults.isOver = true;
  }

  #plan(): void {
    const { world } = this.#parts;
    const ms = -Math.log(1 - this.#source.fraction()) * this.#pauseMs;
    world.schedule(ms, 'nemesis', () => {
      if (this.#faults.isOver) return;
      this.#draw();
      this.#plan();
    });
  }

  #draw(): void {
    const number = this.#draws++;
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0);
    let draw = this.#source.below(Math.max(1, total));
    this.#faults.random = this.#source.fork();
    if (total === 0 || this.#only?.has(number) === false) return;
    const index = this.#weights.findIndex((weight) => {
      draw -= weight;
      return draw < 0;
    });
    const fault = this.#faults.all[index];
    const { nowMs: atMs } = this.#parts.world;
    if (fault?.strike() === true) this.strikes.push({ number, kind: fault.kind, atMs });
  }
}
