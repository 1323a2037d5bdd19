/** Three supervised servers in this process on disks in memory, and what tells whether they lost anything. */
import { crc32 } from 'node:zlib';
import type { ExecutionContext } from 'ava';
import { MemoryCoordination } from '../../../src/coordination/memory.js';
import { connect, type KvClient } from '../../../src/index.js';
import type { Disk } from '../../../src/log/disk.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { silentLogger } from '../../../src/logger.js';
import {
  type SupervisedOptions,
  type SupervisedServer,
  superviseServer,
} from '../../../src/server/supervision/supervised-server.js';
import { ChainWatch } from '../../support/deployment.js';
import { cluster, freePorts, RawClient, until } from '../support.js';

const MiB = 1024 * 1024;

export interface ServerSetting {
  readonly disk?: Disk;
  readonly scrubIntervalMs?: number;
}

export class SupervisedChain {
  readonly watch = new ChainWatch();
  readonly coordination = new MemoryCoordination();
  readonly servers: SupervisedServer[] = [];
  /** The disks of servers that were given none of their own. */
  readonly disks: MemoryDisk[] = [];
  /** Called with each line, at once. */
  onLine: (line: string) => void = () => {};
  readonly #settings: readonly ServerSetting[];
  readonly #port: number;

  constructor(port: number, settings: readonly ServerSetting[]) {
    this.#port = port;
    this.#settings = settings;
  }

  address(index: number): string {
    return `127.0.0.1:${this.#port + index}`;
  }

  path(index: number): string {
    return `/data-${index}`;
  }

  /** A supervised server begins on what its disk holds. */
  start(index: number): SupervisedServer {
    const setting = this.#settings[index] ?? {};
    const disk = (this.disks[index] ??= new MemoryDisk());
    const options: SupervisedOptions = {
      listen: { host: '127.0.0.1', port: this.#port + index },
      dataPath: this.path(index),
      disk,
      cluster,
      coordinator: () => this.coordination.coordinator(),
      // All servers and the test share one loop: its pauses are not to look like the death of a server.
      leaseMs: 1_000,
      reviveGraceMs: 500,
      logRetainBytes: MiB,
      logger: silentLogger,
      onLine: (line) => {
        this.watch.onLine(line);
        this.onLine(line);
      },
      ...setting,
    };
    const server = superviseServer(options);
    this.servers[index] = server;
    return server;
  }

  line(pattern: RegExp): string | undefined {
    return this.watch.lines.find((line) => pattern.test(line));
  }

  untilLine(pattern: RegExp): Promise<void> {
    return until(() => this.line(pattern) !== undefined);
  }

  /** Every server's present life is a member, in the epoch that `/chain` shows. */
  async untilAllMembers(): Promise<void> {
    await until(async () => {
      const { members } = await this.configuration();
      return this.servers.every(({ life }) => {
        const isListed = members.some(({ serverId }) => serverId === life?.serverId);
        return isListed && life?.role !== 'learner' && life?.role !== 'halted';
      });
    });
  }

  /** Serial number and members of the chain as coordination has it. */
  async configuration(): Promise<{
    readonly epoch: number;
    readonly members: readonly { serverId: string; address: string }[];
    readonly left: readonly { address: string }[];
  }> {
    const coordinator = this.coordination.coordinator();
    coordinator.start({ onChain: () => {}, onServers: () => {}, onSession: () => {} });
    const read = await coordinator.readChain();
    await coordinator.close();
    if (read.kind === 'absent') throw new Error('there is no /chain');
    return JSON.parse(read.data);
  }

  /** By key: version, length and checksum of each value of one server's whole table, read from it alone. */
  async table(index: number): Promise<Map<string, string>> {
    const client = await RawClient.open(this.#port + index);
    const table = new Map<string, string>();
    const id = client.send({ kind: 'scan', values: true });
    const isWhole = (): boolean => {
      const last = client.answers.get(id)?.at(-1);
      if (last?.kind === 'failure') throw new Error(last.message);
      return last?.kind === 'page' && last.last;
    };
    try {
      await until(isWhole);
    } finally {
      client.close();
    }
    for (const page of client.answers.get(id) ?? []) {
      if (page.kind !== 'page') continue;
      for (const { key, value, version } of page.entries) {
        table.set(Buffer.from(key).toString(), `${version} ${value.length} ${crc32(value)}`);
      }
    }
    return table;
  }

  port(index: number): number {
    return this.#port + index;
  }
}

/** A chain of so many, the first one its head. */
export async function startChain(
  t: ExecutionContext,
  settings: readonly ServerSetting[],
): Promise<{ chain: SupervisedChain; client: KvClient }> {
  const chain = new SupervisedChain(await freePorts(settings.length), settings);
  t.teardown(() => Promise.all(chain.servers.map((server) => server.kill())));
  for (let index = 0; index < settings.length; index++) {
    await chain.start(index).reaches('up');
    await chain.watch.untilMembers(index + 1);
  }
  const servers = settings.map((_, index) => chain.address(index));
  const client = await connect({ servers, timeoutMs: 30_000 });
  t.teardown(() => client.close());
  return { chain, client };
}

/** Writes one key after the other until told to stop; what became of each. */
export class Load {
  /** Keys whose write was acknowledged. */
  readonly done = new Set<string>();
  /** Op ids of writes whose outcome was left open, by key. */
  readonly open = new Map<string, string | undefined>();
  readonly #client: KvClient;
  readonly #value: Buffer;
  readonly #writers: Promise<void>[];
  #stopped = false;
  #next = 0;

  constructor(client: KvClient, valueBytes: number, writers = 4) {
    this.#client = client;
    this.#value = Buffer.alloc(valueBytes, 7);
    this.#writers = Array.from({ length: writers }, () => this.#write());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }

  /** Resolves when so many more were acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.done.size + count;
    await until(() => this.done.size >= wanted);
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      const key = `key-${this.#next++}`;
      try {
        await this.#client.put(key, this.#value);
        this.done.add(key);
      } catch (error) {
        const { code, opId } = error as { code?: string; opId?: string };
        if (code === 'CLOSED') return;
        this.open.set(key, opId);
      }
    }
  }
}

/** All members have the same table, and in it is everything that was acknowledged. */
export async function assertNothingLost(
  t: ExecutionContext,
  chain: SupervisedChain,
  load: Pick<Load, 'done'>,
): Promise<void> {
  const tables = await Promise.all(chain.servers.map((_, index) => chain.table(index)));
  const [first, ...others] = tables as [Map<string, string>, ...Map<string, string>[]];
  t.true(load.done.size > 0, 'there was traffic');
  for (const key of load.done) if (!first.has(key)) t.fail(`${key} was acknowledged and is lost`);
  for (const other of others) {
    t.is(other.size, first.size);
    for (const [key, value] of first) if (other.get(key) !== value) t.fail(`${key} differs`);
  }
}
