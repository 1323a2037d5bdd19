/**
 * Snapshots that arrive over links between servers: who may send one, one chunk at a time to the disk,
 * and what came behind it on the same link afterwards, in order. What a broken connection leaves is
 * kept, so that the same source can go on with it.
 *
 * Invariants: while a snapshot message is being written its link is not read and hands on nothing; only a
 * whole snapshot replaces what this server had; chunks of two files never mix.
 */
import { sameMember } from '../../coordination/configuration.js';
import { CatenaError, ProtocolError } from '../../errors.js';
import type { SnapshotStore, SnapshotWriter } from '../../log/snapshot-store.js';
import { decodePage } from '../../protocol/messages.js';
import type { SnapshotBody, SnapshotOffer, Stamped } from '../../protocol/peer-messages.js';
import type { TransferStatus } from '../../protocol/status.js';
import type { Event } from '../../replica/events.js';
import type { LinkId } from '../../replica/events.js';
import type { PartialSnapshot } from '../../replica/messages.js';
import type { Replica } from '../../replica/replica.js';
import type { PeerLink } from '../peer-network.js';
import { metadataOf } from './metadata.js';
import { TransferProgress } from './progress.js';

export interface SnapshotIntakeHost {
  readonly replica: Replica;
  readonly store: SnapshotStore;
  isStopped(): boolean;
  handle(event: Event): void;
  /** Finishes the file and puts what it holds in place of table and log. */
  install(link: LinkId, offer: SnapshotOffer, writer: SnapshotWriter): Promise<void>;
  /** Goes on with what came behind a snapshot message. */
  onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void;
  onStorageFailure(error: unknown): void;
  onLine(line: string): void;
}

/** What is here of one snapshot file of another server. */
interface Incoming {
  readonly offer: SnapshotOffer;
  readonly writer: SnapshotWriter;
  readonly progress: TransferProgress;
  /** Whose chunks are taken; undefined after the link broke. */
  link: LinkId | undefined;
}

export class SnapshotIntake {
  readonly #host: SnapshotIntakeHost;
  #incoming: Incoming | undefined;
  /** What is under way on disk: a file may neither be closed nor removed while it is written. */
  #work: Promise<unknown> = Promise.resolve();
  /** Links whose snapshot message is being written; later payloads wait in order. */
  readonly #busyLinks = new Map<LinkId, Buffer[]>();

  constructor(host: SnapshotIntakeHost) {
    this.#host = host;
  }

  /** What a broken transfer left here; the next join offers it. */
  get partial(): PartialSnapshot | undefined {
    if (this.#incoming === undefined) return undefined;
    return { id: this.#incoming.offer.id, chunks: this.#incoming.writer.count };
  }

  get status(): TransferStatus | undefined {
    return this.#incoming?.progress.status;
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
    const { body } = message;
    if (body.kind === 'snapshot-begin') {
      this.#host.handle({ kind: 'snapshot-begun', link: link.id, runs: body.runs });
    }
    if (this.#host.isStopped() || link.connection.isClosed) return;
    this.#busyLinks.set(link.id, rest);
    link.connection.pause();
    this.#next(() => this.#take(link, body))
      .then(() => this.#goOn(link))
      .catch((error: unknown) => {
        if (error instanceof ProtocolError) link.connection.close(error);
        else this.#host.onStorageFailure(error);
      });
  }

  onLinkDown(link: PeerLink): void {
    if (this.#incoming?.link === link.id) this.#incoming.link = undefined;
    this.#busyLinks.delete(link.id);
  }

  /** Gives up what is here in part; resolves when nothing of it writes to the disk any more. */
  close(): Promise<void> {
    return this.#next(() => this.#abandon());
  }

  #next<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
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

  async #take(link: PeerLink, body: SnapshotBody): Promise<void> {
    if (body.kind === 'snapshot-begin') return this.#begin(link, body);
    const incoming = this.#incoming;
    // A later connection may have taken the transfer over; this one is behind.
    if (incoming === undefined || incoming.link !== link.id) {
      throw new ProtocolError('a part of no snapshot that this connection began');
    }
    if (body.kind === 'snapshot-chunk') {
      // What cannot be read back must not come to disk. An empty chunk would read as the end.
      if (decodePage(body.chunk).entries.length === 0) throw new ProtocolError('an empty chunk');
      await incoming.writer.write(body.chunk);
      incoming.progress.add(body.chunk.length);
      return;
    }
    const { count } = incoming.writer;
    if (body.chunks !== count) {
      await this.#abandon();
      throw new ProtocolError(`${count} of ${body.chunks} snapshot chunks arrived`);
    }
    // Without the link this server may be fed over another one already: what it acks then must stay.
    if (!this.#busyLinks.has(link.id) || this.#host.isStopped()) return;
    this.#incoming = undefined;
    incoming.progress.end('all received');
    await this.#host.install(link.id, incoming.offer, incoming.writer);
  }

  async #begin(link: PeerLink, offer: SnapshotOffer): Promise<void> {
    const present = this.#incoming;
    if (offer.firstChunk > 0) {
      if (present?.offer.id !== offer.id || present.writer.count !== offer.firstChunk) {
        throw new ProtocolError(`a snapshot from chunk ${offer.firstChunk} on, not asked for`);
      }
      present.link = link.id;
      present.progress.resume();
      return;
    }
    await this.#abandon();
    const writer = await this.#host.store.create(metadataOf(offer.runs, offer));
    const tail = this.#host.replica.configuration?.members.at(-1)?.address ?? 'the tail';
    const progress = new TransferProgress(`receives a snapshot from ${tail}`, offer.bytes, (line) =>
      this.#host.onLine(line),
    );
    this.#incoming = { offer, writer, progress, link: link.id };
  }

  async #abandon(): Promise<void> {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    await incoming?.writer.abort();
  }

  #goOn(link: PeerLink): void {
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
