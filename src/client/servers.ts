/**
 * The servers that the router knows, each with at most one connection, and when it may be dialed or asked
 * again. It keeps count and dials; who is asked for what is the router's.
 */
import type { Failure, Opened } from '../protocol/messages.js';
import { isLastingRefusal } from './failure.js';
import {
  RefusedConnectionError,
  ServerConnection,
  type ServerConnectionOptions,
} from './server-connection.js';
import {
  backoffMs,
  dialBackoffMsMax,
  dialBackoffMsMin,
  restMsMax,
  restMsMin,
  stableMs,
} from './timing.js';

/** What a server is asked for: one may refuse writes and yet answer reads. */
export type Purpose = 'read' | 'write';

export class Server {
  readonly address: string;
  readonly #options: Omit<ServerConnectionOptions, 'address'>;
  #connection: ServerConnection | undefined;
  #dialFailures = 0;
  #dialAfterMs = 0;
  readonly #rest = { read: { untilMs: 0, refusals: 0 }, write: { untilMs: 0, refusals: 0 } };
  /** What was wrong with it last; for the message of a call that ends in vain. */
  trouble: string | undefined;
  /** Set: it will never talk to us, and this is why. */
  lastingRefusal: Failure | undefined;
  /** Who it says it is. */
  opened: Opened | undefined;

  constructor(address: string, options: Omit<ServerConnectionOptions, 'address'>) {
    this.address = address;
    this.#options = options;
  }

  get connection(): ServerConnection | undefined {
    return this.#connection;
  }

  get isConnected(): boolean {
    return this.#connection?.isOpen === true;
  }

  /** Its open connection, unless it rests from this purpose or seems dead. */
  usableFor(purpose: Purpose, nowMs: number): ServerConnection | undefined {
    const connection = this.#connection;
    if (connection === undefined || !connection.isOpen || connection.isSuspect) return undefined;
    return nowMs >= this.#rest[purpose].untilMs ? connection : undefined;
  }

  /** Begins to connect, unless it is connected or connecting, or failed just now. Says whether it did. */
  dial(nowMs: number): boolean {
    if (this.#connection !== undefined || nowMs < this.#dialAfterMs) return false;
    try {
      this.#connection = new ServerConnection({ ...this.#options, address: this.address });
    } catch (error) {
      this.onClosed(error as Error, nowMs);
      return false;
    }
    return true;
  }

  onClosed(error: Error, nowMs: number): void {
    const openedAtMs = this.#connection?.openedAtMs;
    this.#connection = undefined;
    const wasStable = openedAtMs !== undefined && nowMs - openedAtMs >= stableMs;
    this.#dialFailures = wasStable ? 0 : this.#dialFailures + 1;
    const failures = Math.max(0, this.#dialFailures - 1);
    this.#dialAfterMs = nowMs + backoffMs(failures, dialBackoffMsMin, dialBackoffMsMax);
    this.trouble = error.message;
    const failure = error instanceof RefusedConnectionError ? error.failure : undefined;
    this.lastingRefusal = failure !== undefined && isLastingRefusal(failure) ? failure : undefined;
  }

  /** It refused: it is left alone for a while that grows while it goes on refusing. */
  rest(purpose: Purpose, failure: Failure, nowMs: number): void {
    const rest = this.#rest[purpose];
    this.trouble = `${this.address} said ${failure.code}: ${failure.message}`;
    // Of many requests in flight that are refused together, one counts.
    if (nowMs < rest.untilMs) return;
    const isRepeated = nowMs - rest.untilMs < restMsMax;
    rest.refusals = isRepeated ? rest.refusals + 1 : 0;
    rest.untilMs = nowMs + backoffMs(rest.refusals, restMsMin, restMsMax);
  }

  /** The chain has changed: what it refused before says nothing now. */
  endRest(): void {
    for (const rest of Object.values(this.#rest)) rest.untilMs = rest.refusals = 0;
  }
}
