/**
 * `connect`: from options to a client that has found its cluster. ZooKeeper is loaded only by a client
 * that was told of one, so that without its native addon a list of servers still works.
 */
import type { Duplex } from 'node:stream';
import { parseConfiguration } from '../coordination/configuration.js';
import type { SessionState } from '../coordination/coordinator.js';
import { BadRequestError } from '../errors.js';
import { clientTimeoutMsDefault, clusterDefault } from '../limits.js';
import { type Logger, silentLogger } from '../logger.js';
import { formatAddress, parseAddress, parseAddresses } from '../protocol/address.js';
import type { View } from '../protocol/messages.js';
import { runtime } from '../runtime/runtime.js';
import { checkedTimeout } from './input.js';
import { KvClient } from './kv-client.js';
import type { Dial } from './server-connection.js';
import { viewOfConfiguration } from './view.js';

export interface CommonOptions {
  /** Name of the cluster; servers of another one refuse. Default: 'default'. */
  readonly cluster?: string;
  /** Default deadline of each call. Default: 5,000 ms. */
  readonly timeoutMs?: number;
  /** True: resolve at once; the first call finds the cluster, within its own deadline. */
  readonly lazy?: boolean;
  /** Ends the wait for the cluster. */
  readonly signal?: AbortSignal;
  /** Called with each newer view of the chain. */
  readonly onView?: (view: View) => void;
  readonly logger?: Logger;
  /** How to open a stream to `host:port`; for tests and tunnels. Default: TCP. */
  readonly dial?: Dial;
}

export interface ServersOptions extends CommonOptions {
  /** `host:port` each; one that is up is enough to find the others. */
  readonly servers: readonly string[];
  readonly zookeeper?: undefined;
}

export interface ZooKeeperOptions extends CommonOptions {
  /** `host:port,…`. Needs the optional package `zookeeper`, and a process of its own until `close`. */
  readonly zookeeper: string;
  /** True: follow which servers are up, so that `statuses` also lists spares and those that wait. */
  readonly registered?: boolean;
  readonly servers?: undefined;
}

export type ConnectOptions = ServersOptions | ZooKeeperOptions;

/**
 * Connects to a cluster: by the addresses of some of its servers, or by its ZooKeeper.
 * Resolves when a member of the chain has answered (unless `lazy`). Rejects with BadRequestError (wrong options),
 * UnavailableError (no member within `timeoutMs`), CatenaError with code WRONG_CLUSTER, AbortedError, or
 * CoordinationError (ZooKeeper's package is not installed).
 *
 * Idle connections do not keep the process alive; calls do until they settle, and so does ZooKeeper until `close`.
 *
 *     const client = await connect({ servers: ['127.0.0.1:5000', '127.0.0.1:5001'] });
 *     await client.put('greeting', 'hello');
 *     const found = await client.get('greeting'); // { value: Uint8Array, version: 17 } or undefined
 *     await client.close();
 */
export async function connect(options: ConnectOptions): Promise<KvClient> {
  const { cluster = clusterDefault, onView = () => {}, dial = dialSocket } = options;
  const timeoutMs = checkedTimeout(options.timeoutMs ?? clientTimeoutMsDefault);
  const seeds = options.servers?.map((server) => formatAddress(parseAddress(server))) ?? [];
  if (seeds.length === 0 && options.zookeeper === undefined) {
    throw new BadRequestError('name at least one server, or a ZooKeeper');
  }
  const { zookeeper } = options;
  const search = zookeeper === undefined ? undefined : new ZooKeeperSearch(zookeeper, cluster);
  const source = search && (() => search.text);
  const client = new KvClient({ cluster, seeds, source, timeoutMs, dial, onView });
  try {
    if (options.zookeeper !== undefined && search !== undefined) {
      await followZooKeeper(client, cluster, options, search);
    }
    if (options.lazy !== true) await client.ready(options.signal ? { signal: options.signal } : {});
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Tells the client of each configuration that ZooKeeper tells of. */
async function followZooKeeper(
  client: KvClient,
  cluster: string,
  { zookeeper, registered = false, logger = silentLogger }: ZooKeeperOptions,
  search: ZooKeeperSearch,
): Promise<void> {
  const connectString = parseAddresses(zookeeper).map(formatAddress).join(',');
  const { ZooKeeperCoordinator } = await import('../coordination/zookeeper.js');
  const coordinator = new ZooKeeperCoordinator({
    connectString,
    cluster,
    watchServers: registered,
    logger,
  });
  const news = client.attach(() => coordinator.close(), registered);
  coordinator.start({
    onChain: (read) => {
      const configuration = read.kind === 'found' ? parseConfiguration(read.data) : undefined;
      search.chain = read.kind === 'found' && configuration === undefined ? 'garbage' : read.kind;
      if (configuration === undefined) return;
      try {
        news.onView(viewOfConfiguration(configuration));
      } catch (error) {
        logger.warn('ZooKeeper tells of another cluster', { error: String(error) });
      }
    },
    onServers: (servers) => news.onServers(servers.map(({ address }) => address)),
    onSession: (state) => {
      search.session = state;
    },
  });
}

/** How far the search for the chain in ZooKeeper came, for the message of a call that ends in vain. */
class ZooKeeperSearch {
  readonly #zookeeper: string;
  readonly #cluster: string;
  session: SessionState | undefined;
  chain: 'absent' | 'found' | 'garbage' | undefined;

  constructor(zookeeper: string, cluster: string) {
    this.#zookeeper = zookeeper;
    this.#cluster = cluster;
  }

  get text(): string {
    const zookeeper = `ZooKeeper at ${this.#zookeeper}`;
    if (this.chain === 'garbage') {
      return `what ${zookeeper} holds for cluster '${this.#cluster}' is no chain; look at its servers' lines`;
    }
    if (this.session !== 'connected') {
      return `${zookeeper} does not answer; start it, give another address, or name servers`;
    }
    return `${zookeeper} knows no chain of this name; check the name, or start a server`;
  }
}

/** Not counted as work of the process: a call that waits is (see deadlines.ts). */
function dialSocket(address: string): Duplex {
  return runtime.dial(parseAddress(address), { keepsAlive: false });
}
