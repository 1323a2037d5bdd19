/**
 * The data directory of one server: its lock, its name (identity.json) and its small metadata
 * (meta.json); log/ and snapshots/ below it belong to SegmentedLog and SnapshotStore.
 *
 * Invariants: one process at a time holds it; a server's log never lives under another name: data
 * without an identity is damage, not a new server.
 */

import { join, resolve } from 'node:path';
import { CatenaError, DataDamagedError, InvariantError, RefusedToStartError } from '../errors.js';
import { runtime } from '../runtime/runtime.js';
import { readCheckedJson, writeCheckedJson } from './checked-json.js';
import type { DirectoryLock, Disk } from './disk.js';
import { nodeDisk } from './node-disk.js';
import { copiedDirectory, createOrigin, isOrigin } from './origin.js';
import { storageFailure } from './storage-failure.js';

export interface Identity {
  /** uuid, made with the directory. */
  readonly serverId: string;
  /** Once the server belongs to a cluster. */
  readonly clusterId?: string;
  /** File id of the file `origin` (origin.ts); absent in a directory of an older release. */
  readonly origin?: string;
  /** The data comes from a backup; until the server belongs to a cluster. */
  readonly restored?: Restored;
}

/** Which point of whose history was restored here. */
export interface Restored {
  /** Of the cluster that the backup is of. */
  readonly clusterId: string;
  /** Of the last op, `epoch-seq`. */
  readonly opId: string;
  /** False from before the first byte of data until all of it is durable: there is nothing to start from. */
  readonly isWhole: boolean;
}

export interface DataDirectoryOptions {
  readonly path: string;
  /** Absent: the real disk. */
  readonly disk?: Disk;
  /** Absent: a random uuid. */
  readonly createServerId?: () => string;
  /** For `restore`, of a directory without an identity: what is about to be put there. */
  readonly restoring?: Omit<Restored, 'isWhole'>;
  /** The operator says that the directory was moved, and that no other copy of it is left. */
  readonly acceptMoved?: boolean;
}

/**
 * Opens it, and makes it if it is absent. Throws RefusedToStartError while another process, or this
 * one, has it open, or for the format of another release; DataDamagedError; StorageError.
 */
export async function openDataDirectory(options: DataDirectoryOptions): Promise<DataDirectory> {
  const { disk = nodeDisk, createServerId = () => runtime.uuid() } = options;
  const path = resolve(options.path);
  let lock: DirectoryLock | undefined;
  try {
    await disk.makeDirectory(path);
    lock = await disk.lock(path);
    // What a process that was killed had renamed but not synced is read here, and must be durable before it counts.
    await disk.syncDirectory(path);
    const found = parseIdentity(await readCheckedJson(disk, join(path, identityName)), path);
    if (found?.restored?.isWhole === false) throw halfRestored(path);
    if (found) {
      const identity = await withOrigin(disk, path, found, options.acceptMoved ?? false);
      return new DataDirectory(disk, path, lock, identity, false);
    }
    await assertNoData(disk, path);
    const { restoring } = options;
    const identity: Identity = {
      serverId: createServerId(),
      // A name is noted only with the file that proves its place.
      origin: await createOrigin(disk, path),
      ...(restoring === undefined ? {} : { restored: { ...restoring, isWhole: false } }),
    };
    await writeCheckedJson(disk, join(path, identityName), identity);
    return new DataDirectory(disk, path, lock, identity, true);
  } catch (error) {
    await lock?.release();
    throw asStorageError(path, error);
  }
}

/**
 * The identity of an existing directory. Notes the origin of one that has none, and of one that was moved
 * if that is accepted; until it is noted, nothing has changed.
 */
async function withOrigin(
  disk: Disk,
  path: string,
  found: Identity,
  acceptMoved: boolean,
): Promise<Identity> {
  if (found.origin !== undefined) {
    if (await isOrigin(disk, path, found.origin)) return found;
    if (!acceptMoved) throw copiedDirectory(path);
  }
  const identity = { ...found, origin: await createOrigin(disk, path) };
  await writeCheckedJson(disk, join(path, identityName), identity);
  return identity;
}

export const identityName = 'identity.json';
const metaName = 'meta.json';
const logName = 'log';
const snapshotsName = 'snapshots';

export class DataDirectory {
  readonly disk: Disk;
  readonly path: string;
  /** The identity was made by this opening: there was nothing before. */
  readonly isNew: boolean;
  readonly #lock: DirectoryLock;
  #identity: Identity;
  #lastWrite: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(disk: Disk, path: string, lock: DirectoryLock, identity: Identity, isNew: boolean) {
    this.disk = disk;
    this.path = path;
    this.isNew = isNew;
    this.#lock = lock;
    this.#identity = identity;
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** For SegmentedLog.open. */
  get logPath(): string {
    return join(this.path, logName);
  }

