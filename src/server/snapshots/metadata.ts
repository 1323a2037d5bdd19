/** What stands in the head of a snapshot file, on disk and, without `seq` and `epoch`, on the wire. */
import { DataDamagedError } from '../../errors.js';
import type { SnapshotMeta } from '../../log/snapshot-store.js';
import { type EpochRun, EpochRuns, parseRuns } from '../../replica/epoch-runs.js';

export interface SnapshotMetadata {
  readonly seq: number;
  /** Of the op at `seq`. */
  readonly epoch: number;
  /** The epochs of all ops up to `seq`. */
  readonly runs: readonly EpochRun[];
  /** Of this very file: two snapshots of one seq may be cut into other chunks. */
  readonly id: string;
  readonly keys: number;
  /** Hexadecimal. */
  readonly stateHash: string;
}

/** The metadata of a snapshot up to the end of `runs`. */
export function metadataOf(
  runs: readonly EpochRun[],
  about: Pick<SnapshotMetadata, 'id' | 'keys' | 'stateHash'>,
): SnapshotMetadata & SnapshotMeta {
  const { lastSeq: seq, lastEpoch: epoch } = new EpochRuns(runs);
  const { id, keys, stateHash } = about;
  return { seq, epoch, runs, id, keys, stateHash };
}

/** Throws DataDamagedError for metadata that no server of this release wrote. */
export function parseMetadata(meta: SnapshotMeta): SnapshotMetadata {
  const { seq, epoch, id, keys, stateHash } = meta;
  const runs = parseRuns(meta['runs']);
  const last = runs?.at(-1);
  if (
    runs === undefined ||
    last?.lastSeq !== seq ||
    last.epoch !== epoch ||
    typeof id !== 'string' ||
    !Number.isSafeInteger(keys) ||
    typeof stateHash !== 'string'
  ) {
    throw new DataDamagedError(`the metadata of the snapshot of seq ${seq} makes no sense`);
  }
  return { seq, epoch, runs, id, keys: keys as number, stateHash };
}
