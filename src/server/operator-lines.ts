/**
 * The lines by which an operator sees that a server does not serve and why, and that ZooKeeper is away or
 * back. What passes by at once is not worth a line, and neither is a number that counts down: a line is
 * printed when the kind of waiting has changed and has lasted for a moment.
 *
 * Invariant: at most one line a change, and at most one of a kind in `sameKindMs`.
 */
import type { SessionState } from '../coordination/coordinator.js';
import type { Instant } from '../replica/timing.js';
import type { Waiting } from '../replica/waiting.js';
import { dateOf, runtime, type Timer } from '../runtime/runtime.js';
import { secondsText } from '../text.js';

export interface OperatorLinesOptions {
  /** `host:port` */
  readonly address: string;
  /** How people call the coordination, with its address: `ZooKeeper at 127.0.0.1:2181`. */
  readonly coordinationName: string;
  readonly waiting: () => Waiting | undefined;
  readonly onLine: (line: string) => void;
  readonly clock: () => Instant;
}

const tickMs = 200;
/** To start, to fail over and to join takes less: nobody needs to read of it. */
const lastedMs = 500;
const sameKindMs = 5_000;
const firstConnectionMs = 2_000;
/** A session moves between the servers of an ensemble in less. */
const awayMs = 1_000;

export class OperatorLines {
  readonly #options: OperatorLinesOptions;
  #timer: Timer | undefined;

  /** The kind seen last, since when, and the one that a line was printed of while it lasts. */
  #kind: string | undefined;
  #kindSinceMs = 0;
  #shownKind: string | undefined;
  readonly #shownAtMs = new Map<string, number>();

  #isConnected = false;
  #wasConnected = false;
  #awaySince: Instant;
  #isAwayShown = false;

  constructor(options: OperatorLinesOptions) {
    this.#options = options;
    this.#awaySince = options.clock();
  }

  start(): void {
    this.#awaySince = this.#options.clock();
    this.#timer = runtime.every(tickMs, () => this.onTick(), { keepsAlive: false });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  onSession(state: SessionState): void {
    const now = this.#options.clock();
    if (state !== 'connected') {
      if (this.#isConnected) this.#awaySince = now;
      this.#isConnected = false;
      return;
    }
    if (this.#isAwayShown) {
      const forText = secondsText(now.monotonicMs - this.#awaySince.monotonicMs);
      const what = this.#wasConnected ? 'is back' : 'is there';
      this.#say(`: ${this.#options.coordinationName} ${what} after ${forText}`);
    }
    this.#isConnected = true;
    this.#wasConnected = true;
    this.#isAwayShown = false;
  }

  onTick(): void {
    const now = this.#options.clock();
    const waiting = this.#options.waiting();
    this.#showAway(now, waiting);
    this.#showWaiting(now, waiting);
  }

  #showAway(now: Instant, waiting: Waiting | undefined): void {
    if (this.#isConnected || this.#isAwayShown) return;
    const awayForMs = now.monotonicMs - this.#awaySince.monotonicMs;
    if (awayForMs < (this.#wasConnected ? awayMs : firstConnectionMs)) return;
    this.#isAwayShown = true;
    const { coordinationName } = this.#options;
    if (!this.#wasConnected) return this.#say(` is waiting for ${coordinationName}`);
    const since = dateOf(this.#awaySince.wallMs).toISOString();
    const meanwhile =
      waiting === undefined
        ? 'the chain goes on without it'
        : 'joins and repairs of the chain wait for it';
    this.#say(`: ${coordinationName} is away since ${since}; ${meanwhile}`);
  }

  #showWaiting({ monotonicMs }: Instant, waiting: Waiting | undefined): void {
    if (waiting?.kind !== this.#kind) {
      this.#kind = waiting?.kind;
      this.#kindSinceMs = monotonicMs;
    }
    if (waiting === undefined) {
      this.#shownKind = undefined;
      return;
    }
    const { kind, text } = waiting;
    if (kind === this.#shownKind || monotonicMs - this.#kindSinceMs < lastedMs) return;
    // That ZooKeeper is not there has a line of its own.
    if (kind === 'coordination' && !this.#isConnected) return;
    const shownAtMs = this.#shownAtMs.get(kind);
    if (shownAtMs !== undefined && monotonicMs - shownAtMs < sameKindMs) return;
    // Kinds name servers: without this the map would grow with every address ever waited for.
    for (const [each, atMs] of this.#shownAtMs) {
      if (monotonicMs - atMs >= sameKindMs) this.#shownAtMs.delete(each);
    }
    this.#shownAtMs.set(kind, monotonicMs);
    this.#shownKind = kind;
    this.#say(` ${text}`);
  }

  #say(text: string): void {
    this.#options.onLine(`${this.#options.address}${text}`);
  }
}
