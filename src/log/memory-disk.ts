/**
 * The twin of the real disk: files in memory, with what power cuts and failing hardware do to them.
 * Not a file system: a directory is only the prefix of a path, there as soon as it is named. Deterministic: no timer and no random
 * number; the caller chooses each fault (`setFault`) and what survives a crash (`crash`).
 *
 * Invariant: a file's `durable` bytes with its `unsynced` changes applied in order are its `current`
 * bytes; the same holds for the names.
 */

import { dirname } from 'node:path';
import { RefusedToStartError } from '../errors.js';
import type { DirectoryLock, Disk, DiskFile, OpenMode } from './disk.js';
import { byteLength } from './disk.js';

export interface DiskOperation {
  readonly kind:
    | 'open'
    | 'read'
    | 'write'
    | 'sync'
    | 'truncate'
    | 'rename'
    | 'remove'
    | 'sync-directory';
  readonly path: string;
  readonly position?: number;
  readonly length?: number;
}

/**
 * until: the operation takes effect but completes only then (a write is in flight, a sync not done).
 * bytes: a write takes only so many. error: it fails with this code, after those bytes, if given.
 */
export interface DiskFault {
  readonly until?: Promise<unknown>;
  readonly bytes?: number;
  readonly error?: string;
}

/** One thing that was not synced. Data comes in pieces of at most one sector. */
export type UnsyncedChange =
  | {
      readonly kind: 'data';
      readonly path: string;
      readonly position: number;
      readonly length: number;
    }
  | { readonly kind: 'truncate' | 'name'; readonly path: string; readonly length: 1 };

type FileChange =
  | { readonly kind: 'data'; readonly position: number; readonly bytes: Buffer; durable: boolean }
  | { readonly kind: 'truncate'; readonly size: number };

type PerformCall = [
  operation: DiskOperation,
  start?: ((bytesMax: number) => void) | undefined,
  finish?: () => void,
];

type NameChange =
  | { readonly kind: 'add'; readonly path: string; readonly file: MemoryFile }
  | { readonly kind: 'remove'; readonly path: string }
  /** Of a file, with the file, or of everything below a directory. */
  | {
      readonly kind: 'rename';
      readonly source: string;
      readonly path: string;
      readonly file: MemoryFile | undefined;
    };

/** A file's bytes with spare room behind them, so that appending is not quadratic. */
class GrowingBytes {
  #bytes: Buffer = Buffer.alloc(0);
  #size = 0;

