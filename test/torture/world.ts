/**
 * A deployment under torture: servers on disks that lose and tear what is not synced, an ensemble of three ZooKeepers,
 * a proxy on every link, clients. Knows what is broken at the moment, so that all of it can be mended.
 *
 * Invariant: a server is in one state of `Process` at a time, and whoever breaks something has claimed it before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ensemble, runEnsemble } from '../../scripts/zookeeper-ensemble.js';
import { connect, type KvClient, type ServerStatus } from '../../src/index.js';
import { parseAddress } from '../../src/protocol/address.js';
import {
  deployFaulty,
  type FaultyDeployment,
  type FaultyProcess,
} from '../support/faulty-deployment.js';
import { sessionOf, sessionProcessIdOf, type Troubled } from '../support/troubled.js';
import type { LocalZooKeeper } from '../support/zookeeper.js';
import { Operator } from '../support/zookeeper-operator.js';
import { ZooKeeperProxy } from '../support/zookeeper-proxy.js';
import { Load } from './load.js';
import { type Node, Network } from './network/network.js';
import type { ClientsOptions } from './clients.js';
import { monotonicMs } from './clock.js';

export const leaseMs = 500;

export interface WorldOptions {
  /** The chain has so many members; more may join for a while. */
  readonly servers: number;
  readonly load: Omit<ClientsOptions, 'servers' | 'label' | 'prefix'>;
}

/** A write is under way to the disk for so long: at most moments one is, and some hundred a second pass. */
const flushMs = 1;
const serverOptions = ['--lease', String(leaseMs), '--revive-grace', '500', '--log-retain', '1M'];

export interface World extends FaultyDeployment, Pick<Troubled, 'sessionOf' | 'sessionProcessId'> {
  readonly options: WorldOptions;
  readonly network: Network;
  readonly ensemble: Ensemble;
  readonly load: Load;
  /** A client that looks on. */
  readonly observer: KvClient;
  /** A request to ZooKeeper, or its answer, is lost with its connection, whoever sends it; resolves when it is. */
  readonly zookeeperProxies: readonly ZooKeeperProxy[];
  /** Servers that run, and are not stopped. */
  readonly running: ReadonlySet<number>;
  /** True if all of them were free, and are now the caller's. */
  claim(names: readonly string[]): boolean;
  release(names: readonly string[]): void;
  /** The server at this place of the newest chain. */
  numberAt(place: Place): number | undefined;
  numberOf(address: string): number | undefined;
  /** It ends by itself, as it should. */
  mayEnd(process: FaultyProcess): void;
  /** Starts it; it may be killed before it serves. */
  restart(number: number): Promise<void>;
  stopZooKeeperMember(member: LocalZooKeeper): Promise<void>;
  startZooKeeperMember(member: LocalZooKeeper): Promise<void>;
  /** When no server ran at all. */
  readonly silences: readonly Silence[];
  /** Mends all that is broken. */
  heal(): Promise<void>;
  /** Waits until every server that is meant to be a member is one. */
  untilWhole(): Promise<void>;
  /** Nobody ended but by our hand, or found its data damaged: whoever halts has found somebody wrong. */
  checkNobodyHalted(): void;
}

export interface Silence {
  readonly fromMs: number;
  /** Infinity while it lasts. */
  toMs: number;
}

export type Place = 'head' | 'middle' | 'tail';

export async function createWorld(options: WorldOptions): Promise<World> {
  const ensemble = await runEnsemble(3);
  try {
    return await deployWorld(options, ensemble);
  } catch (error) {
    // Also what was removed already, with the deployment.
    await ensemble.remove().catch(() => undefined);
    throw error;
  }
}

