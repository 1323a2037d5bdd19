/**
 * The real disk: node:fs behind the Disk interface. Callback functions on plain descriptors: cheaper
 * than FileHandle, and nothing is closed by the garbage collector. All of it runs on libuv's threads,
 * so a slow disk never blocks the event loop. It retries nothing and hides no error.
 */

import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { takeDirectoryLock } from './directory-lock.js';
import type { Disk, DiskFile, OpenMode } from './disk.js';

const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const syncFile = promisify(fs.fsync);

const flagsByMode: Readonly<Record<OpenMode, number>> = {
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
  'write-dsync': fs.constants.O_RDWR | fs.constants.O_DSYNC,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
};

export const nodeDisk: Disk = {
  async makeDirectory(path) {
    const first = await fs.promises.mkdir(path, { recursive: true });
    // Each new name becomes durable in its parent; also the last one if it was there, because the
    // process that made it may have been killed before this.
    for (let made = path; ; made = dirname(made)) {
      await syncDirectory(dirname(made));
      if (first === undefined || made.length <= first.length) return;
    }
  },
  list: (path) => fs.promises.readdir(path),
  async open(path, mode) {
    return new NodeFile(await openFile(path, flagsByMode[mode], 0o640));
  },
  rename: (source, target) => fs.promises.rename(source, target),
  remove: (path) => fs.promises.unlink(path),
  syncDirectory,
  async fileId(path) {
    // Inode numbers are used again; with the time of its birth one names a single file.
    const { ino, birthtimeNs } = await fs.promises.stat(path, { bigint: true });
    return `${ino}-${birthtimeNs}`;
  },
  async freeBytes(path) {
    const { bavail, bsize } = await fs.promises.statfs(path);
    return bavail * bsize;
  },
  lock: takeDirectoryLock,
};

async function syncDirectory(path: string): Promise<void> {
  const descriptor = await openFile(path, fs.constants.O_RDONLY);
  try {
    await syncFile(descriptor);
  } finally {
    await closeFile(descriptor);
  }
}

class NodeFile implements DiskFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, stats) => {
        if (error) reject(error);
        else resolve(stats.size);
      });
    });
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, target, 0, target.byteLength, position, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#descriptor, [...buffers], position, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }

  truncate(length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#descriptor, length, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }

  close(): Promise<void> {
    return closeFile(this.#descriptor);
  }
}
