/**
 * Embedded coordination for servers of one process: the in-memory service with `/chain` kept in a
 * file, so that a restart finds it. One process at a time may use it; the servers' data directories
 * are locked, which sees to that.
 */
import { dirname } from 'node:path';
import { DataDamagedError } from '../errors.js';
import { readCheckedJson, writeCheckedJson } from '../log/checked-json.js';
import { nodeDisk } from '../log/node-disk.js';
import { MemoryCoordination } from './memory.js';

/** Opens the service whose `/chain` lies in `path`. Throws DataDamagedError, RefusedToStartError for its format. */
export async function openFileBackedCoordination(path: string): Promise<MemoryCoordination> {
  await nodeDisk.makeDirectory(dirname(path));
  const initialChain = await readChain(path);
  return new MemoryCoordination({
    ...(initialChain === undefined ? {} : { initialChain }),
    // Durable before it counts: a server relies on a compare-and-set that was answered.
    onChainWritten: (data, version) => writeCheckedJson(nodeDisk, path, { version, data }),
  });
}

async function readChain(path: string): Promise<{ data: string; version: number } | undefined> {
  const content = await readCheckedJson(nodeDisk, path);
  if (content === undefined) return undefined;
  const { data, version } = content;
  if (typeof data === 'string' && typeof version === 'number') return { data, version };
  throw new DataDamagedError(`${path} holds no configuration of a chain`);
}
