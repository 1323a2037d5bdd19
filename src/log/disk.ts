/**
 * Disk: the only way from Catena to the file system, so small that a twin in memory can model what a
 * crash does to it (memory-disk.ts); node-disk.ts is the real one. It knows no format and no policy.
 * What is durable: bytes after `sync` or a write to a file opened with `dsync`; a file's name (made,
 * renamed, removed) after `syncDirectory` of its directory. Everything else a crash may undo, in any
 * order, torn at any byte. Errors are those of Node: `error.code` is 'ENOENT', 'EIO', 'ENOSPC', …
 */

/** read: must exist. create: must not exist, for writing and reading. dsync: as `write`, durable. */
export type OpenMode = 'read' | 'write' | 'write-dsync' | 'create';

export interface DiskFile {
  size(): Promise<number>;
  /** Fills `target` from `position`; answers how many bytes were read, fewer only at the end. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes the buffers one after the other; answers how many bytes were written, maybe not all. */
  write(buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** Makes all bytes of the file, and its length, durable. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** Held while the process lives, however it dies. */
export interface DirectoryLock {
  release(): Promise<void>;
}

export interface Disk {
  /** With its parents; no error if it is there already. */
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory, in no order. */
  list(path: string): Promise<string[]>;
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** Of a file or a directory. Atomic; replaces the target, if that is a file. */
  rename(source: string, target: string): Promise<void>;
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /**
   * Tells this file from any copy of it: stable for the life of the file, whatever its name. Not for a
   * copy of the whole file system.
   */
  fileId(path: string): Promise<string>;
  /** What this process may still write on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /** Throws RefusedToStartError while another process, or this one, holds it. */
  lock(path: string): Promise<DirectoryLock>;
}

/**
 * Writes all of `buffers`. A write that made progress without an error is continued (D7); one that
 * made none is an error, so that a full disk cannot become an endless loop.
 */
export async function writeFully(
  file: DiskFile,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = buffers;
  let at = position;
  for (;;) {
    const wanted = byteLength(rest);
    if (wanted === 0) return;
    const written = await file.write(rest, at);
    if (written === wanted) return;
    if (written <= 0) throw new Error(`the disk took none of ${wanted} bytes`);
    rest = dropBytes(rest, written);
    at += written;
  }
}

/** Reads `length` bytes at `position`; fewer only if the file ends before. */
export async function readUpTo(file: DiskFile, position: number, length: number): Promise<Buffer> {
  const target = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const count = await file.read(target.subarray(filled), position + filled);
    if (count === 0) break;
    filled += count;
  }
  return target.subarray(0, filled);
}

export async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.remove(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function byteLength(buffers: readonly Uint8Array[]): number {
  let total = 0;
  for (const buffer of buffers) total += buffer.byteLength;
  return total;
}

function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const buffer of buffers) {
    if (skip < buffer.byteLength) rest.push(buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.byteLength);
  }
  return rest;
}
