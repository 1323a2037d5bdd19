/**
 * The one port: accepts connections, learns from the first frame whether a client or a server is
 * there, and turns away what is neither. Whatever is wrong with a connection costs only that one.
 */
import type { Duplex } from 'node:stream';
import { CatenaError, LimitError, ProtocolError, RefusedToStartError } from '../errors.js';
import {
  connectionsMax,
  frameStallMs,
  handshakeTimeoutMs,
  spareConnectionsMax,
} from '../limits.js';
import type { Logger } from '../logger.js';
import { type Address, formatAddress } from '../protocol/address.js';
import { Connection, type FlushScheduler } from '../protocol/connection.js';
import {
  decodeOpen,
  encodeOpened,
  type Open,
  type Opened,
  type PeerIdentity,
  protocolVersion,
  type View,
} from '../protocol/messages.js';
import { type ListeningPort, runtime, type Timer } from '../runtime/runtime.js';
import { ClientSession, failureOf, type SessionHost } from './client-session.js';
import type { ConnectionLimits } from './connection-limits.js';
import type { PeerLink, PeerNetwork } from './peer-network.js';

export interface ListenerOptions {
  readonly cluster: string;
  readonly identity: () => PeerIdentity;
  readonly view: () => View | undefined;
  readonly host: SessionHost & {
    onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void;
  };
  readonly peers: PeerNetwork;
  readonly scheduleFlush: FlushScheduler;
  readonly logger: Logger;
  /** Lower limits than those of limits.ts. */
  readonly limits?: Partial<ConnectionLimits> & { readonly handshakeTimeoutMs?: number };
}

/** What a connection has turned out to be. */
type Accepted =
  | { readonly kind: 'client'; readonly session: ClientSession }
  | { readonly kind: 'peer'; readonly link: PeerLink };

const sweepMs = 1_000;

