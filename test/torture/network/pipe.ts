/**
 * One direction of one connection: takes bytes from one socket and gives them to another, as the lane's condition
 * has it. The end of the source is delivered like its bytes: after them, and late if they are late.
 *
 * Invariant: what is given on is what came, in order and whole, but for a planned harm.
 */
import type { Socket } from 'node:net';
import type { Lane } from './lane.js';

/** What a stalled network takes before the sender notices, as the kernel's buffers would. */
const queuedBytesMax = 1024 * 1024;
/** With a limit on bytes a second, a piece is what may pass in this time. */
const pieceMs = 20;
/** What is missing of a piece that is cut: less than the smallest frame, so that the cut is inside of one. */
const cutBytes = 3;

interface Chunk {
  bytes: Buffer;
  readonly cameMs: number;
}

export interface PipeEnds {
  readonly source: Socket;
  readonly target: Socket;
  /** Called before the first byte is given on; until then the target may be a socket that is nowhere connected. */
  readonly open: () => void;
  /** Resets the connection, both ends of it. */
  readonly reset: () => void;
}

export class Pipe {
  readonly #lane: Lane;
  readonly #ends: PipeEnds;
  #chunks: Chunk[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Something of its own is under way, and ends with a pump. */
  #isBusy = false;
  #notBeforeMs = 0;
  /** How the source ended. */
  #ended: 'end' | 'reset' | undefined;
  #isOver = false;
  /** Held back alone, whatever its lane is like. */
  #isHeld = false;
  #isLate = false;

  constructor(lane: Lane, ends: PipeEnds) {
    this.#lane = lane;
    this.#ends = ends;
    lane.add(this);
    ends.source.on('data', (bytes: Buffer) => this.#take(bytes));
    ends.source.once('end', () => this.#onEnd('end'));
    ends.source.once('close', (hadError) => this.#onEnd(hadError ? 'reset' : 'end'));
    ends.target.once('close', () => this.#finish());
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  hold(): void {
    this.#isHeld = true;
  }

  /** What was held is delivered now. */
  release(): void {
    this.#isHeld = false;
    this.#isLate = true;
    this.pump();
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return;
    const { condition, counts } = this.#lane;
    if (condition.stalled === true || this.#isHeld) counts.heldBytes += bytes.length;
    this.#chunks.push({ bytes, cameMs: performance.now() });
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > queuedBytesMax) this.#ends.source.pause();
    this.pump();
  }

  /** Gives on what may be given on now; called again when that changes. */
  pump(): void {
    if (this.#isBusy || this.#isOver) return;
    clearTimeout(this.#timer);
    while (this.#lane.condition.stalled !== true && !this.#isHeld) {
      this.#ends.open();
      const first = this.#chunks[0];
      if (first === undefined) {
        if (this.#ended !== undefined) this.#deliverEnd();
        return;
      }
      const waitMs = this.#waitMs(first);
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), Math.ceil(waitMs));
        return;
      }
      this.#give(first);
      if (this.#isBusy || this.#isOver) return;
    }
  }

  #waitMs({ cameMs }: Chunk): number {
    const { delayMs = 0, glueMs = 0 } = this.#lane.condition;
    return Math.max(cameMs + delayMs + glueMs, this.#notBeforeMs) - performance.now();
  }

  #give(first: Chunk): void {
    const { condition, counts } = this.#lane;
    const { delayMs, bytesPerSecond, pieceBytes, glueMs } = condition;
    if (glueMs !== undefined) {
      counts.gluedChunks += this.#chunks.length > 1 ? this.#chunks.length : 0;
      this.#deliver(this.#shift(this.#queuedBytes));
      return;
    }
    if (bytesPerSecond !== undefined) {
      const piece = this.#shift(Math.max(1, Math.floor((bytesPerSecond * pieceMs) / 1_000)));
      this.#notBeforeMs = performance.now() + (piece.length / bytesPerSecond) * 1_000;
      counts.limitedBytes += piece.length;
      this.#deliver(piece);
      return;
    }
    if (pieceBytes !== undefined) {
      counts.pieces += 1;
      this.#deliver(this.#shift(pieceBytes));
      this.#pause(() => setImmediate(() => this.#resume()));
      return;
    }
    if (delayMs !== undefined) counts.delayedBytes += first.bytes.length;
    this.#deliver(this.#shift(first.bytes.length));
  }

  /** So many of the bytes that came first, or all there are. */
  #shift(count: number): Buffer {
    const taken: Buffer[] = [];
    let left = count;
    while (left > 0) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const part = chunk.bytes.subarray(0, left);
      taken.push(part);
      left -= part.length;
      if (part.length === chunk.bytes.length) this.#chunks.shift();
      else chunk.bytes = chunk.bytes.subarray(part.length);
    }
    const bytes = taken.length === 1 ? (taken[0] as Buffer) : Buffer.concat(taken);
    this.#queuedBytes -= bytes.length;
    if (this.#queuedBytes <= queuedBytesMax) this.#ends.source.resume();
    return bytes;
  }

  #deliver(bytes: Buffer): void {
    const { counts } = this.#lane;
    const { target, reset } = this.#ends;
    const harm = this.#lane.takeHarm(bytes.length);
    switch (harm) {
      case 'drop':
        reset();
        return;
      case 'cut':
        // With an end behind it: a reset would overtake it. Whoever sent it meets the reset.
        target.end(bytes.subarray(0, -cutBytes));
        resetSocket(this.#ends.source);
        this.#finish();
        return;
      case 'corrupt': {
        const changed = Buffer.from(bytes);
        // Of the payload of the last frame, or of a part of it.
        const at = changed.length - 1;
        changed[at] = (changed[at] as number) ^ 0x40;
        target.write(changed);
        return;
      }
      case undefined:
        counts.passedBytes += bytes.length;
        if (this.#isLate) counts.lateBytes += bytes.length;
        this.#backPressure(target.write(bytes));
    }
  }

  #backPressure(wantsMore: boolean): void {
    if (wantsMore || this.#ends.target.connecting) return;
    this.#pause(() => this.#ends.target.once('drain', () => this.#resume()));
  }

  #pause(start: () => void): void {
    this.#isBusy = true;
    start();
  }

  #resume(): void {
    this.#isBusy = false;
    this.pump();
  }

  #onEnd(how: 'end' | 'reset'): void {
    this.#ended ??= how;
    this.pump();
  }

  #deliverEnd(): void {
    if (this.#ended === 'reset') resetSocket(this.#ends.target);
    else this.#ends.target.end();
    this.#finish();
  }

  #finish(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#chunks = [];
    this.#queuedBytes = 0;
    this.#lane.delete(this);
    // Nobody takes it any more; its end is to be noticed all the same.
    this.#ends.source.resume();
  }
}

/** A socket that was ended cannot be reset any more: Node.js would report an error, and keep it. */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
