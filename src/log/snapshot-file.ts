/**
 * One file of chunks with a head: a snapshot on disk, a backup. What the chunks hold is for others. All
 * numbers little endian:
 *
 *   header   8 magic "CATENASN" | u32 format version = 1 | u32 meta length | u32 crc32 of all else
 *            of the header | meta, JSON
 *   chunk    u32 length, at least 1 | u32 crc32 of the bytes | bytes
 *   trailer  u32 zero | u32 crc32 of the rest | u64 count of chunks | u32 crc32 of all chunks' bytes
 *
 * Invariant: a file under its own name was complete and synced before it got it (`<path>.partial` until
 * then): anything wrong with it is damage.
 */

import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { DataDamagedError, InvariantError, LimitError, RefusedToStartError } from '../errors.js';
import { frameBytesMax } from '../limits.js';
import { parseObject } from './checked-json.js';
import type { Disk, DiskFile } from './disk.js';
import { byteLength, readUpTo, removeIfThere, writeFully } from './disk.js';
import type { LogBase } from './log-recovery.js';
import { readSafeInteger, writeSafeInteger } from './record.js';
import { withStorageFailure } from './storage-failure.js';

/** JSON. Beyond seq, and the epoch OF THE OP AT seq, it is opaque here. */
export interface SnapshotMeta extends LogBase {
  readonly [key: string]: unknown;
}

export interface SnapshotWriter {
  /** Chunks written so far. */
  readonly count: number;
  /** One chunk of 1 to `frameBytesMax` bytes. Await it before the next: that is the backpressure. */
  write(chunk: Uint8Array): Promise<void>;
  /** Durable and under its name when it resolves; what was written is removed if it rejects. */
  finish(): Promise<void>;
  /** Gives up and removes what was written. */
  abort(): Promise<void>;
}

export interface SnapshotReader {
  readonly meta: SnapshotMeta;
  /** How many chunks it has, and their bytes together. */
  readonly count: number;
  readonly bytes: number;
  /**
   * The chunks from number `first` on; of those before it only the headers are read. May be called
   * again. Each chunk's own checksum is verified; the checksum of the whole only if `first` is 0.
   * Throws DataDamagedError, InvariantError beyond the last chunk or after `close`.
   */
  chunks(first?: number): AsyncIterableIterator<Uint8Array>;
  /** It stays readable until then, also when the file is removed. */
  close(): Promise<void>;
}

export interface SnapshotFileOptions {
  readonly disk: Disk;
  readonly path: string;
  readonly meta: SnapshotMeta | LogBase;
  /** Where it is written until it is whole; absent: `<path>.partial`. Replaced if it is there. */
  readonly partialPath?: string;
}

export const partialSuffix = '.partial';
const formatVersion = 1;
const magic = Buffer.from('CATENASN', 'latin1');
const headerBytes = 20;
const chunkHeaderBytes = 8;
const trailerBytes = 20;
/** One large sync at the end would stand in the way of the log's own. */
const syncIntervalBytes = 4 * 1024 * 1024;

/** Begins a file that appears at `path`, in place of what is there, once it is finished. */
export async function createSnapshotFile(options: SnapshotFileOptions): Promise<SnapshotWriter> {
  const { disk, path, meta, partialPath = `${path}${partialSuffix}` } = options;
  return withStorageFailure(partialPath, async () => {
    await removeIfThere(disk, partialPath);
    const file = await disk.open(partialPath, 'create');
    try {
      const header = encodeHeader(meta);
      await writeFully(file, [header], 0);
      return new FileSnapshotWriter(disk, file, path, partialPath, header.length);
    } catch (error) {
      await discard(disk, file, partialPath);
      throw error;
    }
  });
}

/**
 * Opens one for reading; its header and its end are verified. Throws DataDamagedError,
 * RefusedToStartError for the format of another release, StorageError.
 */
