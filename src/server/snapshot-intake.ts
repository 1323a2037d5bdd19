/**
 * Snapshots that arrive over links between servers: who may send one, one message at a time to the
 * disk, and what came behind it on the same link afterwards, in order.
 *
 * Invariant: while a snapshot message is being written its link is not read and hands on nothing.
 */
import { sameMember } from '../coordination/configuration.js';
import { CatenaError, ProtocolError } from '../errors.js';
import type { SnapshotStore } from '../log/snapshot-store.js';
import type { SnapshotBody, Stamped } from '../protocol/peer-messages.js';
import type { EpochRun } from '../replica/epoch-runs.js';
import type { Event, LinkId } from '../replica/events.js';
import type { Replica } from '../replica/replica.js';
import type { PeerLink } from './peer-network.js';
import { SnapshotReceiver } from './snapshot-transfer.js';

export interface SnapshotIntakeHost {
  readonly replica: Replica;
  readonly store: SnapshotStore;
  isStopped(): boolean;
  handle(event: Event): void;
  /** Puts the newest snapshot on disk in place of table and log. */
  install(link: LinkId, runs: readonly EpochRun[]): Promise<void>;
  /** Goes on with what came behind a snapshot message. */
  onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void;
  onStorageFailure(error: unknown): void;
}

export class SnapshotIntake {
  readonly #host: SnapshotIntakeHost;
  readonly #receivers = new Map<LinkId, SnapshotReceiver>();
  /** Links whose snapshot message is being written; later payloads wait in order. */
  readonly #busyLinks = new Map<LinkId, Buffer[]>();
  /** The files of receivers whose link is gone are being removed. */
  #cleanUp: Promise<void> = Promise.resolve();

  constructor(host: SnapshotIntakeHost) {
    this.#host = host;
  }

  /** Keeps the payloads for later if a snapshot message of this link is being written. */
  holdBack(link: PeerLink, payloads: readonly Buffer[]): boolean {
    const queue = this.#busyLinks.get(link.id);
    queue?.push(...payloads);
    return queue !== undefined;
  }

  /** `rest`: what arrived behind the message. */
  receive(link: PeerLink, message: Stamped<SnapshotBody>, rest: Buffer[]): void {
    const wrong = this.#faultOf(link, message);
    if (wrong !== undefined) {
      link.connection.close(new ProtocolError(`a snapshot ${wrong}`));
      return;
    }
    if (message.body.kind === 'snapshot-begin') {
      this.#host.handle({ kind: 'snapshot-begun', link: link.id, runs: message.body.runs });
    }
    if (this.#host.isStopped() || link.connection.isClosed) return;
    this.#busyLinks.set(link.id, rest);
    link.connection.pause();
    this.#receiverOf(link)
      .receive(message.body)
      .then((runs) => this.#onReceived(link, runs))
      .catch((error: unknown) => {
        if (error instanceof ProtocolError) link.connection.close(error);
        else this.#host.onStorageFailure(error);
      });
  }

  onLinkDown(link: PeerLink): void {
    const receiver = this.#receivers.get(link.id);
    if (receiver !== undefined) {
      const ends = Promise.all([this.#cleanUp, receiver.abort()]);
      this.#cleanUp = ends.then(
        () => undefined,
        (error: unknown) => this.#host.onStorageFailure(error),
      );
    }
    this.#receivers.delete(link.id);
    this.#busyLinks.delete(link.id);
  }

  /** Resolves when nothing of it writes to the disk any more; for after the end of all links. */
  cleanedUp(): Promise<void> {
    return this.#cleanUp;
  }

  #receiverOf(link: PeerLink): SnapshotReceiver {
    let receiver = this.#receivers.get(link.id);
    if (receiver === undefined) {
      receiver = new SnapshotReceiver(this.#host.store, this.#cleanUp);
      this.#receivers.set(link.id, receiver);
    }
    return receiver;
  }

  /** It replaces the log, so it is taken only by a learner, from the tail that it dialed. */
  #faultOf(link: PeerLink, { epoch, configId }: Stamped<SnapshotBody>): string | undefined {
    const { role, configuration } = this.#host.replica;
    if (configuration?.epoch !== epoch || configuration.configId !== configId) {
      return 'of another epoch';
    }
    if (role !== 'learner') return 'for a member of the chain';
    const tail = configuration.members.at(-1);
    if (link.dialed && tail !== undefined && sameMember(tail, link.peer)) return undefined;
    return 'from a server that is not the tail';
  }

  async #onReceived(link: PeerLink, runs: readonly EpochRun[] | undefined): Promise<void> {
    // Without the link this server may be fed over another one already: what it acks then must
    // stay. A whole snapshot that is not installed does no harm on disk.
    if (runs !== undefined && this.#busyLinks.has(link.id) && !this.#host.isStopped()) {
      await this.#host.install(link.id, runs);
    }
    const waiting = this.#busyLinks.get(link.id);
    this.#busyLinks.delete(link.id);
    if (waiting === undefined || this.#host.isStopped()) return;
    link.connection.resume();
    try {
      this.#host.onLinkPayloads(link, waiting);
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      link.connection.close(error);
    }
  }
}
