/** Backups for tests: on a disk in memory, of a fake chain or of entries by hand. */
import { type BackupMetadata, formatBackupMetadata } from '../../src/backup/backup-file.js';
import { writeBackup, type BackupOptions } from '../../src/backup/write-backup.js';
import { connect } from '../../src/client/connect.js';
import type { KvClient } from '../../src/client/kv-client.js';
import { MemoryDisk } from '../../src/log/memory-disk.js';
import { createSnapshotFile } from '../../src/log/snapshot-file.js';
import { Machine } from '../../src/machine/machine.js';
import { encodePage, type TableEntry } from '../../src/protocol/messages.js';
import { FakeChain } from '../client/fake-chain.js';

export const backupPath = '/backups/monday.backup';
export const partialPath = `${backupPath}.partial`;

/** A fake chain of one server that holds `count` keys, and a client of it. */
export async function chainOf(count: number): Promise<{ chain: FakeChain; client: KvClient }> {
  const address = '127.0.0.1:1';
  const chain = new FakeChain([address]);
  for (let n = 1; n <= count; n++) {
    chain.table.set(`key ${n}`, { value: Buffer.from(`value ${n}`), version: n });
  }
  chain.seq = count + 3;
  chain.stateHash = stateHashOf(entriesOf(chain));
  return { chain, client: await connect({ servers: [address], dial: chain.dial }) };
}

export function entriesOf(chain: FakeChain): TableEntry[] {
  return [...chain.table].map(([key, { value, version }]) => ({
    key: Buffer.from(key),
    value,
    version,
  }));
}

export function stateHashOf(entries: readonly TableEntry[]): string {
  const machine = new Machine();
  for (const { key, value, version } of entries) machine.load(key, value, version);
  return machine.stateHash;
}

export function backUp(client: KvClient, disk: MemoryDisk, more: Partial<BackupOptions> = {}) {
  const about = { path: backupPath, cluster: 'orders', writtenBy: 'a test' };
  return writeBackup(client, { ...about, disk, ...more });
}

/** A whole backup file of a chain with `count` keys, and the disk that it lies on. */
export async function diskWithBackup(count: number): Promise<MemoryDisk> {
  const { client } = await chainOf(count);
  const disk = new MemoryDisk();
  await backUp(client, disk);
  await client.close();
  return disk;
}

/** Writes a backup of these entries whose head may say anything. */
export async function writeByHand(
  disk: MemoryDisk,
  entries: readonly TableEntry[],
  change: Partial<BackupMetadata> & Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const metadata: BackupMetadata = {
    clusterId: 'c',
    cluster: 'orders',
    seq: 100,
    epoch: 7,
    runs: [
      { epoch: 3, lastSeq: 60 },
      { epoch: 7, lastSeq: 100 },
    ],
    keys: entries.length,
    stateHash: change.stateHash === undefined ? stateHashOf(entries) : '',
    createdAt: '2026-01-01T00:00:00.000Z',
    writtenBy: 'a test',
  };
  const meta = { ...formatBackupMetadata(metadata), ...change };
  const writer = await createSnapshotFile({ disk, path: backupPath, meta });
  for (const entry of entries) await writer.write(encodePage({ entries: [entry], last: false }));
  await writer.finish();
}

/** A file with this content, durable. */
export async function writeFile(
  disk: MemoryDisk,
  path: string,
  content: Uint8Array,
): Promise<void> {
  const file = await disk.open(path, 'create');
  if (content.length > 0) await file.write([content], 0);
  await file.sync();
  await file.close();
  await disk.syncDirectory(path.slice(0, path.lastIndexOf('/')));
}