export async function openSnapshotFile(disk: Disk, path: string): Promise<SnapshotReader> {
  return withStorageFailure(path, async () => {
    const file = await disk.open(path, 'read');
    try {
      const size = await file.size();
      const { meta, length } = await readHeader(file, size, path);
      return new FileSnapshotReader(file, path, meta, length, await readTrailer(file, size, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  });
}

/** Reads all of it; every byte is under a checksum. Throws as `openSnapshotFile` and `chunks`. */
export async function verifySnapshotFile(
  disk: Disk,
  path: string,
): Promise<{ meta: SnapshotMeta; count: number; bytes: number }> {
  const reader = await openSnapshotFile(disk, path);
  try {
    const chunks = reader.chunks();
    while (!(await chunks.next()).done);
    const { meta, count, bytes } = reader;
    return { meta, count, bytes };
  } finally {
    await reader.close();
  }
}

/** After a failure: the disk may be full, and what is no snapshot must not keep it so. */
async function discard(disk: Disk, file: DiskFile, partialPath: string): Promise<void> {
  await file.close().catch(() => {});
  await removeIfThere(disk, partialPath).catch(() => {});
}

class FileSnapshotWriter implements SnapshotWriter {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #path: string;
  readonly #partialPath: string;
  #offset: number;
  #syncedOffset = 0;
  #count = 0;
  #checksum = 0;
  #isOpen = true;

  constructor(disk: Disk, file: DiskFile, path: string, partialPath: string, offset: number) {
    this.#disk = disk;
    this.#file = file;
    this.#path = path;
    this.#partialPath = partialPath;
    this.#offset = offset;
  }

  get count(): number {
    return this.#count;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.#isOpen) throw new InvariantError(`a chunk for ${this.#path}, which is ended`);
    const length = chunk.byteLength;
    if (length === 0) throw new InvariantError('a snapshot has no empty chunks');
    if (length > frameBytesMax) throw new LimitError('chunk', length, frameBytesMax, 'bytes');
    const header = Buffer.allocUnsafe(chunkHeaderBytes);
    header.writeUInt32LE(length, 0);
    header.writeUInt32LE(crc32(chunk), 4);
    this.#checksum = crc32(chunk, this.#checksum);
    this.#count++;
    await this.#put([header, chunk]);
  }

  async finish(): Promise<void> {
    if (!this.#isOpen) throw new InvariantError(`${this.#path} is ended already`);
    this.#isOpen = false;
    try {
      await this.#put([encodeTrailer(this.#count, this.#checksum)]);
      await withStorageFailure(this.#partialPath, () => this.#file.sync());
    } catch (error) {
      await discard(this.#disk, this.#file, this.#partialPath);
      throw error;
    }
    await withStorageFailure(this.#path, async () => {
      await this.#file.close();
      await this.#disk.rename(this.#partialPath, this.#path);
      await this.#disk.syncDirectory(dirname(this.#path));
    });
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await withStorageFailure(this.#partialPath, async () => {
      await this.#file.close();
      await removeIfThere(this.#disk, this.#partialPath);
    });
  }

  /** The offset is taken before the write: a caller that does not wait still gets them in order. */
  async #put(buffers: readonly Uint8Array[]): Promise<void> {
    const offset = this.#offset;
    this.#offset += byteLength(buffers);
    const end = this.#offset;
    await withStorageFailure(this.#partialPath, async () => {
      await writeFully(this.#file, buffers, offset);
      if (end - this.#syncedOffset < syncIntervalBytes) return;
      this.#syncedOffset = end;
      await this.#file.sync();
    });
  }
}

class FileSnapshotReader implements SnapshotReader {
  readonly meta: SnapshotMeta;
  readonly count: number;
  readonly bytes: number;
  readonly #file: DiskFile;
  readonly #path: string;
  readonly #start: number;
  readonly #trailer: Trailer;
  /** Reads under way: the file may not be closed under them. */
  readonly #reads = new Set<Promise<unknown>>();
  #isOpen = true;

  constructor(file: DiskFile, path: string, meta: SnapshotMeta, start: number, trailer: Trailer) {
    this.meta = meta;
    this.count = trailer.count;
    this.bytes = trailer.offset - start - trailer.count * chunkHeaderBytes;
    this.#file = file;
    this.#path = path;
    this.#start = start;
    this.#trailer = trailer;
    if (this.bytes < trailer.count) throw this.#damaged(trailer.offset, 'it lacks chunks');
  }

  async *chunks(first = 0): AsyncIterableIterator<Uint8Array> {
    if (first > this.count) {
      throw new InvariantError(`${this.#path} has ${this.count} chunks, none of number ${first}`);
    }
    let offset = this.#start;
    let checksum = 0;
    for (let number = 0; number < this.count; number++) {
      const header = await this.#read(offset, chunkHeaderBytes);
      const length = header.readUInt32LE(0);
      if (length === 0) throw this.#damaged(offset, `chunk ${number} of ${this.count} is missing`);
      if (number >= first) {
        const chunk = await this.#read(offset + chunkHeaderBytes, length);
        if (crc32(chunk) !== header.readUInt32LE(4)) {
          throw this.#damaged(offset, `the checksum of chunk ${number} does not match`);
        }
        checksum = crc32(chunk, checksum);
        yield chunk;
      }
      offset += chunkHeaderBytes + length;
    }
    const isWhole = first > 0 || checksum === this.#trailer.checksum;
    if (offset !== this.#trailer.offset || !isWhole) {
      throw this.#damaged(offset, `its end does not match its ${this.count} chunks`);
    }
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await Promise.allSettled(this.#reads);
    await this.#file.close();
  }

  /** Checks the length against the file before anything is allocated. */
  async #read(offset: number, length: number): Promise<Buffer> {
    if (!this.#isOpen) throw new InvariantError(`${this.#path} was closed while it was read`);
    if (offset + length > this.#trailer.offset) throw this.#damaged(offset, 'it ends too early');
    const read = withStorageFailure(this.#path, () => readUpTo(this.#file, offset, length));
    this.#reads.add(read);
    try {
      const bytes = await read;
      if (bytes.length !== length) throw this.#damaged(offset, 'it ends too early');
      return bytes;
    } finally {
      this.#reads.delete(read);
    }
  }

  #damaged(offset: number, reason: string): DataDamagedError {
    return damaged(this.#path, offset, reason);
  }
}

function encodeHeader(meta: SnapshotMeta | LogBase): Buffer {
  const json = Buffer.from(JSON.stringify(meta));
  const bytes = Buffer.alloc(headerBytes + json.length);
  bytes.set(magic);
  bytes.writeUInt32LE(formatVersion, 8);
  bytes.writeUInt32LE(json.length, 12);
  bytes.set(json, headerBytes);
  bytes.writeUInt32LE(headerChecksum(bytes), 16);
  return bytes;
}

function headerChecksum(bytes: Buffer): number {
  return crc32(bytes.subarray(headerBytes), crc32(bytes.subarray(0, 16)));
}

async function readHeader(
  file: DiskFile,
  size: number,
  path: string,
): Promise<{ meta: SnapshotMeta; length: number }> {
  const fixed = await readUpTo(file, 0, headerBytes);
  if (fixed.length < headerBytes || !fixed.subarray(0, 8).equals(magic)) {
    throw damaged(path, 0, 'it does not begin like a snapshot');
  }
  const length = headerBytes + fixed.readUInt32LE(12);
  if (length > size) throw damaged(path, 0, 'it ends inside its header');
  const bytes = await readUpTo(file, 0, length);
  if (headerChecksum(bytes) !== bytes.readUInt32LE(16)) {
    throw damaged(path, 0, 'the checksum of its header does not match');
  }
  const version = bytes.readUInt32LE(8);
  if (version !== formatVersion) {
    throw new RefusedToStartError(
      `the snapshot ${path} has format version ${version}; this release reads version ` +
        `${formatVersion}: use the release that wrote it`,
    );
  }
  const meta = parseObject(bytes.toString('utf8', headerBytes));
  if (meta === undefined || !isCount(meta['seq']) || !isCount(meta['epoch'])) {
    throw damaged(path, headerBytes, 'its metadata names no op');
  }
  return { meta: { ...meta, seq: meta['seq'], epoch: meta['epoch'] }, length };
}

interface Trailer {
  readonly offset: number;
  readonly count: number;
  readonly checksum: number;
}

function encodeTrailer(count: number, checksum: number): Buffer {
  const trailer = Buffer.alloc(trailerBytes);
  writeSafeInteger(trailer, count, 8);
  trailer.writeUInt32LE(checksum, 16);
  trailer.writeUInt32LE(crc32(trailer.subarray(8)), 4);
  return trailer;
}

async function readTrailer(file: DiskFile, size: number, path: string): Promise<Trailer> {
  const offset = size - trailerBytes;
  if (offset < headerBytes) throw damaged(path, size, 'it ends too early');
  const bytes = await readUpTo(file, offset, trailerBytes);
  const isWhole =
    bytes.length === trailerBytes &&
    bytes.readUInt32LE(0) === 0 &&
    crc32(bytes.subarray(8)) === bytes.readUInt32LE(4);
  if (!isWhole) throw damaged(path, offset, 'it does not end like a snapshot');
  return { offset, count: readSafeInteger(bytes, 8), checksum: bytes.readUInt32LE(16) };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function damaged(path: string, offset: number, reason: string): DataDamagedError {
  return new DataDamagedError(`the snapshot ${path} is damaged at offset ${offset}: ${reason}`);
}
