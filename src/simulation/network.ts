/**
 * The simulated network: connections of two pipes each, between hosts that are joined by directed links. A link may be slow,
 * narrow, or blocked; what is blocked waits, as in a TCP connection, and comes when the link is open again, also on a
 * connection that its sender has given up. Bytes arrive in order or not at all, glued together or in pieces.
 *
 * Invariant: what is read from a pipe is a prefix of what was written to it, unless the link corrupts.
 */
import type { Duplex } from 'node:stream';
import { type Address, formatAddress } from '../protocol/address.js';
import type { ListeningPort, StreamListener } from '../runtime/runtime.js';
import { Pipe, type PipeEnd } from './pipe.js';
import type { Random } from './random.js';
import type { SimProcess } from './process.js';
import { SimStream } from './sim-stream.js';
import type { World } from './world.js';

/** One direction between two hosts. */
export interface Link {
  readonly name: string;
  /** Of each delivery, uniformly between. */
  delayMsMin: number;
  delayMsMax: number;
  /** Infinity: as wide as needed. */
  bytesPerMs: number;
  isBlocked: boolean;
  /** How likely a delivery is cut into pieces, and one bit of it is turned. */
  pieceChance: number;
  flipChance: number;
  readonly pipes: Set<Pipe>;
}

interface Port {
  readonly process: SimProcess;
  readonly listener: StreamListener;
  open: number;
  isClosed: boolean;
  onEmpty: (() => void) | undefined;
}

/** How a process ends for those that it talks with: its kernel says so, or its machine is gone without a word. */
export type Farewell = 'reset' | 'silence';

class Connection {
  readonly ends: [PipeEnd, PipeEnd];
  constructor(dialer: PipeEnd, acceptor: PipeEnd) {
    this.ends = [dialer, acceptor];
  }
}

export class Network {
  readonly world: World;
  readonly random: Random;
  readonly #links = new Map<string, Link>();
  readonly #ports = new Map<string, Port>();
  readonly #connections = new Set<Connection>();
  /** Hosts that are without power: nothing answers there. */
  readonly #dark = new Set<string>();
  /** Links over which nobody gets a connection: the target's machine says no. */
  readonly #refusing = new Set<string>();
  /** What a new link is like. */
  linkDefaults: Pick<Link, 'delayMsMin' | 'delayMsMax' | 'pieceChance' | 'flipChance'> = {
    delayMsMin: 0.05,
    delayMsMax: 0.3,
    pieceChance: 0,
    flipChance: 0,
  };
  /** Of each direction of a connection: what it holds before its writer has to wait. */
  capacityBytes = 64 * 1024;
  flippedBits = 0;

  constructor(world: World, random: Random) {
    this.world = world;
    this.random = random;
  }

  link(source: string, target: string): Link {
    const name = `${source}>${target}`;
    let link = this.#links.get(name);
    if (link === undefined) {
      link = {
        name,
        ...this.linkDefaults,
        bytesPerMs: Number.POSITIVE_INFINITY,
        isBlocked: false,
        pipes: new Set(),
      };
      this.#links.set(name, link);
    }
    return link;
  }

  setBlocked(source: string, target: string, isBlocked: boolean): void {
    const link = this.link(source, target);
    if (link.isBlocked === isBlocked) return;
    link.isBlocked = isBlocked;
    if (isBlocked) return;
    // In another order than the one in which they were held up.
    for (const pipe of this.random.shuffled([...link.pipes])) pipe.pump();
  }

  /** Who dials from `source` to `target` is refused, though somebody listens. */
  setRefused(source: string, target: string, isRefused: boolean): void {
    if (isRefused) this.#refusing.add(`${source}>${target}`);
    else this.#refusing.delete(`${source}>${target}`);
  }

  /** Everything flows again. What was held up comes now. */
  heal(): void {
    this.#refusing.clear();
    for (const link of this.#links.values()) {
      link.bytesPerMs = Number.POSITIVE_INFINITY;
      link.delayMsMin = 0.05;
      link.delayMsMax = 0.3;
      link.flipChance = 0;
      link.isBlocked = false;
      for (const pipe of link.pipes) pipe.pump();
    }
  }

  /** Every connection between two hosts is reset. Says how many. */
  resetBetween(a: string, b: string): number {
    let count = 0;
    for (const { ends } of this.#connections) {
      const [dialer, acceptor] = ends;
      const hosts = [dialer.host, acceptor.host];
      if (!hosts.includes(a) || !hosts.includes(b)) continue;
      count += 1;
      for (const end of ends) end.incoming.abort();
    }
    return count;
  }

