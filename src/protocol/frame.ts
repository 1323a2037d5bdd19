/**
 * Frames: how messages lie in a TCP stream. Pure: bytes in, payloads out.
 *
 *     0        4         8       12
 *     | length | ~length | crc32 | payload (length bytes) |      u32 each, big endian; crc32 of the payload
 *
 * A length is checked before anything is kept for it, and against its complement: a turned bit in it would
 * otherwise be found only when as much as it says had come, and all till then would be lost in silence. What is
 * not this protocol ("GET ", a TLS hello) fails that check, too. The first bad frame is final: every later call
 * fails in the same way.
 */
import { crc32 } from 'node:zlib';
import { LimitError, ProtocolError } from '../errors.js';
import { frameBytesMax } from '../limits.js';

export const frameHeaderBytes = 12;
/** Of a header: its length and the complement. */
const lengthBytes = 8;

/** Writes the header of `payload` at `offset`. */
export function writeFrameHeader(target: Buffer, offset: number, payload: Uint8Array): void {
  target.writeUInt32BE(payload.length, offset);
  target.writeUInt32BE(~payload.length >>> 0, offset + 4);
  target.writeUInt32BE(crc32(payload), offset + 8);
}

/** One whole frame. Throws LimitError if the payload is too large to be sent. */
export function encodeFrame(payload: Uint8Array): Buffer {
  if (payload.length > frameBytesMax) {
    throw new LimitError('the frame', payload.length, frameBytesMax, 'bytes');
  }
  const frame = Buffer.allocUnsafe(frameHeaderBytes + payload.length);
  writeFrameHeader(frame, 0, payload);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** What the first bytes of a frame are gathered in; it doubles up to the length of the frame. */
const partialBytesMin = 1024;
const noBytes = Buffer.alloc(0);

export class FrameDecoder {
  readonly #bytesMax: number;
  /** The beginning of a frame, its first `#filled` bytes. It grows with what arrives, not with what is announced. */
  #partial: Buffer = noBytes;
  #filled = 0;
  #failure: ProtocolError | undefined;

  constructor(bytesMax: number = frameBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** Whether part of a frame has arrived. */
  get isMidFrame(): boolean {
    return this.#filled > 0;
  }

  /**
   * The payloads that are complete with `chunk`: views on the received bytes where a frame came in
   * one piece. Throws ProtocolError on a bad length or checksum, then and ever after.
   */
  push(chunk: Buffer): Buffer[] {
    if (this.#failure !== undefined) throw this.#failure;
    const payloads: Buffer[] = [];
    let offset = 0;
    while (offset < chunk.length) {
      const end = this.#filled > 0 ? undefined : this.#endOfFrame(chunk, offset);
      if (end !== undefined) {
        payloads.push(this.#checkedPayload(chunk, offset, end));
        offset = end;
        continue;
      }
      offset += this.#gather(chunk, offset);
      if (this.#filled < this.#wantedBytes()) continue;
      payloads.push(this.#checkedPayload(this.#partial, 0, this.#filled));
      this.#partial = noBytes;
      this.#filled = 0;
    }
    return payloads;
  }

  /** Where the frame that begins at `offset` ends, if all of it is in `chunk`. */
  #endOfFrame(chunk: Buffer, offset: number): number | undefined {
    if (chunk.length - offset < frameHeaderBytes) return undefined;
    const end = offset + frameHeaderBytes + this.#checkedLength(chunk, offset);
    return end <= chunk.length ? end : undefined;
  }

  /** Copies bytes of the frame that is under way; returns how many. */
  #gather(chunk: Buffer, offset: number): number {
    const wanted = this.#wantedBytes();
    const count = Math.min(wanted - this.#filled, chunk.length - offset);
    const filled = this.#filled + count;
    if (filled > this.#partial.length) {
      const room = Math.max(filled, this.#partial.length * 2, partialBytesMin);
      const larger = Buffer.allocUnsafe(Math.min(room, wanted));
      larger.set(this.#partial.subarray(0, this.#filled));
      this.#partial = larger;
    }
    chunk.copy(this.#partial, this.#filled, offset, offset + count);
    this.#filled = filled;
    return count;
  }

  /** How long the frame is, as far as is known: its length alone before that has arrived. */
  #wantedBytes(): number {
    if (this.#filled < lengthBytes) return lengthBytes;
    return frameHeaderBytes + this.#checkedLength(this.#partial, 0);
  }

  #checkedLength(frame: Buffer, start: number): number {
    const length = frame.readUInt32BE(start);
    if (frame.readUInt32BE(start + 4) !== ~length >>> 0) {
      this.#fail('a frame has no valid length: this is another protocol, or bytes were changed');
    }
    if (length > this.#bytesMax) {
      this.#fail(`a frame of ${length} bytes is announced, the limit is ${this.#bytesMax} bytes`);
    }
    return length;
  }

  #checkedPayload(frame: Buffer, start: number, end: number): Buffer {
    const payload = frame.subarray(start + frameHeaderBytes, end);
    if (crc32(payload) !== frame.readUInt32BE(start + 8)) {
      this.#fail(`a frame of ${payload.length} bytes fails its checksum`);
    }
    return payload;
  }

  #fail(message: string): never {
    this.#failure = new ProtocolError(message);
    this.#partial = noBytes;
    this.#filled = 0;
    throw this.#failure;
  }
}
