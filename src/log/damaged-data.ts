/**
 * Sets a damaged data directory aside, so that the server can come back as a new one and somebody can
 * look at what was there. Identity and data go together: a server without its log must not keep its
 * name (R14).
 *
 * Invariant: at no moment is there an identity without all of its data under the old path.
 */

import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CatenaError } from '../errors.js';
import { identityName } from './data-directory.js';
import type { Disk } from './disk.js';
import { errorCode } from './disk.js';
import { nodeDisk } from './node-disk.js';
import { storageFailure } from './storage-failure.js';

const label = 'damaged-';
const lockNames = /^lock-/;
/** The directory is a mount point, its parent is not writable, or on another file system. */
const cannotRename = new Set(['EACCES', 'EPERM', 'EBUSY', 'EXDEV', 'EROFS', 'EINVAL']);

/**
 * Moves everything to `<path>.damaged-<date>T<time>`, or, where that cannot be, into a directory
 * `damaged-<date>T<time>` inside of it; answers which. Durable when it resolves; never replaces an
 * earlier one. Throws RefusedToStartError while a process has the directory open; StorageError.
 */
export async function setDataAside(
  path: string,
  now: Date,
  disk: Disk = nodeDisk,
): Promise<string> {
  // Of a link its target is moved: what is made in its place must not lie on another disk.
  const directory =
    disk === nodeDisk ? await realpath(path).catch(() => resolve(path)) : resolve(path);
  const name = `${label}${now.toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
  try {
    const lock = await disk.lock(directory);
    try {
      const beside = await moveBeside(disk, directory, `${basename(directory)}.${name}`);
      return beside ?? (await moveInside(disk, directory, name));
    } finally {
      await lock.release();
    }
  } catch (error) {
    if (error instanceof CatenaError) throw error;
    throw storageFailure(`setting the data in ${directory} aside`, directory, error);
  }
}

async function moveBeside(
  disk: Disk,
  directory: string,
  name: string,
): Promise<string | undefined> {
  const parent = dirname(directory);
  try {
    const target = await freePath(disk, parent, name);
    await disk.rename(directory, target);
    await disk.syncDirectory(parent);
    return target;
  } catch (error) {
    if (cannotRename.has(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}

async function moveInside(disk: Disk, directory: string, name: string): Promise<string> {
  const target = await freePath(disk, directory, name);
  const move = async (names: readonly string[]): Promise<void> => {
    for (const each of names) await disk.rename(join(directory, each), join(target, each));
    await disk.syncDirectory(target);
    await disk.syncDirectory(directory);
  };
  const names = await disk.list(directory);
  await disk.makeDirectory(target);
  // First, and durably: a crash may leave data without a name, which no server starts with.
  await move(names.filter((each) => each === identityName));
  const isOther = (each: string): boolean =>
    each !== identityName && !lockNames.test(each) && !each.startsWith(label);
  await move(names.filter(isOther));
  return target;
}

async function freePath(disk: Disk, parent: string, name: string): Promise<string> {
  const taken = new Set(await disk.list(parent));
  let free = name;
  for (let number = 2; taken.has(free); number++) free = `${name}-${number}`;
  return join(parent, free);
}
