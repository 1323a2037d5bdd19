/**
 * Frames over one duplex stream, for servers and clients alike: what comes in is handed over as
 * whole payloads, what goes out in one turn of the loop leaves in one write.
 *
 * Invariant: payloads are handed over in order, none after `onClose`; `onClose` comes exactly once.
 */
import type { Duplex } from 'node:stream';
import { CatenaError, LimitError, ProtocolError } from '../errors.js';
import { frameBytesMax, outputHighWaterBytes, outputStallMs } from '../limits.js';
import { FrameDecoder, frameHeaderBytes, writeFrameHeader } from './frame.js';

export interface ConnectionHandler {
  /** The frames that arrived together. An error thrown here closes the connection with that reason. */
  onPayloads(payloads: readonly Buffer[]): void;
  /** `error`: why, if it was not a plain end. */
  onClose(error: Error | undefined): void;
}

/** Runs a flush later in this turn of the loop, once all that is ready in it has been sent. */
export type FlushScheduler = (flush: () => void) => void;

/** Payloads from this size on are not copied into the turn's buffer. */
const copyBytesMax = 16 * 1024;

export class Connection {
  readonly #stream: Duplex;
  readonly #decoder: FrameDecoder;
  readonly #handler: ConnectionHandler;
  readonly #scheduleFlush: FlushScheduler;
  readonly #flush = (): void => this.flush();
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #flushScheduled = false;
  #closed = false;
  #closeReason: Error | undefined;
  #drainWaiters: (() => void)[] = [];
  /** Monotonic ms since when part of a frame has been here, or undefined. */
  midFrameSinceMs: number | undefined;

  constructor(
    stream: Duplex,
    handler: ConnectionHandler,
    scheduleFlush: FlushScheduler = setImmediate,
  ) {
    this.#stream = stream;
    this.#handler = handler;
    this.#scheduleFlush = scheduleFlush;
    this.#decoder = new FrameDecoder();
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.on('drain', () => this.#onDrain());
    stream.on('error', (error) => this.close(error));
    stream.on('end', () => this.close(undefined));
    stream.on('close', () => this.close(undefined));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Bytes that were sent but are still in this process. */
  get outputBytes(): number {
    return this.#pendingBytes + this.#stream.writableLength;
  }

  /** Queues one payload; it leaves with the others of this turn. Throws LimitError if it is too large. */
  send(payload: Uint8Array): void {
    if (this.#closed) return;
    if (payload.length > frameBytesMax) {
      throw new LimitError('the frame', payload.length, frameBytesMax, 'bytes');
    }
    this.#pending.push(payload);
    this.#pendingBytes += frameHeaderBytes + payload.length;
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#scheduleFlush(this.#flush);
  }

  /** Writes what is queued now. */
  flush(): void {
    this.#flushScheduled = false;
    if (this.#closed || this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    const pieces = gather(pending);
    if (pieces.length === 1) {
      this.#stream.write(pieces[0]);
      return;
    }
    this.#stream.cork();
    for (const piece of pieces) this.#stream.write(piece);
    this.#stream.uncork();
  }

  /**
   * Resolves when little output waits, or the connection is closed. The backpressure of streams: a
   * peer that takes nothing for `outputStallMs` is disconnected, so that nobody waits for it for ever.
   */
  async drained(): Promise<void> {
    this.flush();
    if (this.#closed || this.outputBytes <= outputHighWaterBytes) return;
    const stalled = setTimeout(() => {
      this.close(new ProtocolError(`the peer has read nothing for ${outputStallMs} ms`));
    }, outputStallMs);
    await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
    clearTimeout(stalled);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#closed) this.#stream.resume();
  }

  /** Sends what is queued, then ends the connection. */
  end(): void {
    if (this.#closed) return;
    this.flush();
    this.#stream.end();
    this.close(undefined);
  }

  /** Closes at once. The first reason given is the one reported. */
  close(reason: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeReason = reason;
    this.#pending = [];
    if (!this.#stream.writableEnded || reason !== undefined) this.#stream.destroy();
    this.#onDrain();
    this.#handler.onClose(this.#closeReason);
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      const payloads = this.#decoder.push(chunk);
      if (!this.#decoder.isMidFrame) this.midFrameSinceMs = undefined;
      else if (payloads.length > 0 || this.midFrameSinceMs === undefined) {
        this.midFrameSinceMs = performance.now();
      }
      if (payloads.length > 0) this.#handler.onPayloads(payloads);
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      this.close(error);
    }
  }

  #onDrain(): void {
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const resolve of waiters) resolve();
  }
}

/** Small frames are copied side by side into one buffer, large payloads stay as they are. */
function gather(payloads: readonly Uint8Array[]): Uint8Array[] {
  let bytes = 0;
  for (const { length } of payloads) {
    bytes += frameHeaderBytes + (length > copyBytesMax ? 0 : length);
  }
  const buffer = Buffer.allocUnsafe(bytes);
  const pieces: Uint8Array[] = [];
  let start = 0;
  let offset = 0;
  for (const payload of payloads) {
    writeFrameHeader(buffer, offset, payload);
    offset += frameHeaderBytes;
    if (payload.length > copyBytesMax) {
      pieces.push(buffer.subarray(start, offset), payload);
      start = offset;
    } else {
      buffer.set(payload, offset);
      offset += payload.length;
    }
  }
  if (start < offset) pieces.push(buffer.subarray(start, offset));
  return pieces;
}
