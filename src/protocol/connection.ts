/**
 * Frames over one duplex stream, for servers and clients alike: what comes in is handed over as
 * whole payloads, what goes out in one turn of the loop leaves in one write.
 *
 * Invariant: payloads are handed over in order, none after `onClose`; `onClose` comes exactly once.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CatenaError, LimitError, ProtocolError } from '../errors.js';
import {
  frameBytesMax,
  frameProgressBytes,
  lingerMs,
  outputHighWaterBytes,
  outputStallMs,
} from '../limits.js';
import { rarely, runtime } from '../runtime/runtime.js';
import { FrameDecoder, frameHeaderBytes, writeFrameHeader } from './frame.js';

export interface ConnectionHandler {
  /** The frames that arrived together. An error thrown here closes the connection with that reason. */
  onPayloads(payloads: readonly Buffer[]): void;
  /** `error`: why, if it was not a plain end. */
  onClose(error: Error | undefined): void;
}

/** Runs a flush later in this turn of the loop, once all that is ready in it has been sent. */
export type FlushScheduler = (flush: () => void) => void;

const atTurnEnd: FlushScheduler = (flush) => runtime.atTurnEnd(flush);

/** Payloads from this size on are not copied into the turn's buffer. */
const copyBytesMax = 16 * 1024;
/** When the simulator wants little room. */
const littleOutputBytes = 1024;

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
  #drainWaiters: (() => void)[] = [];
  /** Monotonic ms since when part of a frame has been here without much following, or undefined. */
  midFrameSinceMs: number | undefined;
  #midFrameBytes = 0;
  #isPaused = false;

  constructor(
    stream: Duplex,
    handler: ConnectionHandler,
    scheduleFlush: FlushScheduler = atTurnEnd,
  ) {
    this.#stream = stream;
    this.#handler = handler;
    this.#scheduleFlush = scheduleFlush;
    this.#decoder = new FrameDecoder();
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.on('drain', () => this.#onDrain());
    stream.on('error', (error) => this.close(error));
    stream.on('end', () => this.#onEnd());
    stream.on('close', () => this.close(undefined));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Bytes that were sent but are still in this process. */
  get outputBytes(): number {
    return this.#pendingBytes + this.#stream.writableLength;
  }

  /** Whether so much output waits that who makes more should wait for `drained`. */
  get isOutputFull(): boolean {
    const room = rarely('little output room', littleOutputBytes, outputHighWaterBytes);
    return this.outputBytes > room;
  }

  /** Queues one payload; it leaves with the others of this turn. Throws LimitError if it is too large. */
  send(payload: Uint8Array): void {
    if (this.#closed) return;
    if (payload.length > frameBytesMax) {
      throw new LimitError('the frame', payload.length, frameBytesMax, 'bytes');
    }
    this.#pending.push(payload);
    this.#pendingBytes += frameHeaderBytes + payload.length;
    if (runtime.maybe('an early flush')) return this.flush();
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
    // A stream that is not full itself will not say that it has drained.
    if (this.#closed || !this.#stream.writableNeedDrain || !this.isOutputFull) return;
    if (this.#drainWaiters.length === 0) this.#watchStall();
    await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
  }

  /** While nothing is read here, it is not the peer that leaves its frame unfinished. */
  pause(): void {
    this.#isPaused = true;
    this.midFrameSinceMs = undefined;
    this.#stream.pause();
  }

  resume(): void {
    if (this.#closed) return;
    if (this.#isPaused && this.#decoder.isMidFrame) this.#startFrameClock();
    this.#isPaused = false;
    this.#stream.resume();
  }

  /** Sends what is queued, then ends the connection; `reason` as for `close`. */
  end(reason?: Error): void {
    if (this.#closed) return;
    this.flush();
    this.#stream.end();
    // A peer that neither reads nor ends must not keep us waiting; what it still says is not for us.
    this.#stream.resume();
    const linger = runtime.after(lingerMs, () => this.#stream.destroy(), { keepsAlive: false });
    this.#stream.once('close', () => linger.cancel());
    this.#over(reason);
  }

  /** Closes at once. The first reason given is the one reported. */
  close(reason: Error | undefined): void {
    if (this.#closed) return;
    this.#stream.destroy();
    this.#over(reason);
  }

  #over(reason: Error | undefined): void {
    this.#closed = true;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#onDrain();
    this.#handler.onClose(reason);
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      const payloads = this.#decoder.push(chunk);
      this.#noteProgress(chunk.length, payloads.length > 0);
      if (payloads.length > 0) this.#handler.onPayloads(payloads);
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      this.close(error);
    }
  }

  #noteProgress(bytes: number, isFrameDone: boolean): void {
    this.#midFrameBytes += bytes;
    if (!this.#decoder.isMidFrame) this.midFrameSinceMs = undefined;
    else if (
      isFrameDone ||
      this.midFrameSinceMs === undefined ||
      this.#midFrameBytes >= frameProgressBytes
    ) {
      this.#startFrameClock();
    }
  }

  #startFrameClock(): void {
    this.midFrameSinceMs = runtime.monotonicMs();
    this.#midFrameBytes = 0;
  }

  #onEnd(): void {
    const cut = new ProtocolError('the peer ended the connection in the middle of a frame');
    this.close(this.#decoder.isMidFrame ? cut : undefined);
  }

  /** A socket's own timeout sees bytes leave within one large write; other streams have a timer. */
  #watchStall(): void {
    const stalled = (): void => {
      this.close(new ProtocolError(`the peer has read nothing for ${outputStallMs} ms`));
    };
    const stream = this.#stream;
    if (stream instanceof Socket) {
      stream.setTimeout(outputStallMs, stalled);
      this.#drainWaiters.push(() => stream.setTimeout(0, stalled));
    } else {
      const timer = runtime.after(outputStallMs, stalled);
      this.#drainWaiters.push(() => timer.cancel());
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
