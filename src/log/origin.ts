/**
 * Tells a data directory from a copy of it: the file `origin` lies beside identity.json, which notes its
 * file id. A copy has the identity of the original but another file. Two servers with one identity, or
 * one that came back older than it was, would break the chain's promises (R14).
 *
 * It cannot see a copy of a whole file system or disk image: there the file has the same id.
 */

import { join } from 'node:path';
import { RefusedToStartError } from '../errors.js';
import type { Disk } from './disk.js';
import { errorCode, removeIfThere, writeFully } from './disk.js';

const originName = 'origin';
const text =
  'Marks the data directory in which this file was made; a copy of the file does not.\n' +
  'Do not remove it.\n';

/** Makes the file anew; durable when it resolves. Answers its file id, to be noted in the identity. */
export async function createOrigin(disk: Disk, directory: string): Promise<string> {
  const path = join(directory, originName);
  await removeIfThere(disk, path);
  const file = await disk.open(path, 'create');
  try {
    await writeFully(file, [Buffer.from(text)], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncDirectory(directory);
  return disk.fileId(path);
}

/** Whether the file is the one that was noted. */
export async function isOrigin(disk: Disk, directory: string, noted: string): Promise<boolean> {
  try {
    return (await disk.fileId(join(directory, originName))) === noted;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

export function copiedDirectory(directory: string): RefusedToStartError {
  return new RefusedToStartError(
    `the data directory ${directory} is a copy, or was moved to another file system: its file ` +
      `'${originName}' is not the one that was made with it. A copy may be older than its original, ` +
      'and two servers must not have one identity. Delete it and let the server join as a new one; ' +
      'or, if it was moved while the server was stopped, and the original is certainly gone and this ' +
      'is all of it, start once with --moved-data',
  );
}
