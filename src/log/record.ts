/**
 * The record: one batch of ops, the unit of log, wire and cut. The same bytes lie in the log and in
 * the Append frame to the successor. Pure functions; the payload is opaque here.
 *
 *   offset  size  field (little endian)
 *        0     4  body length: bytes from offset 8 to the end of the payload, padding not counted
 *        4     4  crc32 of the body
 *        8     1  kind: 1 = a batch of ops (2 is the log's own marker, see segment-format.ts)
 *        9     3  zero
 *       12     4  count of ops, at least 1
 *       16     8  epoch in which the batch was first logged
 *       24     8  seq of the first op, at least 1
 *       32     8  commit index of the head when it made the batch, may be 0
 *       40     …  payload, then zeros up to a multiple of 8 bytes
 *
 * Invariant: `lastSeq = firstSeq + count - 1`; every integer is safe; bytes.length % 8 === 0.
 */

import { crc32 } from 'node:zlib';
import { DataDamagedError, InvariantError, LimitError } from '../errors.js';
import { frameBytesMax } from '../limits.js';

export const recordHeaderBytes = 40;
/** Bytes of an item before its body: length and checksum. Records and markers share it. */
export const itemPrefixBytes = 8;
export const recordAlignmentBytes = 8;
/** The largest record, in bytes with header and padding: it must fit into one frame. */
export const recordBytesMax = frameBytesMax;
export const recordKind = 1;

export interface RecordHeader {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly commit: number;
}

/** A whole record. `payload` is a view into `bytes`: neither may be changed afterwards. */
export interface LogRecord extends RecordHeader {
  readonly lastSeq: number;
  readonly payload: Uint8Array;
  readonly bytes: Uint8Array;
}

/** What the log needs to know of a record to keep it. */
export type AppendRecord = Pick<LogRecord, 'epoch' | 'firstSeq' | 'lastSeq' | 'bytes'>;

/** These bytes are no whole, undamaged record. On a connection it is a protocol error of the peer. */
export class BadRecordError extends DataDamagedError {}

export function paddedLength(length: number): number {
  return Math.ceil(length / recordAlignmentBytes) * recordAlignmentBytes;
}

/** The bytes of one record. Throws LimitError past `recordBytesMax`, InvariantError on bad numbers. */
export function encodeRecord(header: RecordHeader, payload: Uint8Array): Buffer {
  assertHeader(header);
  const end = recordHeaderBytes + payload.byteLength;
  const length = paddedLength(end);
  if (length > recordBytesMax) throw new LimitError('record', length, recordBytesMax, 'bytes');
  const bytes = Buffer.allocUnsafe(length);
  bytes.writeUInt32LE(end - itemPrefixBytes, 0);
  bytes.writeUInt32LE(recordKind, 8);
  bytes.writeUInt32LE(header.count, 12);
  writeSafeInteger(bytes, header.epoch, 16);
  writeSafeInteger(bytes, header.firstSeq, 24);
  writeSafeInteger(bytes, header.commit, 32);
  bytes.set(payload, recordHeaderBytes);
  bytes.fill(0, end);
  bytes.writeUInt32LE(crc32(bytes.subarray(itemPrefixBytes, end)), 4);
  return bytes;
}

/** As `encodeRecord`, as a LogRecord ready for `SegmentedLog.append`. */
export function createRecord(header: RecordHeader, payload: Uint8Array): LogRecord {
  const bytes = encodeRecord(header, payload);
  return {
    epoch: header.epoch,
    firstSeq: header.firstSeq,
    lastSeq: header.firstSeq + header.count - 1,
    count: header.count,
    commit: header.commit,
    payload: bytes.subarray(recordHeaderBytes, recordHeaderBytes + payload.byteLength),
    bytes,
  };
}

/** Reads exactly one record, whose views share the memory of `source`. Throws BadRecordError. */
export function decodeRecord(source: Uint8Array): LogRecord {
  const bytes = asBuffer(source);
  if (bytes.length < recordHeaderBytes) {
    throw new BadRecordError(`a record of ${bytes.length} bytes is shorter than its header`);
  }
  const end = itemPrefixBytes + bytes.readUInt32LE(0);
  if (
    end < recordHeaderBytes ||
    bytes.length > recordBytesMax ||
    paddedLength(end) !== bytes.length
  ) {
    throw new BadRecordError(`a record of ${bytes.length} bytes states a length of ${end} bytes`);
  }
  if (crc32(bytes.subarray(itemPrefixBytes, end)) !== bytes.readUInt32LE(4)) {
    throw new BadRecordError('the checksum of a record does not match its bytes');
  }
  for (let at = end; at < bytes.length; at++) {
    if (bytes[at] !== 0) throw new BadRecordError('the padding of a record is not zero');
  }
  const kind = bytes.readUInt32LE(8);
  if (kind !== recordKind) throw new BadRecordError(`records of kind ${kind} are unknown here`);
  const count = bytes.readUInt32LE(12);
  const epoch = readSafeInteger(bytes, 16);
  const firstSeq = readSafeInteger(bytes, 24);
  const commit = readSafeInteger(bytes, 32);
  const lastSeq = firstSeq + count - 1;
  if (count === 0 || firstSeq === 0 || !Number.isSafeInteger(lastSeq)) {
    throw new BadRecordError(`a record states ${count} ops from seq ${firstSeq}`);
  }
  const payload = bytes.subarray(recordHeaderBytes, end);
  return { epoch, firstSeq, lastSeq, count, commit, payload, bytes };
}

function assertHeader(header: RecordHeader): void {
  const { epoch, firstSeq, count, commit } = header;
  const lastSeq = firstSeq + count - 1;
  const holds =
    [epoch, firstSeq, count, commit, lastSeq].every((value) => Number.isSafeInteger(value)) &&
    epoch >= 0 &&
    firstSeq >= 1 &&
    count >= 1 &&
    count <= 0xffff_ffff &&
    commit >= 0;
  if (holds) return;
  throw new InvariantError(
    `no record has epoch ${epoch}, firstSeq ${firstSeq}, count ${count}, commit ${commit}`,
  );
}

/** A Buffer over the same memory, for its readers of numbers. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes a u64. Two halves: a BigInt would cost an allocation. */
export function writeSafeInteger(target: Buffer, value: number, offset: number): void {
  target.writeUInt32LE(value % 0x1_0000_0000, offset);
  target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

/** Reads a u64 that must be a safe integer, else BadRecordError. */
export function readSafeInteger(source: Buffer, offset: number): number {
  const value = source.readUInt32LE(offset) + source.readUInt32LE(offset + 4) * 0x1_0000_0000;
  if (!Number.isSafeInteger(value)) {
    throw new BadRecordError(`the integer at byte ${offset} is not below 2^53`);
  }
  return value;
}
