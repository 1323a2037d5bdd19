/**
 * Snapshots at rest: `<seq>.snapshot`, whole or not there. A writer fills a `.partial` file, syncs it,
 * renames it, syncs the directory and only then removes older ones; `open` removes what a crash left.
 * What the chunks hold is for others. All numbers little endian:
 *
 *   header   8 magic "CATENASN" | u32 format version = 1 | u32 meta length | u32 crc32 of all else
 *            of the header | meta, JSON
 *   chunk    u32 length, at least 1 | u32 crc32 of the bytes | bytes
 *   trailer  u32 zero | u32 crc32 of the rest | u64 count of chunks | u32 crc32 of all chunks' bytes
 *
 * Invariant: a file with the name of a snapshot was complete and synced: anything wrong with the newest
 * is damage. There is no falling back to an older one: the log need not reach back to it.
 */

import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import {
  CatenaError,
  DataDamagedError,
  InvariantError,
  LimitError,
  RefusedToStartError,
  StorageError,
} from '../errors.js';
import { frameBytesMax } from '../limits.js';
import type { Disk, DiskFile } from './disk.js';
import { errorCode, errorText, readUpTo, writeFully } from './disk.js';
import type { LogBase } from './log-recovery.js';
import { readSafeInteger, writeSafeInteger } from './record.js';

/** JSON. Beyond seq, and the epoch OF THE OP AT seq, it is opaque here. */
export interface SnapshotMeta extends LogBase {
  readonly [key: string]: unknown;
}

export interface SnapshotWriter {
  /** One chunk of 1 to `frameBytesMax` bytes. Await it before the next: that is the backpressure. */
  write(chunk: Uint8Array): Promise<void>;
  /** Durable and the newest when it resolves; older ones are gone then. Next: `log.reset(meta)`. */
  finish(): Promise<void>;
  /** Gives up and removes what was written. */
  abort(): Promise<void>;
}

export interface SnapshotReader {
  readonly meta: SnapshotMeta;
  /** Once per reader; closes it at the end. Throws DataDamagedError at a bad sum or a missing end. */
  chunks(): AsyncIterableIterator<Uint8Array>;
  close(): Promise<void>;
}

const formatVersion = 1;
const magic = Buffer.from('CATENASN', 'latin1');
const headerBytes = 20;
const chunkHeaderBytes = 8;
const trailerBytes = 20;
const snapshotName = /^(\d{16})\.snapshot$/;
const partialSuffix = '.partial';

export class SnapshotStore {
  readonly #disk: Disk;
  readonly #directory: string;

  private constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** Makes the directory if it is absent; removes partial and superseded files. */
  static async open(options: {
    readonly disk: Disk;
    readonly directory: string;
  }): Promise<SnapshotStore> {
    const { disk, directory } = options;
    const store = new SnapshotStore(disk, directory);
    return asStorageError(directory, async () => {
      await disk.makeDirectory(directory);
      for (const name of await disk.list(directory)) {
        if (name.endsWith(partialSuffix)) await disk.remove(join(directory, name));
      }
      // A rename that a killed process did not sync must be durable before it counts.
      await disk.syncDirectory(directory);
      await store.#removeBelow((await store.#newestSeq()) ?? 0);
      return store;
    });
  }

