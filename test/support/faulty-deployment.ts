/**
 * Real kv-server processes on disks with faults. Beside what every deployment can do, it commands each
 * server's disk and tells what was injected, what a kill discarded, and how a process ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { DiskFault, InjectedFault } from './faulty-disk.js';
import type { CommandDone, DiskCommand, DiskSetting, NumberedCommand } from './faulty-server.js';
import { deployProcesses, type ProcessDeployment } from './processes.js';
import type { ZooKeeperService } from './zookeeper.js';
import type { Unsynced } from './write-back-disk.js';

const faultyServerScript = fileURLToPath(new URL('./faulty-server.js', import.meta.url));

export interface FaultyOptions {
  readonly serverOptions?: readonly string[];
  /** What is not synced dies with the process; a write is under way to the disk for so long. */
  readonly writeBack?: { readonly flushMs: number; readonly tears?: boolean };
  /** Limits of the process, as the shell's `ulimit` takes them: `-n 64`. */
  readonly limitsOf?: (number: number) => string | undefined;
  /** Instead of one ZooKeeper of its own. */
  readonly service?: ZooKeeperService;
  /** Where a server stands, if not simply on this machine: the arguments that it is started with, changed. */
  readonly argumentsOf?: (number: number, args: readonly string[]) => readonly string[];
  /** Where a server's connections come from. */
  readonly dialHostOf?: (number: number) => string;
  /** Its process is gone, however it ended. */
  readonly onExit?: (number: number) => void;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lastLine: string;
}

/** One process, from its start to its end. */
export interface FaultyProcess {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
  readonly ended: Promise<Ending>;
}

export interface FaultyDeployment extends ProcessDeployment {
  /** The latest process of this server. */
  process(number: number): FaultyProcess;
  /** All that were started. */
  readonly processes: readonly FaultyProcess[];
  /** Its data directory. */
  dataPath(number: number): string;
  /** From its next start on. */
  setFaultsAtStart(number: number, faults: readonly DiskFault[]): void;
  /** Resolves when its disk has them. */
  setFaults(number: number, faults: readonly DiskFault[]): Promise<void>;
  /** How far files may still grow. */
  setRoom(number: number, bytes: number): Promise<void>;
  /** Resolves when its event loop turns again, to how long it did not. */
  block(number: number, ms: number): Promise<number>;
  /** With a disk that writes back: how long a write is under way from now on. */
  setFlush(number: number, ms: number): Promise<void>;
  /** Sets its wall clock ahead of the true time; resolves to how often it was read since the last call. */
  setClockAhead(number: number, aheadMs: number): Promise<number>;
  injected(number: number): InjectedFault[];
  /** What was not synced when its process last said so: what a kill since then discarded. */
  unsynced(number: number): Unsynced;
}

export async function deployFaulty(options: FaultyOptions = {}): Promise<FaultyDeployment> {
  const { serverOptions = [], writeBack, limitsOf, service, argumentsOf, dialHostOf } = options;
  const { onExit = () => {} } = options;
  const processes: FaultyProcess[] = [];
  const latest = new Map<number, FaultyProcess>();
  const faultsAtStart = new Map<number, readonly DiskFault[]>();
  let base = '';
  const reportPath = (number: number): string => join(base, `injected-${number}`);
  const unsyncedPath = (number: number): string => join(base, `unsynced-${number}`);

  const deployment = await deployProcesses(
    serverOptions,
    (directory) => {
      base = directory;
      return (number, args) => {
        const setting: DiskSetting = {
          reportPath: reportPath(number),
          faults: faultsAtStart.get(number) ?? [],
          ...(writeBack === undefined
            ? {}
            : {
                writeBack: {
                  stagingPath: join(base, `staging-${number}`),
                  unsyncedPath: unsyncedPath(number),
                  flushMs: writeBack.flushMs,
                  tears: writeBack.tears ?? false,
                },
              }),
          ...(dialHostOf === undefined ? {} : { dialHost: dialHostOf(number) }),
        };
        rmSync(unsyncedPath(number), { force: true });
        const placed = argumentsOf?.(number, args) ?? args;
        const running = launch(placed, setting, limitsOf?.(number));
        running.child.once('exit', () => onExit(number));
        processes.push(running);
        latest.set(number, running);
        return running.child;
      };
    },
    service,
  );

  const processOf = (number: number): FaultyProcess => {
    const running = latest.get(number);
    if (running === undefined) throw new Error(`server ${number} was never started`);
    return running;
  };
  let commands = 0;
  const command = async (number: number, message: DiskCommand): Promise<number> => {
    const { child, ended } = processOf(number);
    const id = commands++;
    const done = new Promise<number>((resolve) => {
      const onMessage = (answer: CommandDone): void => {
        if (answer.id !== id) return;
        child.off('message', onMessage);
        resolve(answer.value);
      };
      child.on('message', onMessage);
    });
    child.send({ id, command: message } satisfies NumberedCommand);
    const died = ended.then(({ lastLine }): never => {
      throw new Error(`server ${number} ended before it did ${message.kind}: ${lastLine}`);
    });
    // Of interest only as long as the command is waited for.
    died.catch(() => undefined);
    return Promise.race([done, died]);
  };

  return {
    ...deployment,
    processes,
    process: processOf,
    dataPath: (number) => join(base, `server-${number}`),
    setFaultsAtStart: (number, faults) => void faultsAtStart.set(number, faults),
    async setFaults(number, faults) {
      await command(number, { kind: 'faults', faults });
    },
    async setRoom(number, bytes) {
      await command(number, { kind: 'room', bytes });
    },
    block: (number, ms) => command(number, { kind: 'block', ms }),
    async setFlush(number, ms) {
      await command(number, { kind: 'flush', ms });
    },
    setClockAhead: (number, aheadMs) => command(number, { kind: 'clock', aheadMs }),
    injected: (number) => {
      if (!existsSync(reportPath(number))) return [];
      const lines = readFileSync(reportPath(number), 'utf8').split('\n');
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as InjectedFault);
    },
    unsynced: (number) => {
      const text = existsSync(unsyncedPath(number))
        ? readFileSync(unsyncedPath(number), 'utf8')
        : '';
      // A process that was killed before it used its disk had nothing to lose.
      return text === '' ? { bytes: 0, names: 0 } : (JSON.parse(text) as Unsynced);
    },
  };
}

function launch(
  args: readonly string[],
  setting: DiskSetting,
  limits: string | undefined,
): FaultyProcess {
  const program = [process.execPath, faultyServerScript, ...args];
  const shell = ['bash', '-c', `ulimit ${limits} && exec "$@"`, 'bash'];
  const [file, ...rest] = limits === undefined ? program : [...shell, ...program];
  const child = spawn(file as string, rest, {
    env: { ...process.env, CATENA_TEST_DISK: JSON.stringify(setting) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => lines.push(line));
  }
  // 'close', not 'exit': all that it printed has arrived then.
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    lastLine: lines.at(-1) ?? '',
  }));
  return { child, lines, ended };
}