export class Listener {
  readonly #options: ListenerOptions;
  #port: ListeningPort | undefined;
  readonly #sessions = new Set<ClientSession>();
  /** Every open connection and, until it has said who it is, when it came. */
  readonly #connections = new Map<Connection, number>();
  #sweeper: Timer | undefined;
  #congested = false;
  readonly #connectionsMax: number;
  readonly #spareConnectionsMax: number;
  readonly #handshakeTimeoutMs: number;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#connectionsMax = options.limits?.connectionsMax ?? connectionsMax;
    this.#spareConnectionsMax = options.limits?.spareConnectionsMax ?? spareConnectionsMax;
    this.#handshakeTimeoutMs = options.limits?.handshakeTimeoutMs ?? handshakeTimeoutMs;
  }

  get sessions(): ReadonlySet<ClientSession> {
    return this.#sessions;
  }

  /** Resolves to the port. Rejects with RefusedToStartError if it cannot be had. */
  async listen(address: Address): Promise<number> {
    try {
      this.#port = await runtime.listen(address, {
        onStream: (stream, from) => this.#onStream(stream, from),
        // Out of descriptors and the like: new clients fail, what is connected goes on (FAULTS D7).
        onError: (error) =>
          this.#options.logger.error('cannot accept connections', { reason: error.message }),
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new RefusedToStartError(`cannot listen on ${formatAddress(address)}: ${reason}`, {
        cause,
      });
    }
    this.#sweeper = runtime.every(sweepMs, () => this.#sweep());
    return this.#port.port;
  }

  setCongested(congested: boolean): void {
    this.#congested = congested;
    for (const session of this.#sessions) session.setCongested(congested);
  }

  pushView(view: View): void {
    for (const session of this.#sessions) session.pushView(view);
  }

  /** `abrupt`: as a crash would, without sending what is queued. */
  async close(abrupt: boolean): Promise<void> {
    this.#sweeper?.cancel();
    const closed = this.#port?.close();
    for (const connection of this.#connections.keys()) {
      if (abrupt) connection.close(undefined);
      else connection.end();
    }
    await closed;
  }

  #onStream(stream: Duplex, from: string): void {
    let accepted: Accepted | undefined;
    const connection: Connection = new Connection(
      stream,
      {
        onPayloads: (payloads) => {
          let rest = payloads;
          if (accepted === undefined) {
            accepted = this.#open(connection, decodeOpen(payloads[0] as Buffer));
            rest = payloads.slice(1);
          }
          if (rest.length === 0) return;
          if (accepted.kind === 'client') accepted.session.onPayloads(rest);
          else this.#options.host.onLinkPayloads(accepted.link, rest);
        },
        onClose: (error) => this.#onClose(connection, accepted, from, error),
      },
      this.#options.scheduleFlush,
    );
    const { size } = this.#connections;
    const max = this.#connectionsMax + this.#spareConnectionsMax;
    if (size >= max) {
      connection.close(new LimitError('the number of connections', size + 1, max, 'at once'));
      return;
    }
    this.#connections.set(connection, runtime.monotonicMs());
  }

  #open(connection: Connection, open: Open): Accepted {
    const refusal = this.#refusalOf(open);
    const { identity, view, peers, host } = this.#options;
    const { serverId, incarnation, clusterId } = identity();
    const current = view();
    const opened: Opened = {
      serverId,
      incarnation,
      clusterId,
      ...(current === undefined ? {} : { view: current }),
      ...(refusal === undefined ? {} : { refused: failureOf(refusal) }),
    };
    connection.send(encodeOpened(opened));
    if (refusal !== undefined) {
      connection.end(refusal);
      throw refusal;
    }
    this.#connections.set(connection, Number.POSITIVE_INFINITY);
    if (open.peer !== undefined) {
      return { kind: 'peer', link: peers.accept(open.peer, connection) };
    }
    const session = new ClientSession(connection, host);
    this.#sessions.add(session);
    if (this.#congested) session.setCongested(true);
    return { kind: 'client', session };
  }

  #refusalOf({ version, cluster, peer }: Open): CatenaError | undefined {
    if (version !== protocolVersion) {
      return new ProtocolError(
        `protocol version ${version}; this server speaks ${protocolVersion}`,
      );
    }
    if (cluster !== this.#options.cluster) {
      return new CatenaError(
        'WRONG_CLUSTER',
        `this server belongs to cluster '${this.#options.cluster}', not '${cluster}'`,
      );
    }
    const { clusterId } = this.#options.identity();
    // Who dials has adopted a configuration, so it knows the id; only we may not know it yet.
    if (peer !== undefined && clusterId !== '' && peer.clusterId !== clusterId) {
      return new CatenaError(
        'WRONG_CLUSTER',
        `cluster '${cluster}' here has the id ${clusterId}, not '${peer.clusterId}'`,
      );
    }
    const { leaseMs } = this.#options.identity();
    if (peer?.leaseMs !== undefined && leaseMs !== undefined && peer.leaseMs !== leaseMs) {
      return new CatenaError(
        'WRONG_CLUSTER',
        `its --lease is ${peer.leaseMs} ms, here it is ${leaseMs} ms; it must be the same on all servers`,
      );
    }
    const clients = this.#sessions.size;
    if (peer !== undefined || clients < this.#connectionsMax) return undefined;
    return new LimitError('the number of clients', clients + 1, this.#connectionsMax, 'at once');
  }

  #onClose(
    connection: Connection,
    accepted: Accepted | undefined,
    from: string,
    error: Error | undefined,
  ): void {
    this.#connections.delete(connection);
    if (error instanceof CatenaError) {
      this.#options.logger.warn('connection closed', {
        from,
        code: error.code,
        reason: error.message,
      });
    }
    if (accepted?.kind === 'client') this.#sessions.delete(accepted.session);
    else if (accepted?.kind === 'peer') this.#options.peers.onClosed(accepted.link);
  }

  /** Connections that stay silent before they said who they are, or stop in the middle of a frame. */
  #sweep(): void {
    const now = runtime.monotonicMs();
    this.#options.peers.sweep(now);
    for (const [connection, cameAtMs] of this.#connections) {
      if (now - cameAtMs > this.#handshakeTimeoutMs) {
        const waited = `no first frame within ${this.#handshakeTimeoutMs} ms`;
        connection.close(new ProtocolError(waited));
      } else if (now - (connection.midFrameSinceMs ?? now) > frameStallMs) {
        connection.close(new ProtocolError(`half a frame for ${frameStallMs} ms`));
      }
    }
  }
}
