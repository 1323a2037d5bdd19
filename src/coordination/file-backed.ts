/**
 * Embedded coordination for servers of one process: the in-memory service with `/chain` kept in a
 * file, so that a restart finds it. One process at a time may use it; the servers' data directories
 * are locked, which sees to that.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CoordinationError } from '../errors.js';
import { MemoryCoordination } from './memory.js';

/** Opens the service whose `/chain` lies in `path`. Throws CoordinationError if the file is damaged. */
export async function openFileBackedCoordination(path: string): Promise<MemoryCoordination> {
  const initialChain = await readChain(path);
  return new MemoryCoordination({
    ...(initialChain === undefined ? {} : { initialChain }),
    onChainWritten: (data, version) => writeChain(path, JSON.stringify({ version, data })),
  });
}

async function readChain(path: string): Promise<{ data: string; version: number } | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { data, version } = JSON.parse(text) as { data: unknown; version: unknown };
    if (typeof data === 'string' && Number.isSafeInteger(version)) {
      return { data, version: version as number };
    }
  } catch (error) {
    throw new CoordinationError(`${path} is damaged`, { cause: error });
  }
  throw new CoordinationError(`${path} is damaged`);
}

/** Replaced as a whole and synced, since a server counts on a compare-and-set that was answered. */
async function writeChain(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), 'chain.partial');
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
