/**
 * Looks at the path that an operator gave for data before anything is opened or made there, so that a
 * slip of the hand is told as such and not as a failing disk.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RefusedToStartError } from '../errors.js';
import { identityName } from '../log/data-directory.js';

/** Throws RefusedToStartError if no data can lie there. A path where nothing is yet is fine. */
export async function checkDataPath(path: string): Promise<void> {
  const found = await kindOf(path);
  if (found === 'other') {
    throw new RefusedToStartError(`--data ${path} is a file; name a directory, or a path for one`);
  }
}

/** Besides, throws RefusedToStartError if no server's data is there: only a start makes a data directory. */
export async function checkExistingDataPath(path: string): Promise<void> {
  await checkDataPath(path);
  const isThere = (await kindOf(path)) === 'directory';
  if (isThere && (await kindOf(join(path, identityName))) !== 'nothing') return;
  const what = isThere ? 'holds no data of a server' : 'does not exist';
  throw new RefusedToStartError(`--data ${path} ${what}; name the data directory of a server`);
}

async function kindOf(path: string): Promise<'nothing' | 'directory' | 'other'> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'other';
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'ENOENT') return 'nothing';
    const why =
      code === 'ENOTDIR' ? 'a part of this path is a file' : `it cannot be looked at: ${code}`;
    throw new RefusedToStartError(`--data ${path} cannot be used: ${why}`, { cause: error });
  }
}
