/**
 * A chain of servers in one process, with embedded coordination: the same servers, disks, sockets
 * and protocol as in a cluster, only ZooKeeper and the process borders are missing. For a first look
 * and for the tests of applications; one crash of the process takes all of it down.
 */
import { join } from 'node:path';
import { openFileBackedCoordination } from '../coordination/file-backed.js';
import type { MemoryCoordination } from '../coordination/memory.js';
import { BadRequestError, type CatenaError, ClosedError } from '../errors.js';
import { clusterDefault } from '../limits.js';
import { type Logger, silentLogger } from '../logger.js';
import { defaultHost, formatAddress } from '../protocol/address.js';
import { checkDataPath } from './data-path.js';
import { type SupervisedServer, superviseServer } from './supervision/supervised-server.js';

export interface EmbeddedOptions {
  readonly servers: number;
  /** Server N (from 1) listens on basePort + N - 1. */
  readonly basePort: number;
  /** 127.0.0.1 by default. */
  readonly host?: string;
  readonly cluster?: string;
  /** Data of all servers and of the coordination is kept below this directory. */
  readonly dataPath: string;
  readonly leaseMs?: number;
  readonly logRetainBytes?: number;
  readonly scrubIntervalMs?: number;
  readonly acceptMoved?: boolean;
  readonly logger?: Logger;
  /** One line for people: serving, role, epoch or chain changed. */
  readonly onLine: (line: string) => void;
  /** A server halted by itself; the others go on. */
  readonly onHalt?: (number: number, reason: CatenaError) => void;
}

export const embeddedServersMax = 16;
const portMax = 65_535;

/**
 * Starts all servers; each listens and recovers before this resolves, or waits for room on its disk.
 * Throws what a server throws.
 */
export async function startEmbeddedCluster(options: EmbeddedOptions): Promise<EmbeddedCluster> {
  const { servers } = options;
  if (!Number.isInteger(servers) || servers < 1 || servers > embeddedServersMax) {
    throw new BadRequestError(
      `${servers} servers; an embedded chain has 1 to ${embeddedServersMax}`,
    );
  }
  const lastPort = options.basePort + servers - 1;
  if (!Number.isInteger(options.basePort) || options.basePort < 1 || lastPort > portMax) {
    throw new BadRequestError(
      `ports ${options.basePort} to ${lastPort}; they must lie between 1 and ${portMax}`,
    );
  }
  await checkDataPath(options.dataPath);
  const coordination = await openFileBackedCoordination(join(options.dataPath, 'chain.json'));
  const cluster = new EmbeddedCluster(options, coordination);
  try {
    for (let number = 1; number <= servers; number++) await cluster.start(number);
    await cluster.haveRecovered();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

export class EmbeddedCluster {
  readonly addresses: readonly string[];
  readonly #options: EmbeddedOptions;
  readonly #coordination: MemoryCoordination;
  readonly #running = new Map<number, SupervisedServer>();
  readonly #recovering: Promise<void>[] = [];
  /** The newest start or kill of each server. */
  readonly #turns = new Map<number, Promise<void>>();
  #isStopped = false;

  constructor(options: EmbeddedOptions, coordination: MemoryCoordination) {
    this.#options = options;
    this.#coordination = coordination;
    const numbers = Array.from({ length: options.servers }, (_, index) => index + 1);
    this.addresses = numbers.map((number) => formatAddress(this.#listenOf(number)));
  }

  isRunning(number: number): boolean {
    return this.#running.get(number)?.life !== undefined;
  }

  /**
   * Starts a server on its data. Nothing happens if it runs. Resolves when it listens, or waits: with damaged
   * data for another server, so those must not wait for it.
   */
  start(number: number): Promise<void> {
    return this.#inTurn(number, async () => {
      if (this.#isStopped) throw new ClosedError('the embedded chain was stopped');
      if (!this.#running.has(number)) await this.#startNow(number);
    });
  }

  /** Resolves when none that was started waits for another one; throws why one could not start. */
  async haveRecovered(): Promise<void> {
    await Promise.all(this.#recovering.splice(0));
  }

  /** Crashes a server: nothing is flushed, said or left. Its data stays. */
  kill(number: number): Promise<void> {
    return this.#inTurn(number, async () => {
      const server = this.#running.get(number);
      this.#running.delete(number);
      await server?.kill();
    });
  }

  /** Stops all at once, data kept: the next start finds the chain as it was. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.allSettled(this.#turns.values());
    const servers = [...this.#running.values()];
    this.#running.clear();
    await Promise.all(servers.map((server) => server.close()));
  }

  /** What is asked of one server is done in the order in which it was asked. */
  async #inTurn(number: number, work: () => Promise<void>): Promise<void> {
    this.#checkNumber(number);
    const done = (this.#turns.get(number) ?? Promise.resolve()).then(work);
    this.#turns.set(
      number,
      done.catch(() => undefined),
    );
    return done;
  }

  async #startNow(number: number): Promise<void> {
    const { dataPath, cluster, leaseMs, logRetainBytes, logger, onLine, servers, onHalt } =
      this.#options;
    const { scrubIntervalMs, acceptMoved } = this.#options;
    const server = superviseServer({
      listen: this.#listenOf(number),
      dataPath: join(dataPath, `server-${number}`),
      cluster: cluster ?? clusterDefault,
      coordinator: () => this.#coordination.coordinator(),
      replicas: servers,
      ...(leaseMs === undefined ? {} : { leaseMs }),
      ...(logRetainBytes === undefined ? {} : { logRetainBytes }),
      ...(scrubIntervalMs === undefined ? {} : { scrubIntervalMs }),
      ...(acceptMoved === undefined ? {} : { acceptMoved }),
      logger: logger ?? silentLogger,
      onLine,
    });
    this.#running.set(number, server);
    const recovers = server.reaches('up', 'waits for room');
    recovers.catch(() => undefined);
    this.#recovering.push(recovers);
    let hasBegun = false;
    void server.ended.then((reason) => {
      if (this.#running.get(number) === server) this.#running.delete(number);
      if (reason !== undefined && hasBegun) onHalt?.(number, reason);
    });
    await server.reaches('up', 'waits for room', 'waits for others');
    hasBegun = true;
  }

  #listenOf(number: number): { host: string; port: number } {
    const { host, basePort } = this.#options;
    return { host: host ?? defaultHost, port: basePort + number - 1 };
  }

  #checkNumber(number: number): void {
    if (Number.isInteger(number) && number >= 1 && number <= this.#options.servers) return;
    throw new BadRequestError(
      `no server ${number}; they are numbered 1 to ${this.#options.servers}`,
    );
  }
}
