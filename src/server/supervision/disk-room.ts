/** How much room the disk of a data directory has, and how much a server needs to go on there. */
import { dirname, join } from 'node:path';
import { StorageError } from '../../errors.js';
import { type Disk, errorCode, errorText } from '../../log/disk.js';
import type { Room } from './supervisor.js';

/** The segment in use and the next one, which is prepared ahead. */
const segmentsNeeded = 2;

/**
 * Needed is room for the log to grow, and for a snapshot beside the newest one. No more than what is
 * certain: how much this server missed is not known here. Throws StorageError.
 */
export async function roomOf(disk: Disk, dataPath: string, segmentBytes: number): Promise<Room> {
  try {
    const snapshotBytes = await newestSnapshotBytes(disk, join(dataPath, 'snapshots'));
    return {
      freeBytes: await freeBytesOf(disk, dataPath),
      neededBytes: segmentsNeeded * segmentBytes + snapshotBytes,
    };
  } catch (error) {
    throw new StorageError(`the room on ${dataPath} cannot be told (${errorText(error)})`, {
      cause: error,
    });
  }
}

/** A directory that was never made is asked for above. */
async function freeBytesOf(disk: Disk, path: string): Promise<number> {
  try {
    return await disk.freeBytes(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    return freeBytesOf(disk, dirname(path));
  }
}

async function newestSnapshotBytes(disk: Disk, directory: string): Promise<number> {
  try {
    // Their names are numbers of one length, so they sort by age.
    const names = (await disk.list(directory)).filter((name) => name.endsWith('.snapshot'));
    const newest = names.sort().at(-1);
    if (newest === undefined) return 0;
    const file = await disk.open(join(directory, newest), 'read');
    try {
      return await file.size();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