  /** For SnapshotStore.open. */
  get snapshotsPath(): string {
    return join(this.path, snapshotsName);
  }

  /** Notes the cluster in the identity; durable when it resolves. InvariantError to change it. */
  async setClusterId(clusterId: string): Promise<void> {
    const { serverId, clusterId: present, restored: _, ...rest } = this.#identity;
    if (present === clusterId) return;
    if (present !== undefined) {
      throw new InvariantError(`server ${serverId} of cluster ${present} cannot join ${clusterId}`);
    }
    await this.#setIdentity({ ...rest, serverId, clusterId });
  }

  /** What was being restored is all here and durable; so is this when it resolves. */
  async finishRestore(): Promise<void> {
    const { restored } = this.#identity;
    if (restored === undefined) throw new InvariantError(`nothing is restored into ${this.path}`);
    await this.#setIdentity({ ...this.#identity, restored: { ...restored, isWhole: true } });
  }

  async #setIdentity(identity: Identity): Promise<void> {
    await this.#write(identityName, identity);
    this.#identity = identity;
  }

  /** What `writeMeta` wrote last; undefined if never. DataDamagedError, RefusedToStartError. */
  async readMeta(): Promise<Record<string, unknown> | undefined> {
    try {
      return await readCheckedJson(this.disk, join(this.path, metaName));
    } catch (error) {
      throw asStorageError(this.path, error);
    }
  }

  /** Reads identity and metadata and checks them. As `readMeta`; DataDamagedError if one is gone. */
  async verify(): Promise<void> {
    await this.readMeta();
    const path = join(this.path, identityName);
    try {
      if (!(await readCheckedJson(this.disk, path))) throw new DataDamagedError(`${path} is gone`);
    } catch (error) {
      throw asStorageError(this.path, error);
    }
  }

  /** Atomic, durable when it resolves; calls are carried out in their order. StorageError: fatal. */
  writeMeta(meta: object): Promise<void> {
    return this.#write(metaName, meta);
  }

  /** Waits for writes under way and gives the lock back. Close the log before. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#lastWrite.catch(() => {});
    await this.#lock.release();
  }

  #write(name: string, value: object): Promise<void> {
    if (this.#isClosed) return Promise.reject(new InvariantError(`${this.path} is closed`));
    // After a failed write all later ones fail too: what the disk holds is not known any more (R14).
    const write = this.#lastWrite.then(() =>
      writeCheckedJson(this.disk, join(this.path, name), value),
    );
    this.#lastWrite = write.catch((error: unknown) => {
      throw asStorageError(this.path, error);
    });
    this.#lastWrite.catch(() => {});
    return this.#lastWrite;
  }
}

function parseIdentity(
  content: Record<string, unknown> | undefined,
  path: string,
): Identity | undefined {
  if (!content) return undefined;
  const { serverId, clusterId, origin } = content;
  if (typeof serverId !== 'string') {
    throw new DataDamagedError(`${join(path, identityName)} names no server`);
  }
  const restored = parseRestored(content['restored'], path);
  return {
    serverId,
    ...(typeof clusterId === 'string' ? { clusterId } : {}),
    ...(typeof origin === 'string' ? { origin } : {}),
    ...(restored === undefined ? {} : { restored }),
  };
}

function parseRestored(value: unknown, path: string): Restored | undefined {
  if (value === undefined) return undefined;
  const { clusterId, opId, isWhole } = (value ?? {}) as Record<string, unknown>;
  if (typeof clusterId !== 'string' || typeof opId !== 'string' || typeof isWhole !== 'boolean') {
    throw new DataDamagedError(`${join(path, identityName)} does not say what was restored`);
  }
  return { clusterId, opId, isWhole };
}

function halfRestored(path: string): RefusedToStartError {
  return new RefusedToStartError(
    `a restore into ${path} broke off before all data was there; delete that directory and run ` +
      "'kv-server restore' again",
  );
}

/** Data is written only after the identity: what has no name but data has lost it. */
async function assertNoData(disk: Disk, path: string): Promise<void> {
  const names = await disk.list(path);
  const data = names.filter((name) => [metaName, logName, snapshotsName].includes(name));
  if (data.length === 0) return;
  throw new DataDamagedError(
    `${path} has data (${data.join(', ')}) but no ${identityName}, the name of the server that it is of`,
  );
}

function asStorageError(path: string, error: unknown): Error {
  if (error instanceof CatenaError) return error;
  return storageFailure(`the data directory ${path}`, path, error);
}
