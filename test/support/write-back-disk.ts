/**
 * The real disk behind a cache that dies with the process: what was not synced is in this process's memory
 * only. So kill -9 of a real server loses exactly that (FAULTS D2), while the server itself sees all that it
 * wrote. Means the same as `memory-disk.ts` does; a property test compares the two.
 *
 * A file whose name is not durable yet lies in the staging directory; `syncDirectory` moves it to its name.
 * Directories pass through, made or moved; locks too, they die with the process anyway.
 *
 * Invariant: a file's real bytes with its `unsynced` changes applied in order are what its readers see, also
 * if a beginning of these changes is in the real file already; the same holds for the names.
 */
import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Disk, DiskFile, OpenMode } from '../../src/log/disk.js';
import { byteLength, writeFully } from '../../src/log/disk.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { TaskQueue } from './task-queue.js';

/** What would be lost if the process were killed now. */
export interface Unsynced {
  readonly bytes: number;
  readonly names: number;
  /** Writes of which the first part would be there, and the rest not. */
  readonly torn?: number;
}

export interface WriteBackOptions {
  /** On the same file system as the data, not inside of it. What an earlier process left there is lost. */
  readonly stagingPath: string;
  readonly onUnsynced?: (unsynced: Unsynced) => void;
  /** Between a write that syncs itself and its bytes being on the disk. */
  readonly flush?: () => Promise<unknown>;
  /** Whether the first half of such a write is on the disk before. */
  readonly tears?: boolean;
}

type FileChange =
  | { readonly kind: 'data'; readonly position: number; readonly bytes: Buffer; durable: boolean }
  | { readonly kind: 'truncate'; readonly size: number };

type DataChange = FileChange & { readonly kind: 'data' };

interface NameChange {
  readonly removed: string | undefined;
  readonly added: { readonly path: string; readonly file: CachedFile } | undefined;
}

/** Drops what an earlier process left unsynced, as the power cut did. */
export async function openWriteBackDisk(options: WriteBackOptions): Promise<WriteBackDisk> {
  rmSync(options.stagingPath, { recursive: true, force: true });
  await nodeDisk.makeDirectory(options.stagingPath);
  return new WriteBackDisk(options);
}

class CachedFile {
  realPath: string;
  size: number;
  unsynced: FileChange[] = [];
  /** What touches the real bytes goes one after the other; reads go beside it. */
  readonly writes = new TaskQueue();

  constructor(realPath: string, size: number) {
    this.realPath = realPath;
    this.size = size;
  }

  apply(change: FileChange): void {
    this.unsynced.push(change);
    if (change.kind === 'truncate') this.size = change.size;
    else this.size = Math.max(this.size, change.position + change.bytes.length);
  }

  /** A write that syncs itself is durable alone: what was written before it may still be lost. */
  settle(change: DataChange): void {
    change.durable = true;
    const waiting = this.unsynced.findIndex((entry) => entry.kind !== 'data' || !entry.durable);
    this.unsynced.splice(0, waiting === -1 ? this.unsynced.length : waiting);
  }

  get unsyncedBytes(): number {
    let total = 0;
    for (const change of this.unsynced) {
      if (change.kind === 'data' && !change.durable) total += change.bytes.length;
    }
    return total;
  }
}

class WriteBackDisk implements Disk {
  readonly #options: WriteBackOptions;
  /** Files that were opened or renamed, by the name that they have for this process. */
  readonly #files = new Map<string, CachedFile>();
  #unsyncedNames: NameChange[] = [];
  readonly #names = new TaskQueue();
  #staged = 0;
  /** Writes of which the first half is on the disk, and not the rest. */
  #torn = 0;

  constructor(options: WriteBackOptions) {
    this.#options = options;
  }

  makeDirectory(path: string): Promise<void> {
    return this.#names.add(() => nodeDisk.makeDirectory(path));
  }

