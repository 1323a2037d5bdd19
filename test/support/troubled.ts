/**
 * Server processes whose ZooKeeper is in trouble: what tests of FAULTS rows Z1-Z7 do to it, and how they see that it
 * happened. Leases are long, so that on a busy machine no member is lost but for the trouble itself.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { connect, type KvClient } from '../../src/index.js';
import { deployProcesses, launchServer, type ProcessDeployment } from './processes.js';
import {
  expireSession,
  type LocalZooKeeper,
  runZooKeeper,
  type ZooKeeperService,
} from './zookeeper.js';
import { ephemeralOwners, Operator } from './zookeeper-operator.js';

export interface Troubled extends ProcessDeployment {
  readonly operator: Operator;
  /** The process of a server that holds its ZooKeeper session. */
  sessionProcessId(number: number): number;
  /** The session that owns the server's node, and the path of that. Waits until there is exactly one. */
  sessionOf(number: number, port: number): Promise<{ id: bigint; path: string }>;
  /** A client that knows the servers by their addresses; closed with the deployment. */
  connectClient(): Promise<KvClient>;
}

export interface TroubledOptions {
  readonly service: ZooKeeperService;
  readonly serverOptions?: readonly string[];
  /** Where a server finds ZooKeeper; by default where it is. */
  readonly connectStringOf?: (number: number) => string;
}

export const patientLease = ['--lease', '1500'] as const;
const pollMs = 20;

export async function deployTroubled({
  service,
  serverOptions = patientLease,
  connectStringOf = () => service.connectString,
}: TroubledOptions): Promise<Troubled> {
  const children = new Map<number, ChildProcess>();
  const launch = (number: number, [, ...args]: readonly string[]): ChildProcess => {
    const child = launchServer(number, [connectStringOf(number), ...args]);
    children.set(number, child);
    return child;
  };
  const deployment = await deployProcesses(serverOptions, () => launch, service);
  const operator = new Operator(service.connectString, 'default');
  const clients: KvClient[] = [];
  return {
    ...deployment,
    operator,
    sessionProcessId: (number) => sessionProcessIdOf(children.get(number)),
    sessionOf: (number, port) => sessionOf(operator, deployment.address(number), port),
    async connectClient() {
      const servers = deployment.chain.newest.members;
      const client = await connect({ servers });
      clients.push(client);
      return client;
    },
    async remove() {
      await Promise.all([operator.close(), ...clients.map((client) => client.close())]);
      await deployment.remove();
    },
  };
}

/** The process of a server that holds its ZooKeeper session. */
export function sessionProcessIdOf(server: ChildProcess | undefined): number {
  const parent = server?.pid;
  const list = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8');
  const found = list.trim().split(' ').find(isSessionProcess);
  if (found === undefined) throw new Error(`server process ${parent} has no session process`);
  return Number(found);
}

/** The session that owns the node of the server at this address, and the path of that. Waits until there is exactly one. */
export async function sessionOf(
  operator: Operator,
  address: string,
  port: number,
): Promise<{ id: bigint; path: string }> {
  for (;;) {
    const nodes = (await operator.registrations()).filter((node) => node.address === address);
    const path = nodes[0]?.path ?? '';
    const id = (await ephemeralOwners(port)).get(path);
    if (nodes.length === 1 && id !== undefined) return { id, path };
    await sleep(pollMs);
  }
}

/** One test of one ZooKeeper and its servers; what they last said is shown when it fails. */
export async function withTroubled(
  t: ExecutionContext,
  play: (deployment: Troubled, zookeeper: LocalZooKeeper) => Promise<void>,
  options: Omit<TroubledOptions, 'service'> = {},
): Promise<void> {
  const zookeeper = await runZooKeeper();
  const deployment = await deployTroubled({ service: zookeeper, ...options });
  try {
    await play(deployment, zookeeper);
  } catch (error) {
    t.log(deployment.chain.lines.slice(-40).join('\n'));
    throw error;
  } finally {
    await deployment.remove();
  }
}

/** Ends the sessions of these servers, all at once. Resolves when ZooKeeper knows none of them any more. */
export async function expireServers(
  deployment: Pick<Troubled, 'sessionOf' | 'sessionProcessId'>,
  port: number,
  numbers: readonly number[],
): Promise<readonly string[]> {
  const sessions = await Promise.all(numbers.map((number) => deployment.sessionOf(number, port)));
  await Promise.all(
    sessions.map(({ id }, index) =>
      expireSession(port, id, deployment.sessionProcessId(numbers[index] as number)),
    ),
  );
  return sessions.map(({ path }) => path);
}

/** Waits for what sends no event; the test's timeout is the bound. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(pollMs);
}

function isSessionProcess(processId: string): boolean {
  return readFileSync(`/proc/${processId}/cmdline`, 'utf8').includes('zookeeper-child');
}
