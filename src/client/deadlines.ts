/**
 * Deadlines of very many calls on one timer: a wheel of slots, each a linked list, so that to set and
 * to lift a deadline costs a few assignments. The timer runs (and keeps the process alive) only while a
 * deadline is set: that is why sockets may be unref'd.
 *
 * Invariant: `onDeadline` comes at most once for each `set`, never before its time, and not after `lift`.
 */
import { runtime, type Timer } from '../runtime/runtime.js';
import { deadlineTickMs } from './timing.js';

const slotCount = 1024;

/** What can have one deadline at a time. The fields belong to `Deadlines`. */
export abstract class Expiring {
  /** The tick at which it expires; 0 while it has no deadline. */
  tick = 0;
  next: Expiring | undefined = undefined;
  previous: Expiring | undefined = undefined;

  abstract onDeadline(): void;
}

export class Deadlines {
  readonly #slots = Array.from<Expiring | undefined>({ length: slotCount });
  readonly #originMs = runtime.monotonicMs();
  #count = 0;
  /** Ticks up to this one have been served. */
  #servedTick = 0;
  #timer: Timer | undefined;

  /** How many deadlines are set. */
  get size(): number {
    return this.#count;
  }

  set(expiring: Expiring, timeoutMs: number): void {
    this.lift(expiring);
    const now = runtime.monotonicMs() - this.#originMs;
    if (this.#timer === undefined) this.#start(now);
    // Not in a slot that has been served: a whole round of the wheel would pass before the next look.
    const tick = Math.max(Math.ceil((now + timeoutMs) / deadlineTickMs), this.#servedTick + 1);
    const slot = tick % slotCount;
    const first = this.#slots[slot];
    expiring.tick = tick;
    expiring.next = first;
    if (first !== undefined) first.previous = expiring;
    this.#slots[slot] = expiring;
    this.#count++;
  }

  lift(expiring: Expiring): void {
    if (expiring.tick === 0) return;
    const { next, previous } = expiring;
    if (next !== undefined) next.previous = previous;
    if (previous !== undefined) previous.next = next;
    else this.#slots[expiring.tick % slotCount] = next;
    expiring.tick = 0;
    expiring.next = undefined;
    expiring.previous = undefined;
    this.#count--;
  }

  /** Lifts nothing: whoever set a deadline lifts it. Stops the timer. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #start(nowMs: number): void {
    this.#servedTick = Math.floor(nowMs / deadlineTickMs);
    this.#timer = runtime.every(deadlineTickMs, () => this.#onTick());
  }

  #onTick(): void {
    if (this.#count === 0) return this.close();
    const nowTick = this.#nowTick();
    if (nowTick - this.#servedTick <= 2) return this.#serve(nowTick);
    // This process was held up. What is already in its sockets shall count: look there first.
    runtime.atTurnEnd(() => this.#serve(nowTick));
  }

  #nowTick(): number {
    return Math.floor((runtime.monotonicMs() - this.#originMs) / deadlineTickMs);
  }

  #serve(nowTick: number): void {
    const from = Math.max(this.#servedTick + 1, nowTick - slotCount + 1);
    this.#servedTick = Math.max(this.#servedTick, nowTick);
    for (let tick = from; tick <= nowTick; tick++) this.#serveSlot(tick % slotCount, nowTick);
  }

  #serveSlot(slot: number, nowTick: number): void {
    const due: Expiring[] = [];
    for (let each = this.#slots[slot]; each !== undefined; each = each.next) {
      if (each.tick <= nowTick) due.push(each);
    }
    for (const expiring of due) {
      // One that expired before may have settled this one.
      if (expiring.tick === 0 || expiring.tick > nowTick) continue;
      this.lift(expiring);
      expiring.onDeadline();
    }
  }
}
