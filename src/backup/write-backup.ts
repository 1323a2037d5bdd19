/**
 * `kv-client backup`: one instant of a cluster's table into one file, page by page as the server sends them.
 *
 * Invariant: under its own name the file is whole and durable, or not there; however this ends otherwise,
 * nothing of it is left. What was there under that name is not replaced unless that was asked for.
 */
import { dirname, resolve } from 'node:path';
import type { KvClient } from '../client/kv-client.js';
import type { Snapshot } from '../client/snapshot.js';
import { BadRequestError, ProtocolError, StorageError, UnavailableError } from '../errors.js';
import { type Disk, errorCode, removeIfThere } from '../log/disk.js';
import { nodeDisk } from '../log/node-disk.js';
import { createSnapshotFile, partialSuffix } from '../log/snapshot-file.js';
import { encodePage } from '../protocol/messages.js';
import { dateOf, runtime } from '../runtime/runtime.js';
import { type BackupMetadata, formatBackupMetadata } from './backup-file.js';

export interface BackupOptions {
  readonly path: string;
  /** The name of the cluster, for people. */
  readonly cluster: string;
  /** Program and release, for people. */
  readonly writtenBy: string;
  /** Replace a file that is there, and what a killed backup into it left. */
  readonly force?: boolean;
  /** `host:port`: back up from this very server. */
  readonly at?: string;
  /** Gives up. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: BackupProgress) => void;
  /** Absent: the real one. */
  readonly disk?: Disk;
}

export interface BackupProgress {
  readonly keys: number;
  /** There will be as many. */
  readonly totalKeys: number;
  /** Written so far. */
  readonly bytes: number;
}

export interface BackupResult {
  readonly path: string;
  /** The last op in it. */
  readonly opId: string;
  readonly keys: number;
  /** Of the entries as they stand in the file. */
  readonly bytes: number;
  readonly stateHash: string;
}

/**
 * Resolves when the file is durable. Rejects with BadRequestError (a file is there), the errors of
 * `KvClient.snapshot`, UnavailableError (the server went away midway), AbortedError, StorageError, DiskFullError.
 */
export async function writeBackup(client: KvClient, options: BackupOptions): Promise<BackupResult> {
  const { disk = nodeDisk, at, signal } = options;
  const path = resolve(options.path);
  await assertFree(disk, path, options);
  const snapshot = await client.snapshot({
    ...(at === undefined ? {} : { at }),
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    return await writeSnapshot(snapshot, path, disk, options);
  } catch (error) {
    await removeIfThere(disk, `${path}${partialSuffix}`);
    throw error instanceof StorageError ? storageError(path, error) : error;
  } finally {
    snapshot.close();
  }
}

async function writeSnapshot(
  snapshot: Snapshot,
  path: string,
  disk: Disk,
  options: BackupOptions,
): Promise<BackupResult> {
  const { opId, keys: totalKeys, stateHash } = snapshot.head;
  if (opId.seq === 0) {
    throw new UnavailableError('nothing was ever committed there: there is nothing to back up yet');
  }
  const meta = formatBackupMetadata(metadataOf(snapshot, options));
  const writer = await createSnapshotFile({ disk, path, meta });
  let keys = 0;
  let bytes = 0;
  try {
    for await (const entries of snapshot.pages()) {
      const chunk = encodePage({ entries, last: false });
      await writer.write(chunk);
      keys += entries.length;
      bytes += chunk.length;
      options.onProgress?.({ keys, totalKeys, bytes });
    }
    if (keys !== totalKeys) {
      throw new ProtocolError(`${keys} of ${totalKeys} keys came from the server`);
    }
    await assertFree(disk, path, { ...options, isOwnPartial: true });
  } catch (error) {
    await writer.abort();
    throw error;
  }
  await writer.finish();
  return { path, opId: snapshot.opId, keys, bytes, stateHash };
}

function metadataOf({ head }: Snapshot, { cluster, writtenBy }: BackupOptions): BackupMetadata {
  const { clusterId, keys, stateHash, runs, opId } = head;
  const { seq, epoch } = opId;
  const createdAt = dateOf(runtime.wallMs()).toISOString();
  return { clusterId, cluster, seq, epoch, runs, keys, stateHash, createdAt, writtenBy };
}

/** Throws BadRequestError if there is something in the way. */
async function assertFree(
  disk: Disk,
  path: string,
  { force = false, isOwnPartial = false }: { force?: boolean; isOwnPartial?: boolean },
): Promise<void> {
  if (force) return;
  if (await isThere(disk, path)) {
    throw new BadRequestError(
      `${path} is there already; choose another name, or --force replaces it`,
    );
  }
  const partial = `${path}${partialSuffix}`;
  if (isOwnPartial || !(await isThere(disk, partial))) return;
  throw new BadRequestError(
    `${partial} is there: another backup into this file is under way, or one was killed; --force replaces it`,
  );
}

async function isThere(disk: Disk, path: string): Promise<boolean> {
  try {
    await (await disk.open(path, 'read')).close();
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw storageError(dirname(path), error);
  }
}

/** The errors of src/log speak to a server. */
function storageError(path: string, error: unknown): StorageError {
  const cause = error instanceof StorageError && error.cause !== undefined ? error.cause : error;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StorageError(`the backup ${path} could not be written: ${reason}`, { cause });
}
