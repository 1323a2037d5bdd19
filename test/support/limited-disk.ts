/**
 * A disk in memory with so much room and no more: the write that does not fit takes what does, and the next
 * one is ENOSPC, as on a real disk. What was preallocated is there, and is written over at no cost.
 */
import type { Disk, DiskFile, OpenMode } from '../../src/log/disk.js';
import { byteLength } from '../../src/log/disk.js';
import type { MemoryDisk } from '../../src/log/memory-disk.js';

export class LimitedDisk implements Disk {
  capacityBytes: number;
  usedBytes = 0;
  /** How many writes found no room at all. */
  refusals = 0;
  readonly inner: MemoryDisk;

  constructor(inner: MemoryDisk, capacityBytes: number) {
    this.inner = inner;
    this.capacityBytes = capacityBytes;
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    const file = await this.inner.open(path, mode);
    return {
      ...file,
      write: (buffers, position) => this.#write(file, path, buffers, position),
      truncate: async (length) => {
        this.usedBytes += length - (await file.size());
        await file.truncate(length);
      },
    };
  }

  async remove(path: string): Promise<void> {
    const size = await this.#sizeOf(path);
    await this.inner.remove(path);
    this.usedBytes -= size;
  }

  async rename(source: string, target: string): Promise<void> {
    const replaced = this.inner.paths().includes(target) ? await this.#sizeOf(target) : 0;
    await this.inner.rename(source, target);
    this.usedBytes -= replaced;
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(Math.max(0, this.capacityBytes - this.usedBytes));
  }

  makeDirectory = (): ReturnType<Disk['makeDirectory']> => this.inner.makeDirectory();
  list = (path: string): ReturnType<Disk['list']> => this.inner.list(path);
  syncDirectory = (path: string): ReturnType<Disk['syncDirectory']> =>
    this.inner.syncDirectory(path);
  fileId = (path: string): ReturnType<Disk['fileId']> => this.inner.fileId(path);
  lock = (path: string): ReturnType<Disk['lock']> => this.inner.lock(path);

  async #write(
    file: DiskFile,
    path: string,
    buffers: readonly Uint8Array[],
    position: number,
  ): Promise<number> {
    const wanted = byteLength(buffers);
    const size = await file.size();
    const growth = Math.max(0, position + wanted - size);
    const room = Math.max(0, this.capacityBytes - this.usedBytes);
    const fits = wanted - Math.max(0, growth - room);
    if (wanted > 0 && fits <= 0) {
      this.refusals += 1;
      throw Object.assign(new Error(`ENOSPC: no room for ${path}`), { code: 'ENOSPC' });
    }
    this.usedBytes += Math.min(growth, room);
    return file.write([Buffer.concat(buffers).subarray(0, fits)], position);
  }

  async #sizeOf(path: string): Promise<number> {
    const file = await this.inner.open(path, 'read');
    try {
      return await file.size();
    } finally {
      await file.close();
    }
  }
}
