/**
 * The requests of one connection that are not answered yet, by request id. Pure. Slots of an array, not a Map: one
 * that is filled and emptied 10^5 times a second leaves tables behind that keep finished calls alive for the garbage
 * collector (measured: half of the client's time).
 *
 * Invariant: an id is not given out again before its request was removed, and not soon after.
 */
import { requestsInFlightMax } from '../limits.js';
import type { Call } from './call.js';

/** Stands for a request whose call has gone: its id stays taken until the server has answered. */
export type Orphan = 'orphan' | 'orphan without wait';

const slotCount = requestsInFlightMax;
/** The id is (round of the slot) * slotCount + slot, so a late answer finds another id in its slot. */
const roundMax = Math.floor((2 ** 32 - 1) / slotCount) - 1;

export class InFlight {
  readonly #slots: (Call | Orphan | undefined)[] = [];
  readonly #rounds: number[] = [];
  readonly #free: number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size >= slotCount;
  }

  /** Returns the id to send it with. Not to be called while full. */
  add(request: Call | Orphan): number {
    const slot = this.#free.pop() ?? this.#slots.length;
    const round = this.#rounds[slot] ?? 0;
    // Round 0 is never used: so no id is 0.
    this.#rounds[slot] = round >= roundMax ? 1 : round + 1;
    this.#slots[slot] = request;
    this.#size += 1;
    return this.#rounds[slot] * slotCount + slot;
  }

  get(id: number): Call | Orphan | undefined {
    const slot = id % slotCount;
    return this.#rounds[slot] === Math.floor(id / slotCount) ? this.#slots[slot] : undefined;
  }

  /** Puts an orphan in the place of a call that has gone. */
  orphan(id: number, orphan: Orphan): void {
    this.#slots[id % slotCount] = orphan;
  }

  remove(id: number): void {
    const slot = id % slotCount;
    this.#slots[slot] = undefined;
    this.#free.push(slot);
    this.#size -= 1;
  }

  calls(): Call[] {
    return this.#slots.filter(
      (each): each is Call => each !== undefined && typeof each !== 'string',
    );
  }
}
