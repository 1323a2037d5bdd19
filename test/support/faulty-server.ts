/**
 * The program kv-server, on a disk with faults: `node faulty-server.js <arguments of kv-server>`, started
 * with an IPC channel. What the disk is stands in CATENA_TEST_DISK (a DiskSetting as JSON); commands come
 * over the channel, each is answered when it is carried out. What the parent must still know after kill -9
 * goes to files: each injected fault a line, and what is not synced as it changes.
 */
import { appendFileSync, openSync, writeSync } from 'node:fs';
import { runToExit } from '../../src/cli/server-main.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { type DiskFault, FaultyDisk } from './faulty-disk.js';
import { openWriteBackDisk } from './write-back-disk.js';
import { setTimeout as sleep } from 'node:timers/promises';

export interface DiskSetting {
  /** A JSON line for each injected fault. */
  readonly reportPath: string;
  readonly writeBack?: {
    readonly stagingPath: string;
    /** Holds what would be lost now: an Unsynced as JSON. */
    readonly unsyncedPath: string;
    /** How long a write is under way to the disk. */
    readonly flushMs: number;
  };
  /** From the start, so that recovery meets them too. */
  readonly faults: readonly DiskFault[];
}

export type DiskCommand =
  | { readonly kind: 'faults'; readonly faults: readonly DiskFault[] }
  | { readonly kind: 'room'; readonly bytes: number };

const unsyncedTextBytes = 64;

async function main(): Promise<void> {
  const setting = JSON.parse(process.env['CATENA_TEST_DISK'] as string) as DiskSetting;
  const { writeBack, reportPath } = setting;
  const inner = writeBack === undefined ? nodeDisk : await openWriteBack(writeBack);
  const disk = new FaultyDisk(inner, (injected) => {
    appendFileSync(reportPath, `${JSON.stringify(injected)}\n`);
  });
  disk.setFaults(setting.faults);
  process.on('message', (command: DiskCommand) => {
    if (command.kind === 'faults') disk.setFaults(command.faults);
    else disk.setRoom(command.bytes);
    process.send?.('done');
  });
  // Whoever started it is gone: a test that was killed leaves no server behind.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  runToExit(process.argv.slice(2), { disk });
}

function openWriteBack(options: NonNullable<DiskSetting['writeBack']>) {
  const { stagingPath, unsyncedPath, flushMs } = options;
  // Of a fixed length, so that it is overwritten in one write and never torn.
  const descriptor = openSync(unsyncedPath, 'w');
  return openWriteBackDisk({
    stagingPath,
    onUnsynced: (unsynced) => {
      writeSync(descriptor, JSON.stringify(unsynced).padEnd(unsyncedTextBytes), 0);
    },
    ...(flushMs > 0 ? { flush: () => sleep(flushMs) } : {}),
  });
}

await main();