  get view(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.byteLength;
    if (end > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      grown.set(this.view);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    this.#size = Math.max(this.#size, end);
  }

  truncate(size: number): void {
    if (size > this.#size) this.write(Buffer.alloc(size - this.#size), this.#size);
    this.#bytes.fill(0, size);
    this.#size = size;
  }
}

class MemoryFile {
  /** Its latest name: a handle reports that, not the one that it was opened by. */
  path = '';
  readonly id: string;
  readonly current = new GrowingBytes();
  readonly durable = new GrowingBytes();
  unsynced: FileChange[] = [];

  constructor(id: string) {
    this.id = id;
  }

  apply(change: FileChange): void {
    applyChange(this.current, change);
    this.unsynced.push(change);
  }

  sync(through: number): void {
    for (const change of this.unsynced.splice(0, through)) applyChange(this.durable, change);
  }

  /** A dsync write is durable alone: what was written before it and not synced may still be lost. */
  settle(change: FileChange & { kind: 'data' }): void {
    change.durable = true;
    let settled = 0;
    for (const entry of this.unsynced) {
      if (entry.kind !== 'data' || !entry.durable) break;
      settled++;
    }
    this.sync(settled);
  }

  crash(path: string, sectorBytes: number, keep: (change: UnsyncedChange) => number): void {
    for (const change of this.unsynced) {
      if (change.kind === 'truncate') {
        if (keep({ kind: 'truncate', path, length: 1 }) > 0) applyChange(this.durable, change);
        continue;
      }
      for (let from = 0; from < change.bytes.length; ) {
        const position = change.position + from;
        const room = sectorBytes - (position % sectorBytes);
        const length = Math.min(room, change.bytes.length - from);
        const kept = change.durable ? length : keep({ kind: 'data', path, position, length });
        const end = from + Math.max(0, Math.min(length, kept));
        if (end > from) this.durable.write(change.bytes.subarray(from, end), position);
        from += length;
      }
    }
    this.unsynced = [];
    this.current.truncate(0);
    this.current.write(this.durable.view, 0);
  }
}

function applyChange(target: GrowingBytes, change: FileChange): void {
  if (change.kind === 'data') target.write(change.bytes, change.position);
  else target.truncate(change.size);
}

export class MemoryDisk implements Disk {
  /** What `freeBytes` answers; nothing else comes of it. */
  free = Number.MAX_SAFE_INTEGER;
  readonly #sectorBytes: number;
  #filesMade = 0;
  readonly #names = new Map<string, MemoryFile>();
  readonly #durableNames = new Map<string, MemoryFile>();
  #unsyncedNames: NameChange[] = [];
  #locks = new Set<string>();
  #life = 0;
  #fault: (operation: DiskOperation) => DiskFault | undefined = () => undefined;

  constructor(options: { readonly sectorBytes?: number } = {}) {
    this.#sectorBytes = options.sectorBytes ?? 512;
  }

  /**
   * The disk as one process sees it: after `kill` or `crash` nothing that the dead process still
   * calls happens, and none of it settles. Give each process one of its own.
   */
  mount(): Disk {
    const life = this.#life;
    const guard =
      <Call extends unknown[], Result>(call: (...call: Call) => Promise<Result>) =>
      (...args: Call): Promise<Result> =>
        life === this.#life ? call(...args) : new Promise(() => {});
    return {
      makeDirectory: guard(() => this.makeDirectory()),
      list: guard((path) => this.list(path)),
      open: guard((path, mode) => this.open(path, mode)),
      rename: guard((source, target) => this.rename(source, target)),
      remove: guard((path) => this.remove(path)),
      syncDirectory: guard((path) => this.syncDirectory(path)),
      fileId: guard((path) => this.fileId(path)),
      freeBytes: guard(() => this.freeBytes()),
      lock: guard((path) => this.lock(path)),
    };
  }

  /** Asked before each operation; undefined lets it pass. */
  setFault(fault: (operation: DiskOperation) => DiskFault | undefined): void {
    this.#fault = fault;
  }

  /** kill -9: locks are free, calls in flight never settle, nothing that was written is lost. */
  kill(): void {
    this.#life++;
    this.#locks = new Set();
    this.#fault = () => undefined;
  }

  /**
   * A power cut: as `kill`, and of each unsynced change only the first `keep(change)` bytes survive
   * (of a truncation or a name: 1 survives, 0 does not). By default nothing does.
   */
  crash(keep: (change: UnsyncedChange) => number = () => 0): void {
    this.kill();
    for (const change of this.#unsyncedNames) {
      if (keep({ kind: 'name', path: change.path, length: 1 }) > 0) {
        applyName(this.#durableNames, change);
      }
    }
    this.#unsyncedNames = [];
    this.#names.clear();
    for (const [path, file] of this.#durableNames) {
      this.#names.set(path, file);
      file.path = path;
      file.crash(path, this.#sectorBytes, keep);
    }
  }

  /** Rot: flips one bit of what is durable and of what is read. */
  flipBit(path: string, bit: number): void {
    const file = this.#find(path);
    const at = Math.floor(bit / 8);
    for (const bytes of [file.current.view, file.durable.view]) {
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8));
    }
  }

  /** All names, sorted. */
  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  contents(path: string): Buffer {
    return Buffer.from(this.#find(path).current.view);
  }

  makeDirectory(): Promise<void> {
    return Promise.resolve();
  }

  list(path: string): Promise<string[]> {
    const prefix = `${path}/`;
    const names = new Set<string>();
    for (const name of this.#names.keys()) {
      if (name.startsWith(prefix)) names.add(name.slice(prefix.length).split('/')[0] ?? '');
    }
    return Promise.resolve([...names]);
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    let handle: DiskFile | undefined;
    await this.#perform({ kind: 'open', path }, () => {
      if (mode === 'create') {
        if (this.#names.has(path)) throw diskError('EEXIST', path);
        const file = new MemoryFile(String(++this.#filesMade));
        this.#changeName({ kind: 'add', path, file });
      }
      // Here, not after the wait: it is a handle of the process that lives now.
      handle = this.#handle(this.#find(path), mode);
    });
    if (!handle) throw diskError('EIO', path);
    return handle;
  }

  rename(source: string, target: string): Promise<void> {
    return this.#perform({ kind: 'rename', path: source }, () => {
      const isDirectory = this.paths().some((path) => path.startsWith(`${source}/`));
      const file = isDirectory ? undefined : this.#find(source);
      this.#changeName({ kind: 'rename', source, path: target, file });
    });
  }

  remove(path: string): Promise<void> {
    return this.#perform({ kind: 'remove', path }, () => {
      this.#find(path);
      this.#changeName({ kind: 'remove', path });
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.#perform({ kind: 'sync-directory', path }, undefined, () => {
      const inside = (name: string): boolean => dirname(name) === path;
      this.#unsyncedNames = this.#unsyncedNames.filter((change) => {
        const isInside = inside(change.path) || (change.kind === 'rename' && inside(change.source));
        if (!isInside) return true;
        applyName(this.#durableNames, change);
        return false;
      });
    });
  }

  fileId(path: string): Promise<string> {
    return Promise.resolve().then(() => this.#find(path).id);
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(this.free);
  }

  lock(path: string): Promise<DirectoryLock> {
    const locks = this.#locks;
    if (locks.has(path)) {
      return Promise.reject(new RefusedToStartError(`the data directory ${path} is in use`));
    }
    locks.add(path);
    return Promise.resolve({
      release: () => {
        locks.delete(path);
        return Promise.resolve();
      },
    });
  }

  #handle(file: MemoryFile, mode: OpenMode): DiskFile {
    const life = this.#life;
    const perform: (...call: PerformCall) => Promise<void> = async (...call) => {
      // A handle dies with the process that opened it.
      if (life !== this.#life) return new Promise(() => {});
      return this.#perform(...call);
    };
    return {
      size: () => Promise.resolve(file.current.view.length),
      read: async (target, position) => {
        let count = 0;
        await perform(
          { kind: 'read', path: file.path, position, length: target.byteLength },
          () => {
            const source = file.current.view;
            const end = Math.min(source.length, position + target.byteLength);
            if (end <= position) return;
            target.set(source.subarray(position, end));
            count = end - position;
          },
        );
        return count;
      },
      write: async (buffers, position) => {
        if (mode === 'read') throw diskError('EBADF', file.path);
        const length = byteLength(buffers);
        let change: (FileChange & { kind: 'data' }) | undefined;
        const write = (bytesMax: number): void => {
          const bytes = Buffer.concat(buffers).subarray(0, bytesMax);
          change = { kind: 'data', position, bytes, durable: false };
          if (bytes.length > 0) file.apply(change);
        };
        await perform({ kind: 'write', path: file.path, position, length }, write, () => {
          if (mode === 'write-dsync' && change) file.settle(change);
        });
        return change?.bytes.length ?? 0;
      },
      sync: () => {
        let last: FileChange | undefined;
        const begin = (): void => {
          last = file.unsynced.at(-1);
        };
        return perform({ kind: 'sync', path: file.path }, begin, () => {
          if (last) file.sync(file.unsynced.indexOf(last) + 1);
        });
      },
      truncate: (length) =>
        perform({ kind: 'truncate', path: file.path, length }, () =>
          file.apply({ kind: 'truncate', size: length }),
        ),
      close: () => Promise.resolve(),
    };
  }

  /**
   * `start` happens at once, `finish` when the operation completes without an error. Of an operation
   * of a life that ended, neither happens and the promise stays unsettled: its process is dead.
   */
  async #perform(...[operation, start, finish]: PerformCall): Promise<void> {
    const life = this.#life;
    const fault = this.#fault(operation);
    // The fault was a crash: nothing of this operation happens.
    if (life !== this.#life) return new Promise(() => {});
    const failsBefore = fault?.error !== undefined && fault.bytes === undefined;
    if (!failsBefore) start?.(fault?.bytes ?? Number.MAX_SAFE_INTEGER);
    await (fault?.until ?? Promise.resolve());
    if (life !== this.#life) return new Promise(() => {});
    if (fault?.error !== undefined) throw diskError(fault.error, operation.path);
    finish?.();
  }

  #find(path: string): MemoryFile {
    const file = this.#names.get(path);
    if (!file) throw diskError('ENOENT', path);
    return file;
  }

  #changeName(change: NameChange): void {
    applyName(this.#names, change);
    this.#unsyncedNames.push(change);
  }
}

function applyName(names: Map<string, MemoryFile>, change: NameChange): void {
  switch (change.kind) {
    case 'add':
      return setName(names, change.path, change.file);
    case 'remove':
      names.delete(change.path);
      return;
    case 'rename':
      if (change.file) {
        names.delete(change.source);
        return setName(names, change.path, change.file);
      }
      const isBelow = (path: string): boolean => path.startsWith(`${change.source}/`);
      for (const [path, file] of Array.from(names).filter(([path]) => isBelow(path))) {
        names.delete(path);
        setName(names, change.path + path.slice(change.source.length), file);
      }
  }
}

function setName(names: Map<string, MemoryFile>, path: string, file: MemoryFile): void {
  file.path = path;
  names.set(path, file);
}

function diskError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: injected or found at ${path}`), { code });
}
