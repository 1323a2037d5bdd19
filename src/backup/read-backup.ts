/**
 * A backup read back: all of it, every checksum, and the state that its entries make compared with what its
 * head says, so that a file that passes can be restored.
 */
import {
  BadRequestError,
  CatenaError,
  DataDamagedError,
  ProtocolError,
  RefusedToStartError,
} from '../errors.js';
import { keyBytesMax, valueBytesMax } from '../limits.js';
import { type Disk, errorCode, readUpTo } from '../log/disk.js';
import { openSnapshotFile, type SnapshotReader } from '../log/snapshot-file.js';
import { Machine } from '../machine/machine.js';
import { decodePage, type Page, type TableEntry } from '../protocol/messages.js';
import { type BackupMetadata, parseBackupMetadata } from './backup-file.js';

export interface VerifiedBackup {
  readonly metadata: BackupMetadata;
  /** Holds the very state of the backup. */
  readonly machine: Machine;
  /** Of the entries as they stand in the file. */
  readonly bytes: number;
}

export interface ReadProgress {
  readonly bytes: number;
  readonly totalBytes: number;
}

/**
 * Throws BadRequestError if there is no such file, RefusedToStartError if it is no backup or one of another
 * release, DataDamagedError if it is truncated or damaged, StorageError.
 */
export async function verifyBackup(
  disk: Disk,
  path: string,
  onProgress: (progress: ReadProgress) => void = () => {},
): Promise<VerifiedBackup> {
  const reader = await openBackup(disk, path);
  try {
    const metadata = parseBackupMetadata(reader.meta, path);
    const machine = await machineOf(reader, metadata, path, onProgress);
    return { metadata, machine, bytes: reader.bytes };
  } finally {
    await reader.close();
  }
}

async function openBackup(disk: Disk, path: string): Promise<SnapshotReader> {
  try {
    return await openSnapshotFile(disk, path);
  } catch (error) {
    if (error instanceof DataDamagedError && !(await beginsLikeOne(disk, path))) {
      throw new RefusedToStartError(`${path} is no backup of kv-client`, { cause: error });
    }
    const cause = error instanceof CatenaError ? error.cause : error;
    if (errorCode(cause) !== 'ENOENT') throw error;
    throw new BadRequestError(`there is no file ${path}`, { cause: error });
  }
}

/** Two letters of the file's magic are enough to call it a damaged backup, and no other kind of file. */
async function beginsLikeOne(disk: Disk, path: string): Promise<boolean> {
  const file = await disk.open(path, 'read');
  try {
    const start = await readUpTo(file, 0, magic.length);
    return start.filter((letter, index) => letter === magic[index]).length >= 2;
  } finally {
    await file.close();
  }
}

async function machineOf(
  reader: SnapshotReader,
  metadata: BackupMetadata,
  path: string,
  onProgress: (progress: ReadProgress) => void,
): Promise<Machine> {
  const { seq, keys, stateHash } = metadata;
  const machine = new Machine(seq);
  let entryCount = 0;
  let bytes = 0;
  for await (const chunk of reader.chunks()) {
    for (const entry of pageOf(chunk, path).entries) {
      if (!isPossible(entry, seq)) throw unfit(path, `an entry cannot be of seq ${seq}`);
      machine.load(entry.key, entry.value, entry.version);
      entryCount += 1;
    }
    bytes += chunk.length;
    onProgress({ bytes, totalBytes: reader.bytes });
  }
  if (entryCount !== keys || machine.table.size !== keys) {
    throw unfit(path, `it holds ${machine.table.size} keys in ${entryCount} entries, not ${keys}`);
  }
  if (machine.stateHash !== stateHash) {
    throw unfit(path, `the state hash is ${machine.stateHash}, not ${stateHash}`);
  }
  return machine;
}

function pageOf(chunk: Uint8Array, path: string): Page {
  try {
    return decodePage(chunk);
  } catch (error) {
    if (error instanceof ProtocolError) throw unfit(path, error.message);
    throw error;
  }
}

function isPossible({ key, value, version }: TableEntry, seq: number): boolean {
  const hasKey = key.length > 0 && key.length <= keyBytesMax;
  return hasKey && value.length <= valueBytesMax && version > 0 && version <= seq;
}

function unfit(path: string, what: string): DataDamagedError {
  return new DataDamagedError(`the backup ${path} does not hold what its head says: ${what}`);
}

const magic = Buffer.from('CATENASN');
