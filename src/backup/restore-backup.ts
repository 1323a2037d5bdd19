/**
 * `kv-server restore`: a backup becomes the data directory of a server that founds a new cluster with it.
 *
 * Invariants: nothing is made or changed before the whole file was verified; a directory in which this broke
 * off is one that no server starts from (the mark in its identity is written before the data, and
 * taken away when all of it is durable).
 */
import { resolve } from 'node:path';
import { RefusedToStartError, StorageError } from '../errors.js';
import { snapshotChunkBytes } from '../limits.js';
import { type DataDirectory, openDataDirectory } from '../log/data-directory.js';
import { type Disk, errorCode, errorText } from '../log/disk.js';
import { nodeDisk } from '../log/node-disk.js';
import { SnapshotStore } from '../log/snapshot-store.js';
import type { Machine } from '../machine/machine.js';
import { encodePage } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';
import { runtime } from '../runtime/runtime.js';
import { metadataOf } from '../server/snapshots/metadata.js';
import type { BackupMetadata } from './backup-file.js';
import { type ReadProgress, verifyBackup } from './read-backup.js';

export interface RestoreOptions {
  readonly backupPath: string;
  /** Absent or empty. */
  readonly dataPath: string;
  readonly onProgress?: (progress: ReadProgress) => void;
  /** Absent: the real one. */
  readonly disk?: Disk;
}

export interface Restored {
  readonly metadata: BackupMetadata;
  /** The new server's. */
  readonly serverId: string;
}

/** Rejects as `verifyBackup`, and with RefusedToStartError if the directory is in use or not empty. */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { disk = nodeDisk, backupPath, onProgress } = options;
  const dataPath = resolve(options.dataPath);
  await assertEmpty(disk, dataPath);
  const { metadata, machine } = await verifyBackup(disk, backupPath, onProgress);
  const { clusterId, seq, epoch } = metadata;
  const data = await openDataDirectory({
    path: dataPath,
    disk,
    restoring: { clusterId, opId: formatOpId({ epoch, seq }) },
  });
  try {
    // Between the look and the lock another server may have been started there.
    if (!data.isNew) throw notEmpty(dataPath);
    await writeTable(data, machine, metadata);
    await data.finishRestore();
    return { metadata, serverId: data.identity.serverId };
  } finally {
    await data.close();
  }
}

/** What was verified is what is written: from memory, not from the file once more. */
async function writeTable(
  data: DataDirectory,
  machine: Machine,
  { runs, keys, stateHash }: BackupMetadata,
): Promise<void> {
  const store = await SnapshotStore.open({ disk: data.disk, directory: data.snapshotsPath });
  const writer = await store.create(metadataOf(runs, { id: runtime.uuid(), keys, stateHash }));
  const snapshot = machine.snapshot();
  for (;;) {
    const entries = snapshot.next(snapshotChunkBytes);
    if (entries.length === 0) break;
    await writer.write(encodePage({ entries, last: false }));
  }
  await writer.finish();
}

async function assertEmpty(disk: Disk, path: string): Promise<void> {
  let names: string[];
  try {
    names = await disk.list(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw new StorageError(`${path} cannot be read (${errorText(error)})`, { cause: error });
  }
  if (names.length > 0) throw notEmpty(path);
}

function notEmpty(path: string): RefusedToStartError {
  return new RefusedToStartError(
    `${path} is not empty; restore makes a new server: give a directory that is absent or empty`,
  );
}
