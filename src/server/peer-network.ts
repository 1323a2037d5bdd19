/**
 * Connections between servers: keeps the one outgoing link that the replica wants (to its successor,
 * or to the tail), answers probes, and numbers every link. Who speaks first on a connection says who
 * it is; a server that is not the expected incarnation is reported, never used.
 *
 * Invariant: a link number is used once; each `onLinkUp` is followed by exactly one `onLinkDown`.
 */
import type { Duplex } from 'node:stream';
import { type Member, sameMember } from '../coordination/configuration.js';
import { ProtocolError } from '../errors.js';
import { frameStallMs, handshakeTimeoutMs } from '../limits.js';
import type { Logger } from '../logger.js';
import { type Address, defaultHost, parseAddress } from '../protocol/address.js';
import { Connection, type FlushScheduler } from '../protocol/connection.js';
import {
  decodeOpened,
  encodeOpen,
  type Opened,
  type PeerIdentity,
  protocolVersion,
} from '../protocol/messages.js';
import type { LinkId } from '../replica/events.js';
import { rarely, runtime, type Timer } from '../runtime/runtime.js';

export type DialFailure = 'refused' | 'replaced' | 'unreachable';

export interface PeerNetworkHandler {
  onLinkUp(link: PeerLink, dialed: boolean): void;
  onLinkDown(link: PeerLink): void;
  onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void;
  onDialFailed(target: Member, why: DialFailure): void;
}

export interface PeerLink {
  readonly id: LinkId;
  readonly peer: Pick<Member, 'serverId' | 'incarnation'>;
  readonly connection: Connection;
  /** Opened by this server, so that the other end is at the address that it should be at. */
  readonly dialed: boolean;
}

export interface PeerNetworkOptions {
  readonly cluster: string;
  /** Who this server is, now: the cluster id is learned later than the rest. */
  readonly identity: () => PeerIdentity;
  readonly handler: PeerNetworkHandler;
  readonly scheduleFlush: FlushScheduler;
  readonly logger: Logger;
}

const redialMsMin = 20;
const redialMsMax = 500;

export class PeerNetwork {
  readonly #options: PeerNetworkOptions;
  readonly #links = new Map<LinkId, PeerLink>();
  #nextLink = 1;
  #target: Member | undefined;
  #dialing: Duplex | undefined;
  #dialed: PeerLink | undefined;
  #redialMs = redialMsMin;
  #redialTimer: Timer | undefined;
  readonly #probes = new Set<Duplex>();
  #closed = false;

