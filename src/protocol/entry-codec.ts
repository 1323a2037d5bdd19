/** Between entries of the replica and records of the log and the wire: the same bytes for both. */
import { BadRecordError, createRecord, decodeRecord, type LogRecord } from '../log/record.js';
import type { Op } from '../machine/op.js';
import type { RecordHeader } from '../replica/core.js';
import type { Entry } from '../replica/entry.js';
import { hashKey } from '../table/hash.js';
import { decodeBatch, encodeBatch } from './messages.js';

/** The record of a batch; what `ReplicaOptions.seal` asks for. */
export function sealRecord(header: RecordHeader, ops: readonly Op[]): Uint8Array {
  return createRecord(header, encodeBatch(ops)).bytes;
}

/** Throws DataDamagedError or ProtocolError when the bytes are no whole record. */
export function entryOfBytes(bytes: Uint8Array): Entry {
  return entryOf(decodeRecord(bytes));
}

/** Throws BadRecordError, too, when the header of the record counts other ops than it holds. */
export function entryOf(record: LogRecord): Entry {
  const ops = decodeBatch(record.payload);
  if (ops.length !== record.count) {
    throw new BadRecordError(`a record of ${record.count} ops holds ${ops.length}`);
  }
  return {
    epoch: record.epoch,
    firstSeq: record.firstSeq,
    lastSeq: record.lastSeq,
    commit: record.commit,
    ops,
    keyHashes: keyHashesOf(ops),
    record: record.bytes,
  };
}

/** An entry that is only to be sent on: its ops are not looked into. */
export function resendOf({ epoch, firstSeq, lastSeq, commit, bytes }: LogRecord): Entry {
  return { epoch, firstSeq, lastSeq, commit, ops: [], keyHashes: [], record: bytes };
}

function keyHashesOf(ops: readonly Op[]): number[] {
  const hashes: number[] = [];
  for (const op of ops) if (op.kind !== 'epoch') hashes.push(hashKey(op.key));
  return hashes;
}
