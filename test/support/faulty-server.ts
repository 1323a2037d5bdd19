/**
 * The program kv-server, on a disk with faults: `node faulty-server.js <arguments of kv-server>`, started
 * with an IPC channel. What the disk is stands in CATENA_TEST_DISK (a DiskSetting as JSON); commands come
 * over the channel, each is answered when it is carried out. What the parent must still know after kill -9
 * goes to files: each injected fault a line, and what is not synced as it changes.
 *
 * Its clock and its event loop obey too, and its outgoing connections can be told from those of others.
 */
import { appendFileSync, openSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { runToExit } from '../../src/cli/server-main.js';
import { nodeDisk } from '../../src/log/node-disk.js';
import { nodeRuntime } from '../../src/runtime/node-runtime.js';
import { enterRuntime } from '../../src/runtime/runtime.js';
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
    /** Whether the first half of a write is on the disk while the rest is under way: a kill tears it. */
    readonly tears?: boolean;
  };
  /** Where its connections come from. */
  readonly dialHost?: string;
  /** From the start, so that recovery meets them too. */
  readonly faults: readonly DiskFault[];
}

export type DiskCommand =
  | { readonly kind: 'faults'; readonly faults: readonly DiskFault[] }
  | { readonly kind: 'room'; readonly bytes: number }
  /** The event loop stands still for so long. */
  | { readonly kind: 'block'; readonly ms: number }
  /** From now on a write is under way to the disk for so long. */
  | { readonly kind: 'flush'; readonly ms: number }
  /** The wall clock is so far ahead of the true time; the answer is how often it was read since the last such command. */
  | { readonly kind: 'clock'; readonly aheadMs: number };

export interface NumberedCommand {
  readonly id: number;
  readonly command: DiskCommand;
}

export interface CommandDone {
  readonly id: number;
  readonly value: number;
}

const unsyncedTextBytes = 64;
let flushMs = 0;

async function main(): Promise<void> {
  const setting = JSON.parse(process.env['CATENA_TEST_DISK'] as string) as DiskSetting;
  const { writeBack, reportPath } = setting;
  const inner = writeBack === undefined ? nodeDisk : await openWriteBack(writeBack);
  const disk = new FaultyDisk(inner, (injected) => {
    appendFileSync(reportPath, `${JSON.stringify(injected)}\n`);
  });
  disk.setFaults(setting.faults);
  const clock = takeWallClock();
  if (setting.dialHost !== undefined) dialFrom(setting.dialHost);
  const carryOut = (command: DiskCommand): number => {
    switch (command.kind) {
      case 'faults':
        disk.setFaults(command.faults);
        return 0;
      case 'room':
        disk.setRoom(command.bytes);
        return 0;
      case 'block':
        return standStill(command.ms);
      case 'flush':
        return setFlush(command.ms);
      case 'clock':
        return clock.jump(command.aheadMs);
    }
  };
  process.on('message', ({ id, command }: NumberedCommand) => {
    process.send?.({ id, value: carryOut(command) } satisfies CommandDone);
  });
  // Whoever started it is gone: a test that was killed leaves no server behind.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  runToExit(process.argv.slice(2), { disk });
}

function openWriteBack(options: NonNullable<DiskSetting['writeBack']>) {
  const { stagingPath, unsyncedPath, tears = false } = options;
  flushMs = options.flushMs;
  // Of a fixed length, so that it is overwritten in one write and never torn.
  const descriptor = openSync(unsyncedPath, 'w');
  return openWriteBackDisk({
    stagingPath,
    onUnsynced: (unsynced) => {
      writeSync(descriptor, JSON.stringify(unsynced).padEnd(unsyncedTextBytes), 0);
    },
    tears,
    flush: async () => {
      if (flushMs > 0) await sleep(flushMs);
    },
  });
}

/** Date.now() is this program's from here on; the monotonic clock goes on as it is. */
function takeWallClock(): { jump(aheadMs: number): number } {
  const trueNow = Date.now;
  let aheadMs = 0;
  let reads = 0;
  Date.now = () => {
    reads += 1;
    return trueNow() + aheadMs;
  };
  return {
    jump(toAheadMs) {
      aheadMs = toAheadMs;
      const before = reads;
      reads = 0;
      return before;
    },
  };
}

function setFlush(ms: number): number {
  flushMs = ms;
  return ms;
}

function standStill(ms: number): number {
  const startedMs = performance.now();
  while (performance.now() < startedMs + ms);
  return performance.now() - startedMs;
}

function dialFrom(localAddress: string): void {
  enterRuntime({
    ...nodeRuntime,
    dial({ host, port }, { keepsAlive = true } = {}) {
      const socket = connect({ host, port, localAddress, noDelay: true, keepAlive: true });
      if (!keepsAlive) socket.unref();
      return socket;
    },
  });
}

await main();
