/**
 * The next segment file, written full of zeros and synced in the background before it is needed, so
 * that a write to the log changes no metadata of the file system. One at a time. It writes in small
 * synced steps: one large sync would stand in the way of the log's own.
 *
 * A failure is reported once, at once, and again to whoever takes: there is no log without segments.
 */

import { join } from 'node:path';
import type { Disk } from './disk.js';
import { writeFully } from './disk.js';

const spareName = 'spare.new';
const stepBytes = 1024 * 1024;

export class SpareSegment {
  readonly path: string;
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #onError: (error: unknown) => void;
  #prepared: Promise<void> | undefined;
  #closed = false;

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
    this.#prepared = this.#write();
    this.#prepared.catch(this.#onError);
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
    const zeros = Buffer.alloc(Math.min(stepBytes, this.#segmentBytes));
    const file = await this.#disk.open(this.path, 'create');
    try {
      for (let at = 0; at < this.#segmentBytes && !this.#closed; at += zeros.length) {
        const length = Math.min(zeros.length, this.#segmentBytes - at);
        await writeFully(file, [zeros.subarray(0, length)], at);
        await file.sync();
      }
    } finally {
      await file.close();
    }
  }
}
