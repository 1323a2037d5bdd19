/**
 * One connection to one server, from the dial to its end; it is not dialed again (the router makes another
 * one). Requests that are handed over in one turn leave in one write, as many as may be in flight; the rest queue here.
 * Nothing is sent before the server has opened, so a server that hangs at once costs no write its certainty.
 *
 * Invariant: every call that it was given is, at its end, either settled, or given back because it was not
 * executed or changes nothing. A call counts as sent from just before its bytes are handed to the socket.
 */
import type { Duplex } from 'node:stream';
import { ProtocolError, UnavailableError } from '../errors.js';
import { requestsInFlightMax } from '../limits.js';
import { Connection } from '../protocol/connection.js';
import {
  decodeOpened,
  decodeResponse,
  encodeOpen,
  encodeRequest,
  type Failure,
  type Opened,
  protocolVersion,
  type Response,
  type View,
} from '../protocol/messages.js';
import { runtime, type Timer } from '../runtime/runtime.js';
import type { Call, CallHolder } from './call.js';
import { CallQueue } from './call-queue.js';
import { errorOfFailure, isRefusal } from './failure.js';
import { InFlight, type Orphan } from './in-flight.js';
import { dialTimeoutMs, quietMsMax, silentMsMax, suspectMs } from './timing.js';

/** Opens a stream to `host:port`, not necessarily connected yet. */
export type Dial = (address: string) => Duplex;

export interface ServerConnectionListener {
  /** What it throws closes the connection. */
  onOpen(connection: ServerConnection, opened: Opened): void;
  onView(connection: ServerConnection, view: View): void;
  /** The server did not execute the call; whose it now is. */
  onRefusal(connection: ServerConnection, call: Call, failure: Failure): void;
  /** It answers again, or does not. */
  onHealth(connection: ServerConnection): void;
  onIdle(connection: ServerConnection): void;
  /** Once, whether it had opened or not. `calls` may be tried elsewhere. */
  onClose(connection: ServerConnection, error: Error, calls: readonly Call[]): void;
}

export interface ServerConnectionOptions {
  readonly address: string;
  readonly cluster: string;
  readonly dial: Dial;
  readonly listener: ServerConnectionListener;
}

export class ServerConnection implements CallHolder {
  readonly address: string;
  readonly #listener: ServerConnectionListener;
  readonly #connection: Connection;
  readonly #queue = new CallQueue();
  readonly #inFlight = new InFlight();
  readonly #dialTimer: Timer;
  #isOpen = false;
  #openedAtMs: number | undefined;
  #isPumpScheduled = false;
  /** Since when it owes answers and has said nothing. */
  #quietSinceMs = 0;
  #pingedAtMs: number | undefined;
  #isSuspect = false;

