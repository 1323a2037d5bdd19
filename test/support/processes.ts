/** A cluster of real kv-server processes on this machine, with a real ZooKeeper. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ChainWatch, type ClientOutcome, type Deployment } from './deployment.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import type { WorkloadOptions } from './workload.js';
import { freePort, runZooKeeper, type ZooKeeperService } from './zookeeper.js';

export const serverScript = scriptPath('../../src/cli/kv-server.js');
const clientScript = scriptPath('../../src/cli/kv-client.js');
const workloadScript = scriptPath('./workload.js');

export interface ProcessDeployment extends Deployment {
  readonly zookeeper: ZooKeeperService;
  readonly directory: string;
  /** As if ZooKeeper had been wiped. */
  deleteChain(): Promise<void>;
}

/** Starts the process of one server; what it prints must be piped. */
export type Launch = (number: number, args: readonly string[]) => ChildProcess;

/** Starts ZooKeeper unless there is one, no server yet; `remove` removes it in either case. Throws where none can be had; see `missingZooKeeper`. */
export async function deployProcesses(
  serverOptions: readonly string[] = [],
  makeLaunch: (directory: string) => Launch = () => launchServer,
  service?: ZooKeeperService,
): Promise<ProcessDeployment> {
  const zookeeper = service ?? (await runZooKeeper());
  const directory = await mkdtemp(join(tmpdir(), 'catena-servers-'));
  const launch = makeLaunch(directory);
  const chain = new ChainWatch();
  const ports = new Map<number, number>();
  const running = new Map<number, ChildProcess>();

  const processOf = (number: number): ChildProcess => {
    const child = running.get(number);
    if (child === undefined) throw new Error(`server ${number} does not run`);
    return child;
  };
  const end = async (number: number, signal: NodeJS.Signals): Promise<number | null> => {
    const child = processOf(number);
    running.delete(number);
    // It ended by itself: there is no event to wait for.
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  };
  const addresses = (): string[] => [...ports.values()].map((port) => `127.0.0.1:${port}`);

  return {
    zookeeper,
    directory,
    chain,
    address: (number) => `127.0.0.1:${ports.get(number)}`,
    async start(number) {
      const port = ports.get(number) ?? (await freePort());
      ports.set(number, port);
      const data = join(directory, `server-${number}`);
      const args = [zookeeper.connectString, String(port), '--data', data];
      const child = launch(number, [...args, ...serverOptions]);
      running.set(number, child);
      await untilServing(child, chain);
    },
    async kill(number) {
      await end(number, 'SIGKILL');
    },
    stop: (number) => end(number, 'SIGTERM'),
    async pause(number) {
      processOf(number).kill('SIGSTOP');
    },
    async resume(number) {
      processOf(number).kill('SIGCONT');
    },
    stopZooKeeper: () => zookeeper.stop(),
    startZooKeeper: () => zookeeper.start(),
    deleteChain: () => deleteNode(zookeeper.connectString, '/catena/default/chain'),
    client(args, { servers = false } = {}) {
      const where = servers ? ['--servers', addresses().join(',')] : [zookeeper.connectString];
      return runToEnd(clientScript, [...where, ...args]);
    },
    workload: (load) => runWorkload({ ...load, connect: { servers: addresses() } }),
    async remove() {
      for (const number of running.keys()) await end(number, 'SIGKILL');
      await zookeeper.remove();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function launchServer(_number: number, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [serverScript, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** With the npm client, as an operator's tool would; in a process of its own, as everywhere. */
async function deleteNode(connectString: string, path: string): Promise<void> {
  const program = `
    const { default: ZooKeeper } = await import('zookeeper');
    const client = new ZooKeeper({ connect: '${connectString}', timeout: 5000, debug_level: 1 });
    await new Promise((resolve) => client.connect(client.config, resolve));
    client.a_delete_('${path}', -1, (code) => process.exit(code === 0 ? 0 : 1));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`deleting ${path} ended with ${code}`);
}

/** Runs one of our programs to its end. */
export async function runToEnd(
  script: string,
  args: readonly string[],
  input?: string | Buffer,
): Promise<ClientOutcome> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return {
    code: code ?? -1,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

/** Passes on what it prints, and resolves when it serves. Rejects if it ends before. */
export async function untilServing(child: ChildProcess, chain: ChainWatch): Promise<void> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('its output must be piped');
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: stdout }).on('line', (line) => {
      chain.onLine(line);
      if (line.includes(' serves cluster ')) resolve();
    });
    createInterface({ input: stderr }).on('line', (line) => chain.onLine(line));
    child.once('exit', (code) => {
      reject(new Error(`it ended with ${code}:\n${chain.lines.slice(-5).join('\n')}`));
    });
  });
}

async function runWorkload(options: WorkloadOptions): Promise<HistoryOp[]> {
  const { code, stdout, stderr } = await runToEnd(workloadScript, [JSON.stringify(options)]);
  if (code !== 0) throw new Error(`the workload ended with ${code}: ${stderr}`);
  return parseHistory(stdout);
}

export function parseHistory(text: string): HistoryOp[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryOp);
}

function scriptPath(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}
