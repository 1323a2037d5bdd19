/**
 * Connections between simulated servers. Each one is two queues, one a direction, in which messages
 * keep their order; nothing arrives before the test delivers it. Several connections of one pair may
 * exist at once, so the bytes of an old one can come late.
 */
import type { Member } from '../../src/coordination/configuration.js';
import type { EpochRun } from '../../src/replica/epoch-runs.js';
import type { LinkId } from '../../src/replica/events.js';
import type { PeerMessage } from '../../src/replica/messages.js';
import type { SimTable } from './chain-disk.js';

export type Packet =
  /** The first frame of the dialer, and what it gets back. */
  | { readonly kind: 'open' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'message'; readonly message: PeerMessage }
  | { readonly kind: 'snapshot-begin'; readonly runs: readonly EpochRun[] }
  | {
      readonly kind: 'snapshot-end';
      readonly runs: readonly EpochRun[];
      readonly table: SimTable;
    }
  /** The sender's process has taken the last byte of a snapshot out of its hands. */
  | { readonly kind: 'closed' };

/** One end of a connection: who holds it, and what is on its way to it. */
export interface End {
  readonly process: string;
  readonly server: string;
  readonly link: LinkId;
  open: boolean;
  /** Its process has been told that the link is up. */
  up: boolean;
  readonly incoming: Packet[];
}

export interface Connection {
  readonly target: Member;
  readonly dialer: End;
  readonly acceptor: End;
  /** The test holds it: nothing is delivered. */
  held: boolean;
}

export class SimNetwork {
  /** Replaced, never changed in place, when some are over: it may be walked meanwhile. */
  connections: readonly Connection[] = [];
  /** Pairs of servers, `AB` in order of name, between which nothing passes. */
  readonly #blocked = new Set<string>();
  #nextLink = 1;

  connect(dialer: string, dialerProcess: string, target: Member, process: string): Connection {
    const end = (server: string, name: string): End => ({
      process: name,
      server,
      link: this.#nextLink++,
      open: true,
      up: false,
      incoming: [],
    });
    const connection: Connection = {
      target,
      dialer: end(dialer, dialerProcess),
      acceptor: end(target.serverId, process),
      held: false,
    };
    connection.acceptor.incoming.push({ kind: 'open' });
    this.connections = [...this.connections, connection];
    return connection;
  }

  block(a: string, b: string): void {
    this.#blocked.add(pairOf(a, b));
  }

  unblock(a?: string, b?: string): void {
    if (a === undefined || b === undefined) this.#blocked.clear();
    else this.#blocked.delete(pairOf(a, b));
  }

  isBlocked(a: string, b: string): boolean {
    return this.#blocked.has(pairOf(a, b));
  }

  otherEnd(connection: Connection, end: End): End {
    return connection.dialer === end ? connection.acceptor : connection.dialer;
  }

  find(process: string, link: LinkId): { connection: Connection; end: End } | undefined {
    for (const connection of this.connections) {
      for (const end of [connection.dialer, connection.acceptor]) {
        if (end.process === process && end.link === link) return { connection, end };
      }
    }
    return undefined;
  }

  send(process: string, link: LinkId, packet: Packet): void {
    const found = this.find(process, link);
    if (found === undefined || !found.end.open) return;
    const other = this.otherEnd(found.connection, found.end);
    if (other.open) other.incoming.push(packet);
  }

  /** This end is closed: the other one learns it after what is under way. */
  close(connection: Connection, end: End): void {
    if (!end.open) return;
    end.open = false;
    end.incoming.length = 0;
    const other = this.otherEnd(connection, end);
    if (other.open) other.incoming.push({ kind: 'closed' });
    this.#forgetClosed();
  }

  /** The ends that have something to take in, in the order in which the connections were made. */
  deliverable(): { connection: Connection; end: End }[] {
    return this.connections.flatMap((connection) =>
      connection.held || this.isBlocked(connection.dialer.server, connection.acceptor.server)
        ? []
        : [connection.acceptor, connection.dialer]
            .filter((end) => end.open && end.incoming.length > 0)
            .map((end) => ({ connection, end })),
    );
  }

  #forgetClosed(): void {
    this.connections = this.connections.filter(
      ({ dialer, acceptor }) => dialer.open || acceptor.open,
    );
  }
}

function pairOf(a: string, b: string): string {
  return [a, b].sort().join('');
}
