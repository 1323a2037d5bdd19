/**
 * What an error of the disk means to the server: no room, which passes when somebody makes some, or a
 * failure, after which nobody knows what the disk holds (R14). Both end what was being done; neither
 * is retried here.
 */

import { CatenaError, DiskFullError, StorageError } from '../errors.js';
import { errorCode, errorText } from './disk.js';

export type StorageFailure = StorageError | DiskFullError;

const fullReasons: Readonly<Record<string, string>> = {
  ENOSPC: 'its file system has no room left',
  EDQUOT: 'the quota of its owner is used up',
  EFBIG: 'a file of it may not become larger (see ulimit -f)',
};

export function isDiskFull(error: unknown): boolean {
  return error instanceof DiskFullError || (errorCode(error) ?? '') in fullReasons;
}

/** `what` failed, for instance "the log in /data/log"; `path` is where room would have to be made. */
export function storageFailure(what: string, path: string, error: unknown): StorageFailure {
  if (error instanceof StorageError || error instanceof DiskFullError) return error;
  const reason = fullReasons[errorCode(error) ?? ''];
  if (reason === undefined) {
    return new StorageError(`${what} failed (${errorText(error)}); this server must stop`, {
      cause: error,
    });
  }
  return new DiskFullError(
    `${what} cannot grow: the disk of ${path} is full, ${reason} (${errorText(error)}); make room there`,
    { cause: error },
  );
}

/** Does the work; what it throws is a typed error afterwards. */
export async function withStorageFailure<Result>(
  path: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof CatenaError ? error : storageFailure(path, path, error);
  }
}