  list(path: string): Promise<string[]> {
    return this.#names.add(async () => {
      const paths = new Set((await nodeDisk.list(path)).map((name) => join(path, name)));
      for (const { removed, added } of this.#unsyncedNames) {
        if (removed !== undefined) paths.delete(removed);
        if (added !== undefined && dirname(added.path) === path) paths.add(added.path);
      }
      return [...paths].map((each) => each.slice(path.length + 1));
    });
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#names.add(async () => {
      if (mode === 'create') return this.#create(path);
      const file = await this.#find(path);
      const real = await nodeDisk.open(file.realPath, mode);
      return this.#handle(file, real, mode);
    });
  }

  rename(source: string, target: string): Promise<void> {
    if (dirname(source) !== dirname(target)) {
      throw new Error(`not modelled: ${source} moves to another directory, ${target}`);
    }
    return this.#names.add(async () => {
      if ((await stat(source).catch(() => undefined))?.isDirectory() === true) {
        return this.#moveDirectory(source, target);
      }
      const file = await this.#find(source);
      this.#change({ removed: source, added: { path: target, file } });
    });
  }

  remove(path: string): Promise<void> {
    return this.#names.add(async () => {
      await this.#find(path);
      this.#change({ removed: path, added: undefined });
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.#names.add(async () => {
      await this.#publish((directory) => directory === path);
      await nodeDisk.syncDirectory(path);
      this.#report();
    });
  }

  fileId(path: string): Promise<string> {
    return this.#names.add(async () => nodeDisk.fileId((await this.#find(path)).realPath));
  }

  freeBytes(path: string): Promise<number> {
    return nodeDisk.freeBytes(path);
  }

  lock(path: string) {
    return nodeDisk.lock(path);
  }

  /** Of these directories. */
  async #publish(wanted: (directory: string) => boolean): Promise<void> {
    const isWanted = ({ removed, added }: NameChange): boolean =>
      wanted(dirname(added?.path ?? removed ?? ''));
    for (const change of this.#unsyncedNames.filter(isWanted)) {
      await publish(change);
      this.#unsyncedNames.splice(this.#unsyncedNames.indexOf(change), 1);
    }
  }

  /** At once, with the names in it: what is not synced may be lost, it need not be. */
  async #moveDirectory(source: string, target: string): Promise<void> {
    const isInside = (path: string): boolean => path.startsWith(`${source}/`);
    await this.#publish((directory) => directory === source || isInside(directory));
    await nodeDisk.rename(source, target);
    for (const [path, file] of Array.from(this.#files)) {
      if (!isInside(path)) continue;
      file.realPath = target + path.slice(source.length);
      this.#files.delete(path);
      this.#files.set(file.realPath, file);
    }
  }

  async #create(path: string): Promise<DiskFile> {
    const isThere = await this.#find(path).catch(() => undefined);
    if (isThere !== undefined) throw diskError('EEXIST', path);
    const staged = join(this.#options.stagingPath, String(this.#staged++));
    const real = await nodeDisk.open(staged, 'create');
    const file = new CachedFile(staged, 0);
    this.#change({ removed: undefined, added: { path, file } });
    return this.#handle(file, real, 'create');
  }

  /** The file that has this name for this process. Throws ENOENT. */
  async #find(path: string): Promise<CachedFile> {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    if (this.#unsyncedNames.some(({ removed }) => removed === path)) {
      throw diskError('ENOENT', path);
    }
    const real = await nodeDisk.open(path, 'read');
    const file = new CachedFile(path, await real.size());
    await real.close();
    this.#files.set(path, file);
    return file;
  }

  #change(change: NameChange): void {
    if (change.removed !== undefined) this.#files.delete(change.removed);
    if (change.added !== undefined) this.#files.set(change.added.path, change.added.file);
    this.#unsyncedNames.push(change);
    this.#report();
  }

  #report(): void {
    let bytes = 0;
    const files = new Set(this.#files.values());
    for (const file of files) bytes += file.unsyncedBytes;
    const torn = this.#torn > 0 ? { torn: this.#torn } : {};
    this.#options.onUnsynced?.({ bytes, names: this.#unsyncedNames.length, ...torn });
  }

  /** Writes the first half of it, unless that would overtake what was written before. Says whether it did. */
  async #tear(file: CachedFile, real: DiskFile, change: DataChange): Promise<boolean> {
    if (this.#options.tears !== true) return false;
    return file.writes.add(async () => {
      if (file.unsynced.length !== 1 || file.unsynced[0] !== change) return false;
      const half = change.bytes.subarray(0, Math.ceil(change.bytes.length / 2));
      await writeFully(real, [half], change.position);
      this.#torn += 1;
      this.#report();
      return true;
    });
  }

  #handle(file: CachedFile, real: DiskFile, mode: OpenMode): DiskFile {
    const flush = this.#options.flush ?? (() => Promise.resolve());
    const report = (): void => this.#report();
    const tear = (change: DataChange): Promise<boolean> => this.#tear(file, real, change);
    const isWhole = (): void => void (this.#torn -= 1);
    return {
      size: () => Promise.resolve(file.size),
      read: (target, position) => readThrough(file, real, target, position),
      async write(buffers, position) {
        if (mode === 'read') throw diskError('EBADF', file.realPath);
        const bytes = Buffer.concat(buffers);
        if (bytes.length === 0) return 0;
        const change: DataChange = { kind: 'data', position, bytes, durable: false };
        file.apply(change);
        report();
        if (mode === 'write-dsync') {
          const isTorn = await tear(change);
          await flush();
          await file.writes.add(async () => {
            // A sync that came in between has written it, and maybe something newer over it.
            if (!file.unsynced.includes(change)) return;
            await writeFully(real, [bytes], position);
            file.settle(change);
          });
          if (isTorn) isWhole();
          report();
        }
        return byteLength(buffers);
      },
      sync() {
        return file.writes.add(async () => {
          const count = file.unsynced.length;
          for (const change of file.unsynced.slice(0, count)) {
            if (change.kind === 'truncate') await real.truncate(change.size);
            else await writeFully(real, [change.bytes], change.position);
          }
          await real.sync();
          file.unsynced.splice(0, count);
          report();
        });
      },
      async truncate(length) {
        file.apply({ kind: 'truncate', size: length });
        report();
      },
      close: () => real.close(),
    };
  }
}

/** The real bytes with the changes over them; a cut is zeros, and what is longer later shows them. */
async function readThrough(
  file: CachedFile,
  real: DiskFile,
  target: Uint8Array,
  position: number,
): Promise<number> {
  const changes = [...file.unsynced];
  const length = Math.max(0, Math.min(target.byteLength, file.size - position));
  const view = target.subarray(0, length).fill(0);
  if (length > 0) await real.read(view, position);
  for (const change of changes) {
    if (change.kind === 'truncate') view.fill(0, Math.max(0, change.size - position));
    else overlay(view, position, change.bytes, change.position);
  }
  return length;
}

function overlay(view: Uint8Array, position: number, bytes: Buffer, at: number): void {
  const from = Math.max(position, at);
  const end = Math.min(position + view.byteLength, at + bytes.length);
  if (from < end) view.set(bytes.subarray(from - at, end - at), from - position);
}

/** One change of names, in the real directory. */
async function publish({ removed, added }: NameChange): Promise<void> {
  if (added === undefined) {
    if (removed !== undefined) await nodeDisk.remove(removed);
    return;
  }
  await nodeDisk.rename(added.file.realPath, added.path);
  added.file.realPath = added.path;
}

function diskError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