  constructor(options: ServerConnectionOptions) {
    this.address = options.address;
    this.#listener = options.listener;
    this.#connection = new Connection(options.dial(options.address), {
      onPayloads: (payloads) => this.#onPayloads(payloads),
      onClose: (error) => this.#onClose(error),
    });
    this.#connection.send(encodeOpen({ version: protocolVersion, cluster: options.cluster }));
    const timeout = new UnavailableError(`${this.address} did not open within ${dialTimeoutMs} ms`);
    this.#dialTimer = runtime.after(dialTimeoutMs, () => this.close(timeout), {
      keepsAlive: false,
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** It owes an answer, was asked for a sign of life, and gave none. */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0 && this.#queue.size === 0;
  }

  /** Monotonic ms of the server's first frame. */
  get openedAtMs(): number | undefined {
    return this.#openedAtMs;
  }

  /** Takes the call over. */
  submit(call: Call): void {
    call.holder = this;
    call.requestId = 0;
    this.#queue.push(call);
    this.#schedulePump();
  }

  withdraw(call: Call): void {
    if (call.requestId === 0) return this.#queue.remove(call);
    if (this.#inFlight.get(call.requestId) !== call) return;
    const { body } = call.options;
    const noWait = body.kind === 'write' && body.noWait;
    this.#inFlight.orphan(call.requestId, noWait ? 'orphan without wait' : 'orphan');
  }

  describeWait(call: Call): string {
    if (call.isSent) return `${this.address} did not answer`;
    return `${this.address} has ${this.#inFlight.size} requests to answer first`;
  }

  /** Gives back what can be tried elsewhere, save what was meant for this very server. */
  takeRepeatable(): Call[] {
    const calls: Call[] = [];
    for (const call of this.#calls()) {
      if (!call.isRepeatable) continue;
      if (call.options.target.kind === 'server') continue;
      this.#release(call);
      calls.push(call);
    }
    return calls;
  }

  /** To be called now and then: finds out whether a quiet server is alive. */
  checkHealth(nowMs: number): void {
    if (!this.#isOpen || this.#inFlight.size === 0) return;
    if (this.#pingedAtMs === undefined) {
      if (nowMs - this.#quietSinceMs >= quietMsMax) this.#ping(nowMs);
      return;
    }
    if (nowMs - this.#pingedAtMs >= silentMsMax) {
      return this.close(new UnavailableError(`${this.address} was silent for ${silentMsMax} ms`));
    }
    if (!this.#isSuspect && nowMs - this.#pingedAtMs >= suspectMs) {
      this.#isSuspect = true;
      this.#listener.onHealth(this);
    }
  }

  /** Stops reading from the server; for a stream of pages that nobody takes. */
  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  close(reason: Error | undefined): void {
    this.#connection.close(reason);
  }

  #schedulePump(): void {
    if (this.#isPumpScheduled || !this.#isOpen) return;
    this.#isPumpScheduled = true;
    runtime.atTurnEnd(() => this.#pump());
  }

  #pump(): void {
    this.#isPumpScheduled = false;
    if (!this.#isOpen) return;
    if (this.#inFlight.size === 0) this.#quietSinceMs = runtime.monotonicMs();
    for (let call = this.#queue.first; call !== undefined; call = this.#queue.first) {
      // One place is left for the sign of life.
      if (this.#inFlight.size >= requestsInFlightMax - 1) break;
      if (this.#connection.isOutputFull) {
        void this.#connection.drained().then(() => this.#schedulePump());
        break;
      }
      this.#send(call);
    }
    this.#connection.flush();
  }

  #send(call: Call): void {
    this.#queue.remove(call);
    const id = this.#inFlight.add(call);
    call.requestId = id;
    call.isSent = true;
    this.#connection.send(encodeRequest({ id, body: call.options.body }));
  }

  #ping(nowMs: number): void {
    const id = this.#inFlight.add('orphan');
    this.#pingedAtMs = nowMs;
    this.#connection.send(encodeRequest({ id, body: { kind: 'status' } }));
  }

  #onPayloads(payloads: readonly Buffer[]): void {
    this.#quietSinceMs = runtime.monotonicMs();
    this.#pingedAtMs = undefined;
    if (this.#isSuspect) {
      this.#isSuspect = false;
      this.#listener.onHealth(this);
    }
    for (const payload of payloads) {
      if (this.#connection.isClosed) return;
      if (this.#openedAtMs === undefined) this.#onOpened(decodeOpened(payload));
      else this.#onResponse(decodeResponse(payload));
    }
    if (this.#queue.size > 0) this.#schedulePump();
    if (this.isIdle) this.#listener.onIdle(this);
  }

  #onOpened(opened: Opened): void {
    this.#dialTimer.cancel();
    this.#openedAtMs = runtime.monotonicMs();
    if (opened.refused !== undefined)
      throw new RefusedConnectionError(this.address, opened.refused);
    this.#isOpen = true;
    this.#listener.onOpen(this, opened);
    if (this.#queue.size > 0) this.#schedulePump();
  }

  #onResponse({ id, body }: Response): void {
    if (id === 0) {
      if (body.kind === 'view') return this.#listener.onView(this, body);
      if (body.kind === 'failure') throw errorOfFailure(body, false);
      throw new ProtocolError(`'${body.kind}' came as an answer to no request`);
    }
    const call = this.#inFlight.get(id);
    if (call === undefined)
      throw new ProtocolError(`an answer came to request ${id}, which is not open`);
    if (!isFinal(body, call)) {
      if (typeof call !== 'string') call.progress(body);
      return;
    }
    if (typeof call === 'string') return this.#inFlight.remove(id);
    if (body.kind !== 'failure') {
      // If this throws the call is still open, and ends with the connection.
      call.answer(body);
      return this.#inFlight.remove(id);
    }
    this.#inFlight.remove(id);
    if (!isRefusal(body)) return call.fail(errorOfFailure(body, call.hasEffect, call.opId));
    if (call.opId !== undefined) {
      // It has a place in the log: whatever is said after that, it may yet be executed.
      return call.abandon(
        `${this.address} then said ${body.code}: ${body.message}`,
        new UnavailableError(body.message),
      );
    }
    this.#release(call);
    this.#listener.onRefusal(this, call, body);
  }

  #calls(): Call[] {
    return [...this.#inFlight.calls(), ...this.#queue.calls()];
  }

  /** It is as if it had never been sent. */
  #release(call: Call): void {
    this.withdraw(call);
    call.holder = undefined;
    call.isSent = false;
    call.opId = undefined;
  }

  #onClose(reason: Error | undefined): void {
    this.#dialTimer.cancel();
    this.#isOpen = false;
    const error = reason ?? new UnavailableError(`${this.address} closed the connection`);
    const calls = this.#calls();
    const repeatable: Call[] = [];
    for (const call of calls) {
      if (call.isRepeatable) {
        this.#release(call);
        repeatable.push(call);
      } else call.abandon(`the connection to ${this.address} broke: ${error.message}`, error);
    }
    this.#listener.onClose(this, error, repeatable);
  }
}

/** The server's first frame says that it will not talk to us. */
export class RefusedConnectionError extends UnavailableError {
  readonly failure: Failure;

  constructor(address: string, failure: Failure) {
    super(`${address} refused the connection: ${failure.code}: ${failure.message}`);
    this.failure = failure;
  }
}

function isFinal(body: Response['body'], call: Call | Orphan): boolean {
  if (body.kind === 'page') return body.last;
  if (body.kind !== 'assigned') return true;
  if (typeof call === 'string') return call === 'orphan without wait';
  const request = call.options.body;
  return request.kind === 'write' && request.noWait;
}
