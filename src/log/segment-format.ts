/**
 * What lies in a segment file: a header, then items (records and markers), then zeros. Pure functions.
 *
 *   header, 40 bytes, little endian          marker, 32 bytes: an item that never leaves this disk
 *    0  8  magic "CATENLOG"                   0  4  body length = 24
 *    8  4  format version = 1                 4  4  crc32 of the body
 *   12  4  crc32 of bytes 0-12 and 16-40      8  1  kind = 2, then 3 zero bytes
 *   16  8  seq of the first record           12  4  salt of the segment
 *   24  8  epoch of the op before it         16  8  durable seq when it was written
 *   32  4  salt, 36 4  zero                  24  8  its own offset in the file
 *
 * Each write to the log begins with a marker and starts only when all earlier writes are durable. So
 * a valid marker proves that every byte before it was durable. Salt and offset keep a copy of a marker
 * inside a client's value from being taken for one.
 */

import { crc32 } from 'node:zlib';
import { DataDamagedError, RefusedToStartError } from '../errors.js';
import {
  asBuffer,
  itemPrefixBytes,
  readSafeInteger,
  recordAlignmentBytes,
  writeSafeInteger,
} from './record.js';

export const segmentHeaderBytes = 40;
export const markerBytes = 32;
export const markerKind = 2;
const segmentFormatVersion = 1;
const magic = Buffer.from('CATENLOG', 'latin1');
const segmentName = /^(\d{16})\.log$/;

export interface SegmentHeader {
  readonly firstSeq: number;
  /** Epoch of the op at firstSeq - 1: what the first record connects to. */
  readonly previousEpoch: number;
  readonly salt: number;
}

export interface Marker {
  readonly salt: number;
  readonly durableSeq: number;
  readonly offset: number;
}

export function segmentFileName(firstSeq: number): string {
  return `${String(firstSeq).padStart(16, '0')}.log`;
}

/** The first seq that a file's name states; undefined for what is no segment. */
export function parseSegmentFileName(name: string): number | undefined {
  const match = segmentName.exec(name);
  return match ? Number(match[1]) : undefined;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(segmentHeaderBytes);
  bytes.set(magic);
  bytes.writeUInt32LE(segmentFormatVersion, 8);
  writeSafeInteger(bytes, header.firstSeq, 16);
  writeSafeInteger(bytes, header.previousEpoch, 24);
  bytes.writeUInt32LE(header.salt, 32);
  bytes.writeUInt32LE(headerChecksum(bytes), 12);
  return bytes;
}

/** Throws DataDamagedError, or RefusedToStartError for a format of another release. */
export function decodeSegmentHeader(bytes: Buffer, path: string): SegmentHeader {
  const whole = bytes.length === segmentHeaderBytes && bytes.subarray(0, 8).equals(magic);
  if (!whole || headerChecksum(bytes) !== bytes.readUInt32LE(12)) {
    throw new DataDamagedError(`the header of the log segment ${path} (offset 0) is damaged`);
  }
  const version = bytes.readUInt32LE(8);
  if (version !== segmentFormatVersion) {
    throw new RefusedToStartError(
      `the log segment ${path} has format version ${version}; this release reads version ` +
        `${segmentFormatVersion}: start the release that wrote it`,
    );
  }
  return {
    firstSeq: readSafeInteger(bytes, 16),
    previousEpoch: readSafeInteger(bytes, 24),
    salt: bytes.readUInt32LE(32),
  };
}

function headerChecksum(bytes: Buffer): number {
  return crc32(bytes.subarray(16, segmentHeaderBytes), crc32(bytes.subarray(0, 12)));
}

export function encodeMarker(marker: Marker): Buffer {
  const bytes = Buffer.allocUnsafe(markerBytes);
  bytes.writeUInt32LE(markerBytes - itemPrefixBytes, 0);
  bytes.writeUInt32LE(markerKind, 8);
  bytes.writeUInt32LE(marker.salt, 12);
  writeSafeInteger(bytes, marker.durableSeq, 16);
  writeSafeInteger(bytes, marker.offset, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(itemPrefixBytes)), 4);
  return bytes;
}

/** True if the item at `at` claims to be a marker; `decodeMarker` says whether it is one. */
export function looksLikeMarker(bytes: Buffer, at: number): boolean {
  return (
    bytes.length - at >= markerBytes &&
    bytes.readUInt32LE(at) === markerBytes - itemPrefixBytes &&
    bytes.readUInt32LE(at + 8) === markerKind
  );
}

/** The marker at `at` of `bytes`, which begin at `fileOffset`; undefined if it is not a valid one. */
export function decodeMarker(
  bytes: Buffer,
  at: number,
  fileOffset: number,
  salt: number,
): Marker | undefined {
  if (!looksLikeMarker(bytes, at)) return undefined;
  const item = bytes.subarray(at, at + markerBytes);
  if (item.readUInt32LE(12) !== salt) return undefined;
  if (crc32(item.subarray(itemPrefixBytes)) !== item.readUInt32LE(4)) return undefined;
  const offset = readSafeInteger(item, 24);
  if (offset !== fileOffset + at) return undefined;
  return { salt, durableSeq: readSafeInteger(item, 16), offset };
}

/** The first valid marker at or behind `from` in `bytes`, which begin at `fileOffset`. */
export function findMarker(
  bytes: Buffer,
  from: number,
  fileOffset: number,
  salt: number,
): Marker | undefined {
  for (let at = from; at + markerBytes <= bytes.length; at += recordAlignmentBytes) {
    const marker = decodeMarker(bytes, at, fileOffset, salt);
    if (marker) return marker;
  }
  return undefined;
}

export function isZero(bytes: Uint8Array): boolean {
  const buffer = asBuffer(bytes);
  const zeros = Buffer.alloc(Math.min(buffer.length, 64 * 1024));
  for (let at = 0; at < buffer.length; at += zeros.length) {
    const piece = buffer.subarray(at, at + zeros.length);
    if (!piece.equals(zeros.subarray(0, piece.length))) return false;
  }
  return true;
}
