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
import type { DiskCommand, DiskSetting } from './faulty-server.js';
import { deployProcesses, type ProcessDeployment } from './processes.js';
import type { Unsynced } from './write-back-disk.js';

const faultyServerScript = fileURLToPath(new URL('./faulty-server.js', import.meta.url));

export interface FaultyOptions {
  readonly serverOptions?: readonly string[];
  /** What is not synced dies with the process; a write is under way to the disk for so long. */
  readonly writeBack?: { readonly flushMs: number };
  /** Limits of the process, as the shell's `ulimit` takes them: `-n 64`. */
  readonly limitsOf?: (number: number) => string | undefined;
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
  injected(number: number): InjectedFault[];
  /** What was not synced when its process last said so: what a kill since then discarded. */
  unsynced(number: number): Unsynced;
}

export async function deployFaulty(options: FaultyOptions = {}): Promise<FaultyDeployment> {
  const { serverOptions = [], writeBack, limitsOf } = options;
  const processes: FaultyProcess[] = [];
  const latest = new Map<number, FaultyProcess>();
  const faultsAtStart = new Map<number, readonly DiskFault[]>();
  let base = '';
  const reportPath = (number: number): string => join(base, `injected-${number}`);
  const unsyncedPath = (number: number): string => join(base, `unsynced-${number}`);

  const deployment = await deployProcesses(serverOptions, (directory) => {
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
              },
            }),
      };
      rmSync(unsyncedPath(number), { force: true });
      const running = launch(args, setting, limitsOf?.(number));
      processes.push(running);
      latest.set(number, running);
      return running.child;
    };
  });

  const processOf = (number: number): FaultyProcess => {
    const running = latest.get(number);
    if (running === undefined) throw new Error(`server ${number} was never started`);
    return running;
  };
  const command = async (number: number, message: DiskCommand): Promise<void> => {
    const { child } = processOf(number);
    const done = once(child, 'message');
    child.send(message);
    await done;
  };

  return {
    ...deployment,
    processes,
    process: processOf,
    dataPath: (number) => join(base, `server-${number}`),
    setFaultsAtStart: (number, faults) => void faultsAtStart.set(number, faults),
    setFaults: (number, faults) => command(number, { kind: 'faults', faults }),
    setRoom: (number, bytes) => command(number, { kind: 'room', bytes }),
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
