/**
 * What the shell of a server or client asks of the machine beneath it: clocks, timers, random numbers, the
 * network. (The disk and the coordination service are handed over as objects, see ../log/disk.ts and
 * ../coordination/coordinator.ts.) In production it is Node.js; the simulator puts a world of its own in its place.
 *
 * `runtime` is ambient: one for the whole program, and the simulator exchanges it before each event of each simulated
 * process, as FoundationDB does with its `g_network`. That is sound because whatever an event sets off, promises
 * included, has run before the next event begins.
 */
import type { Duplex } from 'node:stream';
import type { Address } from '../protocol/address.js';
import { nodeRuntime } from './node-runtime.js';

export interface Timer {
  cancel(): void;
}

export interface TimerOptions {
  /** Whether the process stays alive for it. Default: true. */
  readonly keepsAlive?: boolean;
}

export interface StreamListener {
  /** `from`: whom it comes from, for messages. */
  onStream(stream: Duplex, from: string): void;
  /** Nothing can be accepted just now; what is connected goes on. */
  onError(error: Error): void;
}

export interface ListeningPort {
  readonly port: number;
  /** No more connections; resolves when all that came are closed. */
  close(): Promise<void>;
}

/**
 * Places in production code where the simulator may force what is rare: a small buffer, an early timeout, a step
 * that is not due yet. Each only makes something happen that may happen at any time anyhow.
 */
export type RareSite =
  | 'a batch of one'
  | 'a checkpoint is due'
  | 'a small chunk'
  | 'a small page'
  | 'a small read of the log'
  | 'a small segment'
  | 'a small transfer window'
  | 'an early flush'
  | 'an early redial'
  | 'an early trim'
  | 'an early seal'
  | 'few entries in memory'
  | 'few requests in flight'
  | 'little output room'
  | 'little room in the chain';

export interface Runtime {
  /** Ms since some start; never goes back. */
  monotonicMs(): number;
  /** Ms since 1970; may jump. */
  wallMs(): number;
  /** Runs `act` once, not before `ms`. */
  after(ms: number, act: () => void, options?: TimerOptions): Timer;
  /** Runs `act` again and again, with at least `ms` between. */
  every(ms: number, act: () => void, options?: TimerOptions): Timer;
  /** Runs `act` once what has arrived in this turn of the loop is dealt with. */
  atTurnEnd(act: () => void): void;
  /** From 0 up to, not including, 1. Not for secrets. */
  random(): number;
  uuid(): string;
  /**
   * A stream that emits 'connect' once connected, or 'error' with a `code` (ECONNREFUSED …).
   * `keepsAlive`: whether the process stays alive for it.
   */
  dial(address: Address, options?: TimerOptions): Duplex;
  /** Rejects if the port cannot be had. */
  listen(address: Address, listener: StreamListener): Promise<ListeningPort>;
  /** Whether to take the rare way here, this time. Never in production. */
  maybe(site: RareSite): boolean;
}

export let runtime: Runtime = nodeRuntime;

/** Exchanges the runtime; for the simulator only. Returns the one before. */
export function enterRuntime(next: Runtime): Runtime {
  const before = runtime;
  runtime = next;
  return before;
}

interface DelayOptions extends TimerOptions {
  /** Ends the delay early. */
  readonly signal?: AbortSignal;
}

/** Resolves after `ms`, or when the signal fires; never rejects. */
export function delay(ms: number, { signal, ...options }: DelayOptions = {}): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      signal?.removeEventListener('abort', end);
      timer.cancel();
      resolve();
    };
    const timer = runtime.after(ms, end, options);
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** Runs `act` right after what runs now, before anything else happens: a job like a promise's, the same everywhere. */
export function soon(act: () => void): void {
  queueMicrotask(act);
}

/** `rare` where the simulator forces what is rare, else `usual`. */
export function rarely<T>(site: RareSite, rare: T, usual: T): T {
  return runtime.maybe(site) ? rare : usual;
}

export function dateOf(wallMs: number): Date {
  return new Date(wallMs);
}

/** Lets everything else that is ready go first. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => runtime.atTurnEnd(resolve));
}
