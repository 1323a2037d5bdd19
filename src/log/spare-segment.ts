/**
 * The next segment file, written full of zeros and synced in the background before it is needed, so
 * that a write to the log changes no metadata of the file system. One at a time. It writes in small
 * synced steps: one large sync would stand in the way of the log's own.
 *
 * A failure is reported at once. If the disk is full the half of a file is removed, so that others can
 * write; whoever takes it tries once more. After any other failure whoever takes is told the same: there
 * is no log without segments.
 */

import { join } from 'node:path';
import type { Disk, DiskFile } from './disk.js';
import { removeIfThere, writeFully } from './disk.js';
import { isDiskFull } from './storage-failure.js';

const spareName = 'spare.new';
const stepBytes = 1024 * 1024;

export class SpareSegment {
  readonly path: string;
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #onError: (error: unknown) => void;
  #prepared: Promise<void> | undefined;
  #closed = false;

  /** `onError` is not told of a full disk that whoever takes is told of. */
  constructor(
    disk: Disk,
    directory: string,
    segmentBytes: number,
    onError: (error: unknown) => void,
  ) {
    this.#disk = disk;
    this.path = join(directory, spareName);
    this.#segmentBytes = segmentBytes;
    this.#onError = onError;
  }

  /** Begins to prepare one, unless one is there or under way. */
  prepare(): void {
    if (this.#closed || this.#prepared) return;
    const prepared = this.#write();
    this.#prepared = prepared;
    prepared.catch((error: unknown) => {
      if (!isDiskFull(error)) return this.#onError(error);
      if (this.#prepared !== prepared) return;
      this.#prepared = undefined;
      this.#onError(error);
    });
  }

  /** Resolves when the file at `path` is ready; the caller renames it, then calls `prepare` again. */
  async take(): Promise<void> {
    this.prepare();
    const prepared = this.#prepared;
    this.#prepared = undefined;
    await prepared;
  }

  /** Stops preparing. An unfinished file is removed by the next recovery. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#prepared?.catch(() => {});
  }

  async #write(): Promise<void> {
    await removeIfThere(this.#disk, this.path);
    const file = await this.#disk.open(this.path, 'create');
    try {
      await this.#fill(file);
    } catch (error) {
      await file.close();
      if (isDiskFull(error)) await removeIfThere(this.#disk, this.path).catch(() => {});
      throw error;
    }
    await file.close();
  }

  async #fill(file: DiskFile): Promise<void> {
    const zeros = Buffer.alloc(Math.min(stepBytes, this.#segmentBytes));
    for (let at = 0; at < this.#segmentBytes && !this.#closed; at += zeros.length) {
      const length = Math.min(zeros.length, this.#segmentBytes - at);
      await writeFully(file, [zeros.subarray(0, length)], at);
      await file.sync();
    }
  }
}
