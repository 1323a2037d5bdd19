/**
 * Time and order of a simulated run. Everything that happens is an event with a time; the earliest is next, and all
 * that it sets off, promises included, is over before the one after it begins. So one seed repeats a run, event by event.
 *
 * Inside an event of a process the ambient runtime is that process's; between events there is none.
 *
 * Invariant: world time never goes back; an event of a process that ended never runs.
 */
import { setImmediate as drain } from 'node:timers/promises';
import { enterRuntime, type Runtime } from '../runtime/runtime.js';
import { EventQueue, type QueuedEvent } from './event-queue.js';
import { Random } from './random.js';
import type { Trace } from './trace.js';

/** Whose event it is. */
export interface Owner {
  readonly name: string;
  readonly runtime: Runtime;
  readonly isAlive: boolean;
  /** World ms before which it can do nothing: it is stopped, or busy. */
  readonly busyUntilMs: number;
}

export interface Scheduled {
  cancel(): void;
}

interface WorldEvent extends QueuedEvent {
  atMs: number;
  readonly owner: Owner | undefined;
  readonly label: string;
  act: (() => void) | undefined;
}

const noRuntime: Runtime = new Proxy({} as Runtime, {
  get(_target, property) {
    throw new Error(`runtime.${String(property)} was asked for outside of any process`);
  },
});

export class World {
  readonly random: Random;
  readonly trace: Trace;
  readonly #queue = new EventQueue<WorldEvent>();
  #nowMs = 0;
  #count = 0;
  #handled = 0;
  #digest = 0x811c9dc5;
  #failure: unknown;
  /** Called after each event: the checks that must hold in every state. */
  onEvent: () => void = () => {};

  constructor(seed: number, trace: Trace) {
    this.random = new Random(seed);
    this.trace = trace;
  }

  /** Ms since the run began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get eventsHandled(): number {
    return this.#handled;
  }

  /** Of all events so far: equal for two runs that did the same. */
  get digest(): string {
    return (this.#digest >>> 0).toString(16).padStart(8, '0');
  }

  /** Something is wrong: the run ends with the first that is told. */
  fail(reason: unknown): void {
    this.#failure ??= reason;
  }

  /** `act` happens in `owner`, or in the world itself, `delayMs` from now. */
  schedule(delayMs: number, label: string, act: () => void, owner?: Owner): Scheduled {
    return this.scheduleAt(this.#nowMs + delayMs, label, act, owner);
  }

  scheduleAt(atMs: number, label: string, act: () => void, owner?: Owner): Scheduled {
    const event: WorldEvent = {
      atMs: Math.max(atMs, this.#nowMs),
      number: this.#count++,
      owner,
      label,
      act,
    };
    this.#queue.push(event);
    return {
      cancel: () => {
        event.act = undefined;
      },
    };
  }

  /** Lets events happen until `untilMs`, or until `isOver`. Throws what failed. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    const outside = enterRuntime(noRuntime);
    try {
      for (;;) {
        const event = this.#queue.peek();
        if (event === undefined || event.atMs > untilMs) break;
        this.#queue.pop();
        if (event.act === undefined) continue;
        if (event.owner !== undefined && !event.owner.isAlive) continue;
        await this.#handle(event, event.act);
        if (this.#failure !== undefined) throw this.#failure;
        if (isOver()) return;
      }
      this.#nowMs = untilMs;
    } finally {
      enterRuntime(outside);
    }
  }

  async #handle(event: WorldEvent, act: () => void): Promise<void> {
    this.#nowMs = event.atMs;
    const { owner, label } = event;
    if (owner !== undefined && owner.busyUntilMs > event.atMs) {
      event.atMs = owner.busyUntilMs;
      this.#queue.push(event);
      return;
    }
    this.#handled += 1;
    this.#note(event.atMs, owner?.name ?? '', label);
    try {
      enterRuntime(owner?.runtime ?? noRuntime);
      act();
      // Promises and next ticks run to their end before this resumes.
      await drain();
      this.onEvent();
    } catch (error) {
      this.fail(error);
    } finally {
      enterRuntime(noRuntime);
    }
  }

  #note(atMs: number, owner: string, label: string): void {
    const text = `${atMs} ${owner} ${label}`;
    let digest = this.#digest;
    for (let index = 0; index < text.length; index++) {
      digest = Math.imul(digest ^ text.charCodeAt(index), 0x01000193);
    }
    this.#digest = digest;
  }
}
