/**
 * What stands in the head of a backup file. The file itself is one of snapshot-file.ts: chunks (encoded pages
 * of entries), each under a checksum, and an end that only a whole file has.
 *
 * Invariant: a backup is the state of one cluster after one op: `keys`, `stateHash` and all entries belong to
 * `seq`, and `runs` are the epochs of the ops 1..seq.
 */
import { DataDamagedError, RefusedToStartError } from '../errors.js';
import type { SnapshotMeta } from '../log/snapshot-file.js';
import { type EpochRun, parseRuns } from '../replica/epoch-runs.js';

export const backupFormatVersion = 1;
const kind = 'backup';

export interface BackupMetadata {
  /** Of the cluster that it is of. */
  readonly clusterId: string;
  /** Its name then; for people. */
  readonly cluster: string;
  /** The last op in it. */
  readonly seq: number;
  readonly epoch: number;
  readonly runs: readonly EpochRun[];
  readonly keys: number;
  /** Hexadecimal. */
  readonly stateHash: string;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Program and release. */
  readonly writtenBy: string;
}

export function formatBackupMetadata(metadata: BackupMetadata): SnapshotMeta {
  return { kind, formatVersion: backupFormatVersion, ...metadata };
}

/** Throws RefusedToStartError for what is no backup, or one of another release; DataDamagedError. */
export function parseBackupMetadata(meta: SnapshotMeta, path: string): BackupMetadata {
  if (meta['kind'] !== kind) {
    throw new RefusedToStartError(
      `${path} is no backup but a server's own snapshot; make a backup with 'kv-client backup'`,
    );
  }
  const { formatVersion } = meta;
  if (formatVersion !== backupFormatVersion) {
    throw new RefusedToStartError(
      `the backup ${path} has ${versionText(formatVersion)}; this release reads version ` +
        `${backupFormatVersion}: use the release that wrote it`,
    );
  }
  const { seq, epoch, clusterId, cluster, keys, stateHash, createdAt, writtenBy } = meta;
  const runs = parseRuns(meta['runs']);
  if (
    !isCount(seq) ||
    seq === 0 ||
    !isCount(epoch) ||
    !isCount(keys) ||
    runs === undefined ||
    runs.at(-1)?.lastSeq !== seq ||
    runs.at(-1)?.epoch !== epoch ||
    typeof clusterId !== 'string' ||
    typeof cluster !== 'string' ||
    typeof stateHash !== 'string' ||
    typeof createdAt !== 'string' ||
    typeof writtenBy !== 'string'
  ) {
    throw new DataDamagedError(`the head of the backup ${path} makes no sense`);
  }
  return { clusterId, cluster, seq, epoch, runs, keys, stateHash, createdAt, writtenBy };
}

/** Whatever stands there: of a nested list even the text may be more than the stack can make. */
function versionText(version: unknown): string {
  return isCount(version) ? `format version ${version}` : 'no format version';
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
