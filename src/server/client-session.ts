/**
 * One client's connection: decodes and checks requests, hands them on, sends the answers. Answers may
 * overtake each other. The socket is not read past the limit of requests in flight, while the chain
 * has no room, and while the client does not take its answers; reads whose answers would be more
 * than it takes wait here.
 *
 * Invariant: every request that was accepted is answered once, unless the connection closes first; no two of
 * them have one id at a time.
 */
import { BadRequestError, type CatenaError, LimitError, ProtocolError } from '../errors.js';
import {
  keyBytesMax,
  outputHighWaterBytes,
  requestsInFlightMax,
  valueBytesMax,
} from '../limits.js';
import type { Op } from '../machine/op.js';
import type { Connection } from '../protocol/connection.js';
import {
  decodeRequest,
  encodeResponse,
  type Failure,
  type Request,
  type ResponseBody,
  type View,
} from '../protocol/messages.js';
import { rarely, runtime } from '../runtime/runtime.js';
import { hashKey } from '../table/hash.js';
import type { ClientRead, ClientWrite, ReadBody } from './client-requests.js';

/** What a session asks of the server. */
export interface SessionHost {
  onWrite(write: ClientWrite): void;
  onRead(read: ClientRead): void;
  onStatus(session: ClientSession, id: number, arrivedAtMs: number): void;
  /** `force`: also if this is the only member of the chain. */
  onLeave(session: ClientSession, id: number, arrivedAtMs: number, force: boolean): void;
  onAnswered(kind: string, arrivedAtMs: number, failed: boolean): void;
}

export class ClientSession {
  readonly connection: Connection;
  readonly #host: SessionHost;
  readonly #inFlightMax = rarely('few requests in flight', 2, requestsInFlightMax);
  /** The ids of the requests that are not answered yet. */
  readonly #inFlight = new Set<number>();
  /** Not reading: too much in flight here, the chain has no room, or the client takes no answers. */
  #throttled = false;
  #congested = false;
  #outputFull = false;
  /** Bytes of answers that are made but may not leave yet. */
  #heldBytes = 0;
  #streaming = false;
  #deferred: ClientRead[] = [];

  constructor(connection: Connection, host: SessionHost) {
    this.connection = connection;
    this.#host = host;
  }

  onPayloads(payloads: readonly Buffer[]): void {
    const arrivedAtMs = runtime.monotonicMs();
    for (const payload of payloads) this.#accept(decodeRequest(payload), arrivedAtMs);
    if (this.#inFlight.size >= this.#inFlightMax && !this.#throttled) {
      this.#throttled = true;
      this.connection.pause();
    }
  }

  /** The chain has no room (or has some again): backpressure, not errors. */
  setCongested(congested: boolean): void {
    this.#congested = congested;
    if (congested) this.connection.pause();
    else this.#resumeReading();
  }

  /** Whether an answer of any size may be made for this client now; if not, `defer` the read. */
  get takesAnswers(): boolean {
    // Full: they are asked for again once it is drained.
    if (this.#outputFull && runtime.maybe('little output room')) return false;
    return this.#heldBytes + this.connection.outputBytes <= outputHighWaterBytes;
  }

  /** The read comes again, through the host, when the client has taken more of its answers. */
  defer(read: ClientRead): void {
    this.#deferred.push(read);
  }

  /** An answer was made that may not leave yet, or (negative) has left or was dropped. */
  hold(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes < 0) this.#retryDeferred();
  }

  /** One stream of pages at a time: each keeps a snapshot of the table. */
  get isStreaming(): boolean {
    return this.#streaming;
  }

  setStreaming(streaming: boolean): void {
    this.#streaming = streaming;
    if (!streaming) this.#retryDeferred();
  }

  answer(id: number, kind: string, arrivedAtMs: number, body: ResponseBody): void {
    this.#finish(id, kind, arrivedAtMs, body.kind === 'failure');
    this.#send(encodeResponse({ id, body }));
  }

  /** An answer that is already encoded. */
  answerPayload(id: number, kind: string, arrivedAtMs: number, payload: Uint8Array): void {
    this.#finish(id, kind, arrivedAtMs, false);
    this.#send(payload);
  }

  /** Not the last word on a request: an announced op id, a page that others follow. */
  tell(id: number, body: ResponseBody): void {
    this.#send(encodeResponse({ id, body }));
  }