  /** Begins a snapshot. `meta` is written as JSON. InvariantError if a newer one is there. */
  async create(meta: SnapshotMeta | LogBase): Promise<SnapshotWriter> {
    const newest = await this.#newestSeq();
    if (newest !== undefined && newest > meta.seq) {
      throw new InvariantError(`a snapshot of seq ${meta.seq} below the one of seq ${newest}`);
    }
    const path = join(this.#directory, snapshotFileName(meta.seq));
    const partial = `${path}${partialSuffix}`;
    return asStorageError(partial, async () => {
      await removeIfThere(this.#disk, partial);
      const file = await this.#disk.open(partial, 'create');
      const header = encodeHeader(meta);
      await writeFully(file, [header], 0);
      const publish = async (): Promise<void> => {
        await this.#disk.rename(partial, path);
        await this.#disk.syncDirectory(this.#directory);
        await this.#removeBelow(meta.seq);
      };
      const discard = (): Promise<void> => removeIfThere(this.#disk, partial);
      return new FileSnapshotWriter(file, partial, header.length, publish, discard);
    });
  }

  /** The newest snapshot. DataDamagedError for a bad header; RefusedToStartError for its format. */
  async newest(): Promise<SnapshotReader | undefined> {
    const seq = await this.#newestSeq();
    if (seq === undefined) return undefined;
    const path = join(this.#directory, snapshotFileName(seq));
    return asStorageError(path, async () => {
      const file = await this.#disk.open(path, 'read');
      try {
        const size = await file.size();
        const { meta, length } = await readHeader(file, size, path);
        if (meta.seq !== seq) throw damaged(path, 0, `it holds seq ${meta.seq}`);
        return new FileSnapshotReader(file, path, meta, length, size);
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** For a wipe: AFTER `log.reset({ seq: 0, epoch: 0 })` resolved, so that no log lacks its base. */
  async removeAll(): Promise<void> {
    await asStorageError(this.#directory, () => this.#removeBelow(Number.MAX_SAFE_INTEGER));
  }

  async #seqs(): Promise<number[]> {
    const seqs: number[] = [];
    for (const name of await this.#disk.list(this.#directory)) {
      const match = snapshotName.exec(name);
      if (match) seqs.push(Number(match[1]));
    }
    return seqs.sort((left, right) => left - right);
  }

  async #newestSeq(): Promise<number | undefined> {
    return asStorageError(this.#directory, async () => (await this.#seqs()).at(-1));
  }

  async #removeBelow(seq: number): Promise<void> {
    const old = (await this.#seqs()).filter((other) => other < seq);
    for (const other of old) {
      await this.#disk.remove(join(this.#directory, snapshotFileName(other)));
    }
    if (old.length > 0) await this.#disk.syncDirectory(this.#directory);
  }
}

class FileSnapshotWriter implements SnapshotWriter {
  readonly #file: DiskFile;
  readonly #path: string;
  readonly #publish: () => Promise<void>;
  readonly #discard: () => Promise<void>;
  #offset: number;
  #count = 0;
  #checksum = 0;
  #isOpen = true;

  constructor(
    file: DiskFile,
    path: string,
    offset: number,
    publish: () => Promise<void>,
    discard: () => Promise<void>,
  ) {
    this.#file = file;
    this.#path = path;
    this.#offset = offset;
    this.#publish = publish;
    this.#discard = discard;
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
    const trailer = Buffer.alloc(trailerBytes);
    writeSafeInteger(trailer, this.#count, 8);
    trailer.writeUInt32LE(this.#checksum, 16);
    trailer.writeUInt32LE(crc32(trailer.subarray(8)), 4);
    try {
      await this.#put([trailer]);
      await asStorageError(this.#path, () => this.#file.sync());
    } finally {
      await this.#file.close();
    }
    await asStorageError(this.#path, this.#publish);
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await asStorageError(this.#path, async () => {
      await this.#file.close();
      await this.#discard();
    });
  }

  /** The offset is taken before the write: a caller that does not wait still gets them in order. */
  async #put(buffers: readonly Uint8Array[]): Promise<void> {
    const offset = this.#offset;
    for (const buffer of buffers) this.#offset += buffer.byteLength;
    await asStorageError(this.#path, () => writeFully(this.#file, buffers, offset));
  }
}

class FileSnapshotReader implements SnapshotReader {
  readonly meta: SnapshotMeta;
  readonly #file: DiskFile;
  readonly #path: string;
  readonly #start: number;
  readonly #size: number;
  #isOpen = true;

  constructor(file: DiskFile, path: string, meta: SnapshotMeta, start: number, size: number) {
    this.meta = meta;
    this.#file = file;
    this.#path = path;
    this.#start = start;
    this.#size = size;
  }

  async *chunks(): AsyncIterableIterator<Uint8Array> {
    let offset = this.#start;
    let count = 0;
    let checksum = 0;
    try {
      for (;;) {
        const header = await this.#read(offset, chunkHeaderBytes);
        const length = header.readUInt32LE(0);
        if (length === 0) break;
        const chunk = await this.#read(offset + chunkHeaderBytes, length);
        if (crc32(chunk) !== header.readUInt32LE(4)) {
          throw damaged(this.#path, offset, `the checksum of chunk ${count} does not match`);
        }
        checksum = crc32(chunk, checksum);
        count++;
        offset += chunkHeaderBytes + length;
        yield chunk;
      }
      await this.#checkTrailer(offset, count, checksum);
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#file.close();
  }

  async #checkTrailer(offset: number, count: number, checksum: number): Promise<void> {
    const trailer = await this.#read(offset, trailerBytes);
    const isWhole =
      crc32(trailer.subarray(8)) === trailer.readUInt32LE(4) &&
      readSafeInteger(trailer, 8) === count &&
      trailer.readUInt32LE(16) === checksum &&
      offset + trailerBytes === this.#size;
    if (!isWhole) throw damaged(this.#path, offset, `its end does not match its ${count} chunks`);
  }

  /** Checks the length against the file before anything is allocated. */
  async #read(offset: number, length: number): Promise<Buffer> {
    if (offset + length > this.#size) throw damaged(this.#path, offset, 'it ends too early');
    const bytes = await asStorageError(this.#path, () => readUpTo(this.#file, offset, length));
    if (bytes.length !== length) throw damaged(this.#path, offset, 'it ends too early');
    return bytes;
  }
}

function snapshotFileName(seq: number): string {
  return `${String(seq).padStart(16, '0')}.snapshot`;
}

function encodeHeader(meta: LogBase): Buffer {
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
        `${formatVersion}: start the release that wrote it`,
    );
  }
  const meta = JSON.parse(bytes.toString('utf8', headerBytes)) as SnapshotMeta;
  return { meta, length };
}

function damaged(path: string, offset: number, reason: string): DataDamagedError {
  return new DataDamagedError(`the snapshot ${path} is damaged at offset ${offset}: ${reason}`);
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.remove(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

async function asStorageError<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CatenaError) throw error;
    throw new StorageError(`${path} failed (${errorText(error)})`, { cause: error });
  }
}
