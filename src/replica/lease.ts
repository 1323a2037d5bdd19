/**
 * Leases by beats that run down and up the chain (R8). A member may answer reads while it can prove
 * that all others were still in its epoch a short while ago, counted from the instant at which IT
 * sent the beat that their proof echoes. Never from a receipt: a received beat may be old.
 *
 *     down: head 7 ──▶ ──▶ tail        up: head ◀── ◀── tail 9, echo 7
 *
 * Invariant: a noted instant is never later than the real sending of the beat with that number.
 */
import type { Instant } from './timing.js';

/** Numbers whose sending instants are kept; a proof that echoes an older one is of no use anyway. */
const notesMax = 64;

class SentNotes {
  readonly #sentAt = new Map<number, Instant>();

  note(number: number, now: Instant): void {
    this.#sentAt.set(number, now);
    this.#sentAt.delete(number - notesMax);
  }

  at(number: number): Instant | undefined {
    return this.#sentAt.get(number);
  }
}

/** One member's view of the beats of one epoch. Made anew at each adoption. */
export class BeatLedger {
  readonly #downSent = new SentNotes();
  readonly #upSent = new SentNotes();
  #provenAbove: Instant | undefined;
  #provenBelow: Instant | undefined;
  /** The newest numbers seen (or started) here: what the next beat of the other direction echoes. */
  newestDown = 0;
  newestUp = 0;

  /** This member sends (starts or passes on) the down-beat `number` now. */
  sendsDown(number: number, now: Instant): void {
    this.newestDown = Math.max(this.newestDown, number);
    this.#downSent.note(number, now);
  }

  /** This member sends (starts or passes on) the up-beat `number` now. */
  sendsUp(number: number, now: Instant): void {
    this.newestUp = Math.max(this.newestUp, number);
    this.#upSent.note(number, now);
  }

  /** A down-beat came from above and echoes one of our up-beats: all above lived after we sent that. */
  receivedDown(number: number, echo: number): void {
    this.newestDown = Math.max(this.newestDown, number);
    this.#provenAbove = later(this.#provenAbove, this.#upSent.at(echo));
  }

  /** An up-beat came from below and echoes one of our down-beats: all below lived after we sent that. */
  receivedUp(number: number, echo: number): void {
    this.newestUp = Math.max(this.newestUp, number);
    this.#provenBelow = later(this.#provenBelow, this.#downSent.at(echo));
  }

  /** The learner joins the proof now: what was proven below without it no longer counts. */
  forgetBelow(): void {
    this.#provenBelow = undefined;
  }

  get provenAbove(): Instant | undefined {
    return this.#provenAbove;
  }

  get provenBelow(): Instant | undefined {
    return this.#provenBelow;
  }
}

/**
 * Whether a lease counted from `start` may still be used. The wall clock counts as well, because the
 * monotonic one stands still while a machine is suspended; set back, it changes nothing.
 */
export function leaseHolds(start: Instant | undefined, now: Instant, leaseUseMs: number): boolean {
  if (start === undefined) return false;
  const elapsedMs = Math.max(now.monotonicMs - start.monotonicMs, now.wallMs - start.wallMs);
  return elapsedMs < leaseUseMs;
}

function later(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.monotonicMs > a.monotonicMs ? b : a;
}