  fail(id: number, kind: string, arrivedAtMs: number, failure: Failure): void {
    this.answer(id, kind, arrivedAtMs, { kind: 'failure', ...failure });
  }

  pushView(view: View): void {
    this.tell(0, { kind: 'view', ...view });
  }

  /** One request less in flight. */
  #finish(id: number, kind: string, arrivedAtMs: number, failed: boolean): void {
    this.#inFlight.delete(id);
    this.#host.onAnswered(kind, arrivedAtMs, failed);
    if (!this.#throttled || this.#inFlight.size > this.#inFlightMax / 2) return;
    this.#throttled = false;
    this.#resumeReading();
  }

  #send(payload: Uint8Array): void {
    this.connection.send(payload);
    if (this.#outputFull || !this.connection.isOutputFull) return;
    this.#outputFull = true;
    this.connection.pause();
    void this.connection.drained().then(() => {
      this.#outputFull = false;
      this.#resumeReading();
      this.#retryDeferred();
    });
  }

  #resumeReading(): void {
    if (!this.#throttled && !this.#congested && !this.#outputFull) this.connection.resume();
  }

  #retryDeferred(): void {
    if (this.#deferred.length === 0 || !this.takesAnswers) return;
    const deferred = this.#deferred;
    this.#deferred = [];
    if (this.connection.isClosed) return;
    for (const read of deferred) this.#host.onRead(read);
  }

  #accept({ id, body }: Request, arrivedAtMs: number): void {
    if (id === 0) throw new ProtocolError('a request with id 0');
    // Its answer could be taken for the one of the other, and a write for another one.
    if (this.#inFlight.has(id)) {
      throw new ProtocolError(`request id ${id} is used again before it was answered`);
    }
    this.#inFlight.add(id);
    if (body.kind === 'status') {
      this.#host.onStatus(this, id, arrivedAtMs);
      return;
    }
    if (body.kind === 'leave') {
      this.#host.onLeave(this, id, arrivedAtMs, body.force);
      return;
    }
    if (body.kind === 'write') {
      const wrong = faultOfOp(body.op);
      if (wrong !== undefined) {
        this.fail(id, body.op.kind, arrivedAtMs, wrong);
        return;
      }
      this.#host.onWrite(this.#writeOf(id, arrivedAtMs, body.op, body.noWait, body.announce));
      return;
    }
    const wrong = body.kind === 'get' ? faultOfKey(body.key) : undefined;
    if (wrong !== undefined) this.fail(id, body.kind, arrivedAtMs, wrong);
    else this.#host.onRead(this.#readOf(id, arrivedAtMs, body));
  }

  #writeOf(
    id: number,
    arrivedAtMs: number,
    op: Op,
    noWait: boolean,
    announce: boolean,
  ): ClientWrite {
    const keyHash = op.kind === 'epoch' ? 0 : hashKey(op.key);
    const opBytes = op.kind === 'put' ? op.key.length + op.value.length + 16 : keyBytesMax;
    return { session: this, id, arrivedAtMs, op, keyHash, opBytes, noWait, announce };
  }

  #readOf(id: number, arrivedAtMs: number, body: ReadBody): ClientRead {
    const scope = scopeOf(body);
    const instant = undefined;
    return { session: this, id, arrivedAtMs, body, scope, payload: undefined, instant };
  }
}

export function failureOf(error: CatenaError): Failure {
  return { code: error.code, message: error.message };
}

function scopeOf(body: ReadBody): number | 'all' | 'position' {
  switch (body.kind) {
    case 'get':
      return hashKey(body.key);
    case 'size':
    case 'scan':
      return 'all';
    case 'verify':
      return 'position';
  }
}

function faultOfOp(op: Op): Failure | undefined {
  if (op.kind === 'epoch') {
    return failureOf(new BadRequestError('only the servers themselves begin an epoch'));
  }
  const wrong = faultOfKey(op.key);
  if (wrong !== undefined || op.kind === 'delete' || op.value.length <= valueBytesMax) return wrong;
  return failureOf(new LimitError('the value', op.value.length, valueBytesMax, 'bytes'));
}

function faultOfKey(key: Uint8Array): Failure | undefined {
  if (key.length === 0) return failureOf(new BadRequestError('the key is empty'));
  if (key.length <= keyBytesMax) return undefined;
  return failureOf(new LimitError('the key', key.length, keyBytesMax, 'bytes'));
}
