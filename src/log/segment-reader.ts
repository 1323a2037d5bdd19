/**
 * Reads the items of one segment file in order, a chunk at a time. It says what it found, also that
 * it is bad; what that means is for the caller (recovery, read, cut) to decide.
 *
 * Each chunk is memory of its own: a record's views stay valid, and keep its chunk alive.
 */

import type { DiskFile } from './disk.js';
import { errorText, readUpTo } from './disk.js';
import type { LogRecord } from './record.js';
import { decodeRecord, itemPrefixBytes, paddedLength, recordBytesMax } from './record.js';
import type { Marker } from './segment-format.js';
import { decodeMarker, looksLikeMarker, markerBytes } from './segment-format.js';

export const readChunkBytes = 256 * 1024;

/** `end`: no byte is left. `zero`: a length of zero, the usual end of a preallocated segment. */
export type SegmentItem =
  | { readonly kind: 'record'; readonly offset: number; readonly record: LogRecord }
  | { readonly kind: 'marker'; readonly offset: number; readonly marker: Marker }
  | { readonly kind: 'end' | 'zero'; readonly offset: number }
  | { readonly kind: 'bad'; readonly offset: number; readonly reason: string };

export class SegmentReader {
  readonly #file: DiskFile;
  readonly #salt: number;
  readonly #end: number;
  #chunk: Buffer = Buffer.alloc(0);
  #chunkOffset: number;
  #at = 0;

  /** Reads from `offset`, where an item begins, and nothing from `end` on. */
  constructor(file: DiskFile, salt: number, offset: number, end: number) {
    this.#file = file;
    this.#salt = salt;
    this.#chunkOffset = offset;
    this.#end = end;
  }

  /** After 'end', 'zero' or 'bad' it answers the same again. */
  async next(): Promise<SegmentItem> {
    const offset = this.#chunkOffset + this.#at;
    if (!(await this.#fill(itemPrefixBytes))) {
      if (this.#chunk.length === this.#at) return { kind: 'end', offset };
      return { kind: 'bad', offset, reason: 'the file ends inside an item' };
    }
    const bodyLength = this.#chunk.readUInt32LE(this.#at);
    if (bodyLength === 0) return { kind: 'zero', offset };
    const length = paddedLength(itemPrefixBytes + bodyLength);
    if (length > recordBytesMax) {
      return { kind: 'bad', offset, reason: `an item states a length of ${length} bytes` };
    }
    if (!(await this.#fill(length))) {
      return { kind: 'bad', offset, reason: 'the file ends inside an item' };
    }
    return this.#take(offset, length);
  }

  #take(offset: number, length: number): SegmentItem {
    if (length === markerBytes && looksLikeMarker(this.#chunk, this.#at)) {
      const marker = decodeMarker(this.#chunk, this.#at, this.#chunkOffset, this.#salt);
      if (!marker) return { kind: 'bad', offset, reason: 'a marker is damaged' };
      this.#at += length;
      return { kind: 'marker', offset, marker };
    }
    try {
      const record = decodeRecord(this.#chunk.subarray(this.#at, this.#at + length));
      this.#at += length;
      return { kind: 'record', offset, record };
    } catch (error) {
      return { kind: 'bad', offset, reason: errorText(error) };
    }
  }

  /** Makes `length` bytes from the current item's start available; false if there are not so many. */
  async #fill(length: number): Promise<boolean> {
    if (this.#chunk.length - this.#at >= length) return true;
    const offset = this.#chunkOffset + this.#at;
    const available = this.#end - offset;
    const wanted = Math.min(available, Math.max(length, readChunkBytes));
    if (available < length && this.#chunk.length - this.#at >= available) return false;
    this.#chunk = await readUpTo(this.#file, offset, wanted);
    this.#chunkOffset = offset;
    this.#at = 0;
    return this.#chunk.length >= length;
  }
}
