/**
 * A disk that fails on command: the faults of FAULTS D4 to D7 over any other disk, the real one or the
 * write-back one. Knows nothing of processes; `faulty-server.ts` brings the commands.
 *
 * Invariant: what it injects it reports before the caller sees it, so that no test passes whose fault
 * did not happen.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Disk, DiskFile, OpenMode } from '../../src/log/disk.js';
import { byteLength } from '../../src/log/disk.js';

/** `sync` is whatever makes bytes durable: also a write to a file opened with `write-dsync`. */
export type FaultyOperation = 'open' | 'write' | 'sync' | 'rename' | 'sync-directory';

export interface DiskFault {
  readonly operation: FaultyOperation;
  /** Only where the path contains this. */
  readonly path?: string;
  /** It takes so long; then it fails, or is done. */
  readonly delayMs?: number;
  /** A write takes only so many bytes. */
  readonly bytes?: number;
  /** It fails with this code; a sync after its bytes were written, everything else before. */
  readonly error?: string;
  /** How often; for ever if absent. */
  readonly times?: number;
}

export interface InjectedFault {
  readonly operation: FaultyOperation;
  readonly path: string;
  /** What was done to it. */
  readonly fault: string;
}

export class FaultyDisk implements Disk {
  readonly #inner: Disk;
  readonly #onInjected: (injected: InjectedFault) => void;
  #faults: { fault: DiskFault; left: number }[] = [];
  /** Bytes that files may still grow by. */
  #roomBytes = Number.POSITIVE_INFINITY;

  constructor(inner: Disk, onInjected: (injected: InjectedFault) => void) {
    this.#inner = inner;
    this.#onInjected = onInjected;
  }

  /** In place of those before. */
  setFaults(faults: readonly DiskFault[]): void {
    this.#faults = faults.map((fault) => ({
      fault,
      left: fault.times ?? Number.POSITIVE_INFINITY,
    }));
  }

  /** ENOSPC for whoever grows a file beyond this; what is removed makes room. */
  setRoom(bytes: number): void {
    this.#roomBytes = bytes;
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return this.#inner.list(path);
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    await this.#suffer('open', path);
    return this.#wrap(await this.#inner.open(path, mode), path, mode);
  }

  async rename(source: string, target: string): Promise<void> {
    await this.#suffer('rename', source);
    const freed = await this.#sizeOf(target);
    await this.#inner.rename(source, target);
    this.#roomBytes += freed;
  }

  async remove(path: string): Promise<void> {
    const freed = await this.#sizeOf(path);
    await this.#inner.remove(path);
    this.#roomBytes += freed;
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#suffer('sync-directory', path);
    return this.#inner.syncDirectory(path);
  }

  fileId(path: string): Promise<string> {
    return this.#inner.fileId(path);
  }

  async freeBytes(path: string): Promise<number> {
    return Math.max(0, Math.min(this.#roomBytes, await this.#inner.freeBytes(path)));
  }

  lock(path: string) {
    return this.#inner.lock(path);
  }

  #wrap(file: DiskFile, path: string, mode: OpenMode): DiskFile {
    return {
      size: () => file.size(),
      read: (target, position) => file.read(target, position),
      write: async (buffers, position) => {
        const wanted = byteLength(buffers);
        const fault = await this.#suffer('write', path, wanted);
        const asked = Math.min(wanted, fault?.bytes ?? wanted);
        const size = await file.size();
        const allowed = this.#takeRoom(path, size, position, asked);
        const written = await file.write(firstBytes(buffers, allowed), position);
        if (mode === 'write-dsync') await this.#suffer('sync', path);
        return written;
      },
      sync: async () => {
        await file.sync();
        await this.#suffer('sync', path);
      },
      truncate: async (length) => {
        const size = await file.size();
        await file.truncate(length);
        this.#roomBytes += size - length;
      },
      close: () => file.close(),
    };
  }

  /** The next fault for this operation happens now: waits, reports, throws. */
  async #suffer(
    operation: FaultyOperation,
    path: string,
    wanted = 0,
  ): Promise<DiskFault | undefined> {
    const found = this.#faults.find(({ fault, left }) => {
      if (left === 0 || fault.operation !== operation) return false;
      if (fault.bytes !== undefined && fault.bytes >= wanted) return false;
      return path.includes(fault.path ?? '');
    });
    if (found === undefined) return undefined;
    found.left -= 1;
    const { fault } = found;
    const { delayMs, bytes, error } = fault;
    const short = bytes === undefined ? '' : `${bytes} of ${wanted} bytes`;
    this.#report(operation, path, error ?? (short || `${delayMs} ms`));
    if (delayMs !== undefined) await sleep(delayMs);
    if (error !== undefined) throw diskError(error, path);
    return fault;
  }

  /** How many of these bytes there is room for; as the kernel does, an error only if for none. */
  #takeRoom(path: string, size: number, position: number, length: number): number {
    const growth = Math.max(0, position + length - size);
    if (growth <= this.#roomBytes) {
      this.#roomBytes -= growth;
      return length;
    }
    const allowed = length - growth + this.#roomBytes;
    this.#report('write', path, 'ENOSPC');
    if (allowed <= 0) throw diskError('ENOSPC', path);
    this.#roomBytes = 0;
    return allowed;
  }

  async #sizeOf(path: string): Promise<number> {
    try {
      const file = await this.#inner.open(path, 'read');
      const size = await file.size();
      await file.close();
      return size;
    } catch {
      return 0;
    }
  }

  #report(operation: FaultyOperation, path: string, fault: string): void {
    this.#onInjected({ operation, path, fault });
  }
}

function firstBytes(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  return count === byteLength(buffers) ? buffers : [Buffer.concat(buffers).subarray(0, count)];
}

function diskError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: injected at ${path}`), { code });
}