async function deployWorld(options: WorldOptions, ensemble: Ensemble): Promise<World> {
  const network = new Network();
  const zookeeperProxies = await Promise.all(
    ensemble.members.map(({ port }) => ZooKeeperProxy.start(port)),
  );
  const targets = zookeeperProxies.map(({ connectString }) => parseAddress(connectString));
  const connectStrings = new Map<number, string>();
  const addresses = new Map<number, string>();
  const opened: Promise<void>[] = [];
  const faulty = await deployFaulty({
    serverOptions,
    writeBack: { flushMs, tears: true },
    service: ensemble,
    dialHostOf: (number) => network.dialHost(number),
    argumentsOf(number, [, port, ...rest]) {
      const place = network.openServer(number, Number(port));
      opened.push(place.opened);
      addresses.set(number, place.advertise);
      const connectString = connectStrings.get(number) as string;
      return [connectString, place.listen, ...rest, '--advertise', place.advertise];
    },
    onExit: (number) => network.shutServer(number),
  });
  const { chain } = faulty;
  const operator = new Operator(ensemble.connectString, 'default');
  const paused = new Set<number>();
  const silences: Silence[] = [];
  const alive = new Set<number>();
  const members = Array.from({ length: options.servers }, (_, index) => index + 1);
  const claims = new Set<string>();
  const mayEnd = new Set<FaultyProcess>();
  const stoppedZooKeepers = new Set<LocalZooKeeper>();
  const starting = new Map<number, Promise<void>>();
  const address = (number: number): string => addresses.get(number) ?? '';
  let load: Load | undefined;
  let observer: KvClient | undefined;

  const noteSilence = (): void => {
    const last = silences.at(-1);
    const isSilent = world.running.size === 0;
    const wasSilent = last?.toMs === Number.POSITIVE_INFINITY;
    if (isSilent && !wasSilent) {
      silences.push({ fromMs: monotonicMs(), toMs: Number.POSITIVE_INFINITY });
    } else if (!isSilent && wasSilent) {
      last.toMs = monotonicMs();
    }
  };

  const world: World = {
    ...faulty,
    options,
    network,
    ensemble,
    zookeeperProxies,
    address,
    silences,
    get load() {
      if (load === undefined) throw new Error('there is no load yet');
      return load;
    },
    get observer() {
      return observer as KvClient;
    },
    get running() {
      return new Set([...alive].filter((number) => !paused.has(number)));
    },
    sessionProcessId: (number) => sessionProcessIdOf(faulty.process(number).child),
    sessionOf: (number, port) => sessionOf(operator, address(number), port),
    claim(names) {
      if (names.some((name) => claims.has(name))) return false;
      for (const name of names) claims.add(name);
      return true;
    },
    release(names) {
      for (const name of names) claims.delete(name);
    },
    numberAt(place) {
      const { members } = chain.newest;
      const index = { head: 0, middle: members.length >> 1, tail: members.length - 1 }[place];
      return world.numberOf(members[index] ?? '');
    },
    numberOf: (wanted) => [...addresses].find(([, known]) => known === wanted)?.[0],
    mayEnd: (process) => void mayEnd.add(process),
    async start(number) {
      if (!connectStrings.has(number)) {
        connectStrings.set(number, await network.openZooKeeper(number, targets));
      }
      alive.add(number);
      noteSilence();
      await faulty.start(number);
      await Promise.all(opened.splice(0));
    },
    async restart(number) {
      // An end of its own is found by `checkNobodyHalted`.
      const started = world.start(number).catch(() => undefined);
      starting.set(number, started);
      await started;
    },
    async kill(number) {
      alive.delete(number);
      paused.delete(number);
      noteSilence();
      await faulty.kill(number);
    },
    async stop(number) {
      alive.delete(number);
      noteSilence();
      return faulty.stop(number);
    },
    async pause(number) {
      paused.add(number);
      noteSilence();
      await faulty.pause(number);
    },
    async resume(number) {
      if (!paused.delete(number)) return;
      noteSilence();
      await faulty.resume(number);
    },
    async stopZooKeeperMember(member) {
      stoppedZooKeepers.add(member);
      await member.stop();
    },
    async startZooKeeperMember(member) {
      if (stoppedZooKeepers.delete(member)) await member.start();
    },
    async heal() {
      network.heal();
      for (const proxy of zookeeperProxies) proxy.forgetCuts();
      for (const number of paused) await world.resume(number);
      await Promise.all([...stoppedZooKeepers].map((member) => world.startZooKeeperMember(member)));
      for (const number of members) {
        if (!alive.has(number)) void world.restart(number);
      }
    },
    untilWhole: () => untilWhole(world, members.map(address)),
    checkNobodyHalted() {
      for (const process of faulty.processes) {
        const { child, lines } = process;
        // It would heal that by itself, as long as others live: a lost sync must not pass as rot.
        const damage = lines.find((line) => line.includes('data damaged'));
        if (damage !== undefined) throw new Error(damage);
        if (child.exitCode === null || child.exitCode === 0 || mayEnd.has(process)) continue;
        const last = lines.slice(-10).join('\n');
        throw new Error(`a server ended by itself, with ${child.exitCode}:\n${last}`);
      }
    },
    async remove() {
      load?.kill();
      await observer?.close();
      await operator.close();
      await faulty.remove();
      await Promise.all(zookeeperProxies.map((proxy) => proxy.close()));
      network.close();
    },
  };

  try {
    for (const number of members) {
      await world.start(number);
      await chain.untilMembers(number);
    }
    const servers = members.map(address);
    observer = await connect({ servers, timeoutMs: statusMsMax });
    load = new Load({ ...options.load, servers, label: 'load', prefix: 'begin' });
    await operator.connected;
  } catch (error) {
    await world.remove();
    throw error;
  }
  return world;
}

/** The names under which parts of a deployment are claimed. */
export const claimOf = {
  server: (number: number): string => `process of server ${number}`,
  way: (from: Node, to: Node): string => `way ${from} to ${to}`,
  zookeeper: 'ZooKeeper',
} as const;

const statusMsMax = 1_000;
const statusPauseMs = 50;
/** However broken it was: once all is mended the chain must be whole again within this. */
const wholeMsMax = 45_000;

/** Waits until all servers stand in one and the same chain, as the very processes that run now. */
async function untilWhole(world: World, addresses: readonly string[]): Promise<void> {
  const giveUpMs = performance.now() + wholeMsMax;
  for (;;) {
    const outcomes = await Promise.all(
      addresses.map((address) => world.observer.status(address).catch((error: Error) => error)),
    );
    const statuses = outcomes.filter((each): each is ServerStatus => !(each instanceof Error));
    if (statuses.length === addresses.length && areOneChain(statuses)) return;
    if (performance.now() > giveUpMs) {
      const texts = outcomes.map((each) => (each instanceof Error ? each.message : show(each)));
      throw new Error(`the chain is not whole ${wholeMsMax} ms later:\n${texts.join('\n')}`);
    }
    await sleep(statusPauseMs);
  }
}

function areOneChain(statuses: readonly ServerStatus[]): boolean {
  const incarnations = new Set(statuses.map(({ incarnation }) => incarnation));
  return statuses.every(({ view, lease }) => {
    const members = view?.members ?? [];
    const areTheSame = view?.epoch === statuses[0]?.view?.epoch;
    const areAll = members.every(({ incarnation }) => incarnations.has(incarnation));
    return lease && areTheSame && areAll && members.length === statuses.length;
  });
}

function show({ address, role, view, lease, waitingFor, reason }: ServerStatus): string {
  const chain = view?.members.map((member) => member.address).join(' > ');
  const text = waitingFor === '' ? reason : `waits: ${waitingFor}`;
  return `${address} is ${role} in epoch ${view?.epoch}: ${chain}, lease ${lease}; ${text}`;
}