  constructor(options: PeerNetworkOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  get(id: LinkId): PeerLink | undefined {
    return this.#links.get(id);
  }

  /** Keeps a connection to `target`, and to nobody else, until told otherwise. */
  dial(target: Member | undefined): void {
    const same =
      target !== undefined && this.#target !== undefined && sameMember(target, this.#target);
    if (same && target.address === this.#target?.address) return;
    this.#target = target;
    this.#dialing?.destroy();
    this.#dialing = undefined;
    this.#redialTimer?.cancel();
    this.#dialed?.connection.close(undefined);
    this.#dialed = undefined;
    this.#redialMs = redialMsMin;
    if (target !== undefined) this.#dialNow(target);
  }

  /** Does anybody listen there? Only a failure is reported. */
  probe(target: Member): void {
    const stream = runtime.dial(endpointOf(target));
    this.#probes.add(stream);
    const waits = runtime.after(handshakeTimeoutMs, () => stream.destroy(), { keepsAlive: false });
    stream.once('close', () => {
      waits.cancel();
      this.#probes.delete(stream);
    });
    stream.once('connect', () => stream.destroy());
    stream.once('error', (error: Error) => {
      if (!this.#closed) this.#options.handler.onDialFailed(target, failureOf(error));
    });
  }

  /** A server has opened this connection and said who it is. */
  accept(peer: PeerIdentity, connection: Connection): PeerLink {
    return this.#add(peer, connection, false);
  }

  /** To be called by whoever owns the connection's handler, once. */
  onClosed(link: PeerLink): void {
    if (!this.#links.delete(link.id)) return;
    this.#options.handler.onLinkDown(link);
  }

  /** To be called now and then: closes links that stop in the middle of a frame. */
  sweep(nowMs: number): void {
    for (const { connection } of this.#links.values()) {
      if (nowMs - (connection.midFrameSinceMs ?? nowMs) <= frameStallMs) continue;
      connection.close(new ProtocolError(`half a frame for ${frameStallMs} ms`));
    }
  }

  close(): void {
    this.#closed = true;
    this.dial(undefined);
    for (const stream of this.#probes) stream.destroy();
    for (const link of this.#links.values()) link.connection.close(undefined);
  }

  #add(peer: PeerIdentity, connection: Connection, dialed: boolean): PeerLink {
    const { serverId, incarnation } = peer;
    const link = { id: this.#nextLink++, peer: { serverId, incarnation }, connection, dialed };
    this.#links.set(link.id, link);
    this.#options.handler.onLinkUp(link, dialed);
    return link;
  }

  #dialNow(target: Member): void {
    const stream = runtime.dial(endpointOf(target));
    this.#dialing = stream;
    const onTimeout = (): unknown => stream.destroy(new Error('no answer'));
    const waits = runtime.after(handshakeTimeoutMs, onTimeout, { keepsAlive: false });
    let link: PeerLink | undefined;
    let failure: Error | undefined;
    stream.once('error', (error: Error) => {
      failure = error;
    });
    const connection = new Connection(
      stream,
      {
        onPayloads: (payloads) => {
          if (link !== undefined) {
            this.#options.handler.onLinkPayloads(link, payloads);
            return;
          }
          link = this.#greeted(target, connection, payloads[0] as Buffer);
          waits.cancel();
          if (payloads.length > 1) this.#options.handler.onLinkPayloads(link, payloads.slice(1));
        },
        onClose: (error) => {
          waits.cancel();
          const cause = failure ?? error;
          if (link === undefined) this.#onDialFailed(stream, target, cause);
          else this.#onDialedClosed(link, target, cause);
        },
      },
      this.#options.scheduleFlush,
    );
    const { cluster, identity } = this.#options;
    connection.send(encodeOpen({ version: protocolVersion, cluster, peer: identity() }));
  }

  /** The first frame back: who is it that we have reached? */
  #greeted(target: Member, connection: Connection, payload: Buffer): PeerLink {
    const opened = decodeOpened(payload);
    if (opened.refused !== undefined) throw new ProtocolError(`refused: ${opened.refused.message}`);
    if (!sameMember(opened, target)) throw new WrongPeerError(target, opened);
    this.#dialing = undefined;
    this.#redialMs = redialMsMin;
    this.#dialed = this.#add(opened, connection, true);
    return this.#dialed;
  }

  #onDialFailed(stream: Duplex, target: Member, error: Error | undefined): void {
    if (this.#dialing !== stream || this.#closed) return;
    this.#dialing = undefined;
    this.#options.handler.onDialFailed(target, failureOf(error));
    this.#redialLater(target);
  }

  #onDialedClosed(link: PeerLink, target: Member, error: Error | undefined): void {
    if (error !== undefined) {
      this.#options.logger.warn('link closed', { peer: target.address, reason: error.message });
    }
    this.onClosed(link);
    if (this.#dialed !== link || this.#closed) return;
    this.#dialed = undefined;
    this.#redialLater(target);
  }

  #redialLater(target: Member): void {
    this.#redialTimer?.cancel();
    const waitMs = rarely('an early redial', 0, this.#redialMs);
    this.#redialTimer = runtime.after(waitMs, () => {
      if (this.#target === target) this.#dialNow(target);
    });
    this.#redialMs = Math.min(this.#redialMs * 2, redialMsMax);
  }
}

class WrongPeerError extends ProtocolError {
  readonly why: DialFailure;

  constructor(expected: Member, found: Pick<Opened, 'serverId' | 'incarnation'>) {
    super(`${expected.address} is now ${found.serverId}/${found.incarnation}`);
    // Another server at its address: the expected one does not listen there any more.
    this.why = found.serverId === expected.serverId ? 'replaced' : 'refused';
  }
}

/** What `/chain` says may be no address at all: then nobody listens there, which port 0 makes true. */
function endpointOf({ address }: Member): Address {
  try {
    return parseAddress(address);
  } catch {
    return { host: defaultHost, port: 0 };
  }
}

function failureOf(error: Error | undefined): DialFailure {
  if (error instanceof WrongPeerError) return error.why;
  const code = error !== undefined && 'code' in error ? error.code : undefined;
  return code === 'ECONNREFUSED' ? 'refused' : 'unreachable';
}
