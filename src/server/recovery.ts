/**
 * What a server finds on its disk at start: the newest snapshot, the log after it, and what it last
 * adopted; and the table rebuilt from what is known to be committed. The rest of the log is the
 * suffix that the chain will settle.
 */
import { type Configuration, parseConfiguration } from '../coordination/configuration.js';
import { DataDamagedError, ProtocolError } from '../errors.js';
import { recentBytesMax } from '../limits.js';
import { type DataDirectory, openDataDirectory } from '../log/data-directory.js';
import type { Disk } from '../log/disk.js';
import { type LogListener, SegmentedLog, segmentBytesDefault } from '../log/segmented-log.js';
import { type SnapshotReader, SnapshotStore } from '../log/snapshot-store.js';
import { Machine } from '../machine/machine.js';
import { entryOf } from '../protocol/entry-codec.js';
import { decodePage } from '../protocol/messages.js';
import type { Entry } from '../replica/entry.js';
import { EntryLog } from '../replica/entry-log.js';
import { EpochRuns } from '../replica/epoch-runs.js';
import type { Founding } from '../replica/founding.js';
import { rarely } from '../runtime/runtime.js';
import type { CheckpointState } from './snapshots/checkpoints.js';
import { parseMetadata } from './snapshots/metadata.js';

export interface Recovered {
  readonly data: DataDirectory;
  readonly log: SegmentedLog;
  readonly snapshots: SnapshotStore;
  /** The newest of them. */
  readonly checkpoint: CheckpointState;
  /** Replaced when a snapshot is installed: the table before it must not stay in memory. */
  machine: Machine;
  readonly entryLog: EntryLog;
  readonly lastKnown: Configuration | undefined;
  /** The data comes from a backup and belongs to no cluster yet. */
  readonly founding: Founding | undefined;
}

/** Takes the directory's lock and reads everything. Throws the typed errors of src/log. */
export async function recover(
  path: string,
  listener: LogListener,
  {
    disk,
    segmentBytes = segmentBytesDefault,
    acceptMoved = false,
  }: { disk?: Disk; segmentBytes?: number; acceptMoved?: boolean } = {},
): Promise<Recovered> {
  const data = await openDataDirectory({
    path,
    acceptMoved,
    ...(disk === undefined ? {} : { disk }),
  });
  try {
    return await recoverFrom(data, listener, segmentBytes);
  } catch (error) {
    await data.close();
    throw error;
  }
}

async function recoverFrom(
  data: DataDirectory,
  listener: LogListener,
  segmentBytes: number,
): Promise<Recovered> {
  const lastKnown = await readLastKnown(data);
  const snapshots = await SnapshotStore.open({ disk: data.disk, directory: data.snapshotsPath });
  const newest = await snapshots.newest();
  const base = newest === undefined ? { seq: 0, epoch: 0 } : newest.meta;
  const runs = new EpochRuns(newest === undefined ? [] : parseMetadata(newest.meta).runs);
  const checkpoint = { seq: base.seq, bytes: newest?.bytes ?? 0 };
  const machine = newest === undefined ? new Machine() : await machineFrom(newest);
  let commit = base.seq;
  const suffix: Entry[] = [];
  const log = await SegmentedLog.open({
    disk: data.disk,
    directory: data.logPath,
    listener,
    base,
    segmentBytes,
    onRecord: (record) => {
      const entry = entryOf(record);
      runs.extend(entry.epoch, entry.lastSeq);
      suffix.push(entry);
      // A record proves what its head had committed when it was made.
      commit = Math.max(commit, entry.commit);
      while (suffix[0] !== undefined && suffix[0].lastSeq <= commit) {
        machine.apply(suffix.shift() as Entry);
      }
    },
  });
  const entryLog = new EntryLog(
    runs.upTo(runs.lastSeq),
    machine.appliedSeq,
    suffix,
    rarely('few entries in memory', 0, recentBytesMax),
  );
  return {
    data,
    log,
    snapshots,
    checkpoint,
    machine,
    entryLog,
    lastKnown,
    founding: foundingOf(data),
  };
}

function foundingOf({ identity: { restored } }: DataDirectory): Founding | undefined {
  if (restored === undefined) return undefined;
  const { clusterId, opId } = restored;
  return { reason: `founded with a backup of cluster ${clusterId} at op ${opId}` };
}

/**
 * A new machine with the table of this snapshot. Throws DataDamagedError, also if what was written was
 * damaged in the memory of the server that wrote it: every sum of the file is right then.
 */
export async function machineFrom(reader: SnapshotReader): Promise<Machine> {
  const machine = new Machine(reader.meta.seq);
  const { seq, stateHash } = reader.meta;
  try {
    for await (const chunk of reader.chunks()) {
      for (const { key, value, version } of decodePage(chunk).entries) {
        machine.load(key, value, version);
      }
    }
  } catch (error) {
    if (!(error instanceof ProtocolError || error instanceof RangeError)) throw error;
    throw new DataDamagedError(`the snapshot of seq ${seq} holds what is no table`, {
      cause: error,
    });
  } finally {
    await reader.close();
  }
  if (typeof stateHash === 'string' && stateHash !== machine.stateHash) {
    throw new DataDamagedError(
      `the snapshot of seq ${seq} holds a state with the hash ${machine.stateHash}, its metadata says ${stateHash}`,
    );
  }
  return machine;
}

export async function writeLastKnown(
  data: DataDirectory,
  configuration: Configuration,
): Promise<void> {
  if (data.identity.clusterId === undefined) await data.setClusterId(configuration.clusterId);
  await data.writeMeta({ configuration });
}

async function readLastKnown(data: DataDirectory): Promise<Configuration | undefined> {
  const meta = await data.readMeta();
  if (meta === undefined) return undefined;
  const configuration = parseConfiguration(JSON.stringify(meta['configuration']));
  if (configuration === undefined) {
    throw new DataDamagedError(`${data.path}: the metadata holds no valid configuration`);
  }
  return configuration;
}
