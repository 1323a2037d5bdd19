/**
 * Frames: how messages lie in a TCP stream. Pure: bytes in, payloads out.
 *
 *     0        4        8
 *     | length | crc32  | payload (length bytes) |      both u32, big endian; crc32 of the payload
 *
 * A length is checked before anything is kept for it. Big endian on purpose: what is not this
 * protocol ("GET ", a TLS hello) reads as a length far beyond the limit. The first bad frame is
 * final: every later call fails in the same way.
 */
import { crc32 } from 'node:zlib';
import { LimitError, ProtocolError } from '../errors.js';
import { frameBytesMax } from '../limits.js';

export const frameHeaderBytes = 8;

/** Writes the header of `payload` at `offset`. */
export function writeFrameHeader(target: Buffer, offset: number, payload: Uint8Array): void {
  target.writeUInt32BE(payload.length, offset);
  target.writeUInt32BE(crc32(payload), offset + 4);
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

export class FrameDecoder {
  readonly #bytesMax: number;
  /** Bytes that are not yet a whole frame, in order. */
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #failure: ProtocolError | undefined;

  constructor(bytesMax: number = frameBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** Whether part of a frame has arrived. */
  get isMidFrame(): boolean {
    return this.#bufferedBytes > 0;
  }

  /**
   * The payloads that are complete with `chunk`: views on the received bytes, not copies.
   * Throws ProtocolError on a bad length or checksum, then and ever after.
   */
  push(chunk: Buffer): Buffer[] {
    if (this.#failure !== undefined) throw this.#failure;
    let bytes = chunk;
    if (this.#bufferedBytes > 0) {
      this.#chunks.push(chunk);
      this.#bufferedBytes += chunk.length;
      if (this.#bufferedBytes < this.#wantedBytes()) return [];
      bytes = Buffer.concat(this.#chunks);
      this.#chunks = [];
      this.#bufferedBytes = 0;
    }
    return this.#split(bytes);
  }

  #split(bytes: Buffer): Buffer[] {
    const payloads: Buffer[] = [];
    let offset = 0;
    while (bytes.length - offset >= frameHeaderBytes) {
      const length = this.#checkedLength(bytes.readUInt32BE(offset));
      const end = offset + frameHeaderBytes + length;
      if (end > bytes.length) break;
      const payload = bytes.subarray(offset + frameHeaderBytes, end);
      if (crc32(payload) !== bytes.readUInt32BE(offset + 4)) {
        this.#fail(`a frame of ${length} bytes fails its checksum`);
      }
      payloads.push(payload);
      offset = end;
    }
    if (offset < bytes.length) {
      const rest = bytes.subarray(offset);
      this.#chunks = [rest];
      this.#bufferedBytes = rest.length;
    }
    return payloads;
  }

  /** How many bytes there must be before another look is worth it: keeps large frames linear. */
  #wantedBytes(): number {
    if (this.#bufferedBytes < frameHeaderBytes) return frameHeaderBytes;
    const first = this.#chunks[0] as Buffer;
    const header =
      first.length >= frameHeaderBytes ? first : Buffer.concat(this.#chunks, frameHeaderBytes);
    return frameHeaderBytes + this.#checkedLength(header.readUInt32BE(0));
  }

  #checkedLength(length: number): number {
    if (length > this.#bytesMax) {
      this.#fail(`a frame of ${length} bytes is announced, the limit is ${this.#bytesMax} bytes`);
    }
    return length;
  }

  #fail(message: string): never {
    this.#failure = new ProtocolError(message);
    this.#chunks = [];
    throw this.#failure;
  }
}
