/**
 * The snapshots of one server: files of snapshot-file.ts named `<seq>.snapshot`. A writer publishes the
 * new one and only then removes older ones; `open` removes what a crash left.
 *
 * Invariant: there is no falling back to an older one: the log need not reach back to it. So the newest
 * is whole, or the server's data is damaged.
 */

import { join } from 'node:path';
import { DataDamagedError, InvariantError } from '../errors.js';
import type { Disk } from './disk.js';
import { errorCode, removeIfThere } from './disk.js';
import type { LogBase } from './log-recovery.js';
import type { SnapshotMeta, SnapshotReader, SnapshotWriter } from './snapshot-file.js';
import { createSnapshotFile, openSnapshotFile, partialSuffix } from './snapshot-file.js';
import { withStorageFailure } from './storage-failure.js';

export type { SnapshotMeta, SnapshotReader, SnapshotWriter } from './snapshot-file.js';

const snapshotName = /^(\d{16})\.snapshot$/;

export class SnapshotStore {
  readonly #disk: Disk;
  readonly #directory: string;
  #writers = 0;

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
    return withStorageFailure(directory, async () => {
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

  /**
   * Begins a snapshot; several may be under way. When `finish` of it resolves it is durable and the
   * newest, and older ones are gone. `finish` rejects with InvariantError if a newer one is there then.
   */
  async create(meta: SnapshotMeta | LogBase): Promise<SnapshotWriter> {
    const path = join(this.#directory, snapshotFileName(meta.seq));
    const writer = await createSnapshotFile({
      disk: this.#disk,
      path,
      meta,
      // Of two writers for one seq neither may rename the half of the other.
      partialPath: `${path}.${++this.#writers}${partialSuffix}`,
    });
    return {
      get count() {
        return writer.count;
      },
      write: (chunk) => writer.write(chunk),
      abort: () => writer.abort(),
      finish: async () => {
        try {
          await this.#assertNewest(meta.seq);
        } catch (error) {
          await writer.abort();
          throw error;
        }
        await writer.finish();
        await withStorageFailure(this.#directory, () => this.#removeBelow(meta.seq));
      },
    };
  }

  /** The newest snapshot. DataDamagedError for a bad header; RefusedToStartError for its format. */
  async newest(): Promise<SnapshotReader | undefined> {
    for (;;) {
      const seq = await this.#newestSeq();
      if (seq === undefined) return undefined;
      const path = join(this.#directory, snapshotFileName(seq));
      try {
        const reader = await openSnapshotFile(this.#disk, path);
        if (reader.meta.seq === seq) return reader;
        await reader.close();
        throw new DataDamagedError(`the snapshot ${path} holds seq ${reader.meta.seq} (offset 0)`);
      } catch (error) {
        // A newer one took its place meanwhile.
        const cause = error instanceof Error ? error.cause : undefined;
        if (errorCode(cause) !== 'ENOENT' || (await this.#newestSeq()) === seq) throw error;
      }
    }
  }

  /** For a wipe: AFTER `log.reset({ seq: 0, epoch: 0 })` resolved, so that no log lacks its base. */
  async removeAll(): Promise<void> {
    await withStorageFailure(this.#directory, () => this.#removeBelow(Number.MAX_SAFE_INTEGER));
  }

  async #assertNewest(seq: number): Promise<void> {
    const newest = await this.#newestSeq();
    if (newest === undefined || newest <= seq) return;
    throw new InvariantError(`a snapshot of seq ${seq} below the one of seq ${newest}`);
  }

  async #newestSeq(): Promise<number | undefined> {
    return withStorageFailure(this.#directory, async () => (await this.#seqs()).at(-1));
  }

  async #seqs(): Promise<number[]> {
    const seqs: number[] = [];
    for (const name of await this.#disk.list(this.#directory)) {
      const match = snapshotName.exec(name);
      if (match) seqs.push(Number(match[1]));
    }
    return seqs.sort((left, right) => left - right);
  }

  async #removeBelow(seq: number): Promise<void> {
    const old = (await this.#seqs()).filter((other) => other < seq);
    for (const other of old) {
      await removeIfThere(this.#disk, join(this.#directory, snapshotFileName(other)));
    }
    if (old.length > 0) await this.#disk.syncDirectory(this.#directory);
  }
}

function snapshotFileName(seq: number): string {
  return `${String(seq).padStart(16, '0')}.snapshot`;
}