  /** The process is gone. */
  onKilled(process: SimProcess, farewell: Farewell): void {
    if (farewell === 'silence') this.#dark.add(process.host);
    for (const [key, port] of this.#ports) {
      if (port.process === process) this.#ports.delete(key);
    }
    for (const connection of this.#connections) {
      const [dialer, acceptor] = connection.ends;
      for (const [own, other] of [
        [dialer, acceptor],
        [acceptor, dialer],
      ] as const) {
        if (own.process !== process) continue;
        own.isGone = true;
        own.incoming.close();
        if (farewell === 'reset') this.#bury(other);
      }
    }
  }

  /** The host has power again. */
  onStarted(host: string): void {
    this.#dark.delete(host);
  }

  isDark(host: string): boolean {
    return this.#dark.has(host);
  }

  dial(process: SimProcess, from: string, address: Address): Duplex {
    const outgoing = new Pipe(this, this.link(process.host, address.host));
    const incoming = new Pipe(this, this.link(address.host, process.host));
    const dialer: PipeEnd = {
      host: process.host,
      process,
      incoming,
      isGone: false,
      stream: undefined,
    };
    const acceptor: PipeEnd = {
      host: address.host,
      process: undefined,
      incoming: outgoing,
      isGone: false,
      stream: undefined,
    };
    const connection = new Connection(dialer, acceptor);
    this.#connections.add(connection);
    outgoing.writer = process;
    outgoing.end = acceptor;
    outgoing.back = incoming;
    incoming.end = dialer;
    incoming.back = outgoing;
    dialer.stream = this.#makeStream(connection, dialer, acceptor);
    if (process.isAlive) outgoing.begin(() => this.#arrive(connection, address, from));
    return dialer.stream;
  }

  async listen(
    process: SimProcess,
    address: Address,
    listener: StreamListener,
  ): Promise<ListeningPort> {
    // It was killed in the middle of this event: nobody listens, and nobody learns of it.
    if (!process.isAlive) return new Promise(() => {});
    const key = formatAddress(address);
    if (this.#ports.has(key)) {
      throw Object.assign(new Error(`EADDRINUSE ${key}`), { code: 'EADDRINUSE' });
    }
    const port: Port = { process, listener, open: 0, isClosed: false, onEmpty: undefined };
    this.#ports.set(key, port);
    return {
      port: address.port,
      close: () => {
        port.isClosed = true;
        if (this.#ports.get(key) === port) this.#ports.delete(key);
        if (port.open === 0) return Promise.resolve();
        return new Promise((resolve) => {
          port.onEmpty = resolve;
        });
      },
    };
  }

  /** The first packet of a connection reaches its target's machine. */
  #arrive(connection: Connection, address: Address, from: string): void {
    const [dialer, acceptor] = connection.ends;
    if (this.#dark.has(address.host)) return;
    const port = this.#ports.get(formatAddress(address));
    const isRefused = this.#refusing.has(`${dialer.host}>${address.host}`);
    if (port === undefined || !port.process.isAlive || isRefused) {
      this.#connections.delete(connection);
      dialer.incoming.refuse();
      return;
    }
    acceptor.process = port.process;
    dialer.incoming.writer = port.process;
    // The machine accepts, whatever its process is doing; the process hears of it in its own time.
    dialer.incoming.greet();
    port.process.post(0, 'accept', () => {
      // What was accepted for a listener that has closed meanwhile is nobody's.
      if (port.isClosed) return dialer.incoming.abort();
      const stream = this.#makeStream(connection, acceptor, dialer);
      acceptor.stream = stream;
      port.open += 1;
      stream.once('close', () => {
        port.open -= 1;
        if (port.open === 0) port.onEmpty?.();
      });
      port.listener.onStream(stream, from);
      acceptor.incoming.pump();
    });
  }

  #makeStream(connection: Connection, own: PipeEnd, other: PipeEnd): SimStream {
    return new SimStream(this.capacityBytes, {
      write: (bytes, done) => other.incoming.write(bytes, done),
      end: () => other.incoming.finish(),
      destroyed: () => {
        own.isGone = true;
        own.incoming.close();
        if (own.process?.isAlive === true) this.#bury(other);
        if (other.isGone) this.#connections.delete(connection);
      },
    });
  }

  /** The other side is gone: what it wrote may still come, or be overtaken by the news. */
  #bury(end: PipeEnd): void {
    if (end.isGone) return;
    if (this.random.chance(0.5)) end.incoming.abort();
    else end.incoming.finish();
  }
}
