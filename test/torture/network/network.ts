/**
 * The network of one deployment: a link from every node to every other that it dials, each through a proxy of its own
 * or one that knows its callers by their address. Nodes are the clients, the servers, the members of ZooKeeper.
 *
 * All of it lies in a /24 of 127.0.0.0/8 of its own, where addresses that dial and addresses that listen are different
 * ones: so no port that a restarted process needs is ever taken by somebody's outgoing connection.
 */
import type { Address } from '../../../src/protocol/address.js';
import { formatAddress } from '../../../src/protocol/address.js';
import type { Lane } from './lane.js';
import { Link } from './link.js';
import { Proxy } from './proxy.js';

export type Node = 'clients' | `server ${number}` | `zookeeper ${number}`;

export const clients = 'clients';
export const serverNode = (number: number): Node => `server ${number}`;
export const zookeeperNode = (number: number): Node => `zookeeper ${number}`;

export interface ServerPlace {
  readonly listen: string;
  readonly advertise: string;
  readonly opened: Promise<void>;
}

/** The last number of an address: where servers dial from, where they listen, where proxies do. */
const hosts = { dials: 10, listens: 30, serverProxy: 50, zookeeperProxy: 100 } as const;
const zookeeperMembersMax = 10;

export class Network {
  readonly #subnet: string;
  readonly #links = new Map<string, Link>();
  readonly #serverProxies = new Map<number, { proxy: Proxy; address: Address }>();
  readonly #proxies: Proxy[] = [];

  /** Of one process each subnet is to be used once. */
  constructor(subnet = ownSubnet()) {
    this.#subnet = subnet;
  }

  /** Where a server dials from, so that others' proxies know it. */
  dialHost(number: number): string {
    return this.#host(hosts.dials + number);
  }

  /**
   * Opens the way to a server with this port: where it is to listen, and how others reach it. `opened` resolves
   * once they do.
   */
  openServer(number: number, port: number): ServerPlace {
    const target = { host: this.#host(hosts.listens + number), port };
    let known = this.#serverProxies.get(number);
    if (known === undefined) {
      const address = { host: this.#host(hosts.serverProxy + number), port };
      const proxy = new Proxy(address, target, (from) =>
        this.link(this.#caller(from), serverNode(number)),
      );
      known = { proxy, address };
      this.#serverProxies.set(number, known);
    }
    const { proxy, address } = known;
    return {
      listen: formatAddress(target),
      advertise: formatAddress(address),
      opened: proxy.open(),
    };
  }

  /** Nobody listens there any more. */
  shutServer(number: number): void {
    this.#serverProxies.get(number)?.proxy.shut();
  }

  /** `host:port` of a way from the server to each of ZooKeeper's members, with commas. */
  async openZooKeeper(number: number, targets: readonly Address[]): Promise<string> {
    const addresses: string[] = [];
    for (const [index, target] of targets.entries()) {
      const last = hosts.zookeeperProxy + number * zookeeperMembersMax + index;
      const address = { host: this.#host(last), port: target.port };
      const link = this.link(serverNode(number), zookeeperNode(index + 1));
      const proxy = new Proxy(address, target, () => link);
      await proxy.open();
      this.#proxies.push(proxy);
      addresses.push(formatAddress(address));
    }
    return addresses.join(',');
  }

  /** The connections that `from` opens to `to`. */
  link(from: Node, to: Node): Link {
    const name = `${from} > ${to}`;
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    const link = new Link(name);
    this.#links.set(name, link);
    return link;
  }

  get links(): readonly Link[] {
    return [...this.#links.values()];
  }

  /** Everything that carries bytes from one node to another, whoever dialed. */
  lanes(from: Node, to: Node): Lane[] {
    return [this.link(from, to).out, this.link(to, from).back];
  }

  heal(): void {
    for (const link of this.#links.values()) link.heal();
  }

  close(): void {
    for (const { proxy } of this.#serverProxies.values()) proxy.shut();
    for (const proxy of this.#proxies) proxy.shut();
    for (const link of this.#links.values()) link.close();
  }

  #host(last: number): string {
    return `${this.#subnet}.${last}`;
  }

  #caller(from: string): Node {
    const host = from.replace(/^::ffff:/, '');
    const number = Number(host.slice(this.#subnet.length + 1)) - hosts.dials;
    const isServer = host.startsWith(`${this.#subnet}.`) && this.#serverProxies.has(number);
    return isServer ? serverNode(number) : clients;
  }
}

let subnets = 0;

/** Of this process and this call. Two processes that run at a time differ in their ids. */
function ownSubnet(): string {
  const number = process.pid * 4 + (subnets++ % 4);
  return `127.${1 + (Math.floor(number / 256) % 254)}.${number % 256}`;
}
