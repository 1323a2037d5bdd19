/** `kv-server restore`: checks a backup, and makes it the data of a new server. */
import type { BackupMetadata } from '../backup/backup-file.js';
import { verifyBackup } from '../backup/read-backup.js';
import { restoreBackup } from '../backup/restore-backup.js';
import { BadRequestError } from '../errors.js';
import { nodeDisk } from '../log/node-disk.js';
import { formatOpId } from '../protocol/op-id.js';
import { counted } from '../text.js';
import { ProgressBar, type ProgressStream } from './client/progress.js';

export interface RestoreArguments {
  /** The operands after `restore`. */
  readonly operands: readonly string[];
  readonly dataPath: string | undefined;
  /** Only look at the file. */
  readonly isCheck: boolean;
}

/** Writes what it did. `terminal`: where progress is shown, if that is wanted. */
export async function runRestore(
  { operands, dataPath, isCheck }: RestoreArguments,
  write: (text: string) => void,
  terminal: ProgressStream | undefined,
): Promise<void> {
  const [backupPath, ...rest] = operands;
  const isComplete = backupPath !== undefined && rest.length === 0;
  if (!isComplete || (dataPath === undefined) !== isCheck) {
    throw new BadRequestError(
      'give the file and --data, as in: restore monday.backup --data catena-data/5000; ' +
        'or --check alone: restore --check monday.backup',
    );
  }
  const bar = terminal === undefined ? undefined : new ProgressBar(terminal);
  const onProgress = ({ bytes, totalBytes }: { bytes: number; totalBytes: number }): void => {
    bar?.update({ done: bytes, total: totalBytes, bytes });
  };
  try {
    if (dataPath === undefined) {
      const { metadata } = await verifyBackup(nodeDisk, backupPath, onProgress);
      bar?.end();
      write(
        `${contentText(metadata)}The file is whole: all checksums, keys and the state hash fit.\n`,
      );
      return;
    }
    const { metadata, serverId } = await restoreBackup({ backupPath, dataPath, onProgress });
    bar?.end();
    write(contentText(metadata) + nextSteps(metadata, dataPath, serverId));
  } finally {
    bar?.end();
  }
}

function contentText(metadata: BackupMetadata): string {
  const { cluster, clusterId, seq, epoch, keys, createdAt, writtenBy } = metadata;
  return (
    `Backup of cluster '${cluster}' (${clusterId}) at op ${formatOpId({ epoch, seq })}: ` +
    `${counted(keys, 'key')}.\nMade ${createdAt} by ${writtenBy}.\n`
  );
}

function nextSteps({ cluster }: BackupMetadata, dataPath: string, serverId: string): string {
  return (
    `Restored to ${dataPath}, as server ${serverId}.\n` +
    'Start this server first: it founds a new cluster with this data, under a name that no cluster has yet,\n' +
    `for instance: kv-server <zookeeper> <listen> --data ${dataPath} --cluster ${cluster}-restored\n` +
    'Then start the others, on empty directories, under the same name.\n'
  );
}
