/**
 * Sends this server's table to learners: the newest snapshot on disk, chunk by chunk, never faster than
 * the socket takes it, so that it costs neither memory nor the table's time. After a broken connection
 * it goes on with the chunk that the learner lacks.
 *
 * Invariant: what is sent is of this server's present history, covers at least `afterSeq` (what the learner has
 * that may have been acked), and the log behind it is kept (`neededSeq`) as long as it may be gone on with.
 */
import type { Configuration } from '../../coordination/configuration.js';
import type { SegmentedLog } from '../../log/segmented-log.js';
import type { SnapshotReader, SnapshotStore } from '../../log/snapshot-store.js';
import { encodePeer, type SnapshotBody } from '../../protocol/peer-messages.js';
import type { TransferStatus } from '../../protocol/status.js';
import type { LinkId } from '../../replica/events.js';
import type { PartialSnapshot } from '../../replica/messages.js';
import { runtime, type Timer } from '../../runtime/runtime.js';
import type { PeerLink } from '../peer-network.js';
import type { Checkpoints } from './checkpoints.js';
import { parseMetadata, type SnapshotMetadata } from './metadata.js';
import { TransferProgress } from './progress.js';

export interface SnapshotSourceHost {
  readonly store: SnapshotStore;
  readonly log: SegmentedLog;
  readonly checkpoints: Checkpoints;
  /** Bytes of log that a learner may be fed instead of a newer snapshot. */
  tableBytes(): number;
  /** The epoch of the op in this server's history; 0 if it has none there, or has forgotten its epoch. */
  epochAt(seq: number): number;
  onLine(line: string): void;
}

export interface SnapshotRequest {
  /** The snapshot must reach at least so far. */
  readonly afterSeq: number;
  readonly partial: PartialSnapshot | undefined;
}

/** A snapshot file whose transfer broke is kept open for so long, also when a newer one replaces it. */
const keepMs = 60_000;
/** A learner is fed from the log behind an older snapshot, rather than wait for a new one, up to this. */
const logBytesMin = 1024 * 1024;

interface OpenSnapshot {
  readonly reader: SnapshotReader;
  readonly metadata: SnapshotMetadata;
  users: number;
  expiry: Timer | undefined;
}

export class SnapshotSource {
  readonly #host: SnapshotSourceHost;
  readonly #open = new Map<string, OpenSnapshot>();
  readonly #transfers = new Map<LinkId, TransferProgress>();
  #closed = false;

  constructor(host: SnapshotSourceHost) {
    this.#host = host;
  }

  /** The first seq that learners will want from the log behind a snapshot that they are, or were just, sent. */
  get neededSeq(): number {
    let needed = Number.POSITIVE_INFINITY;
    for (const { metadata } of this.#open.values()) needed = Math.min(needed, metadata.seq + 1);
    return needed;
  }

  /** Of the transfer over this link, if there is one. */
  statusOf(link: LinkId): TransferStatus | undefined {
    return this.#transfers.get(link)?.status;
  }

  /** Resolves to the seq that was sent; undefined if the link was closed before the end. */
  async send(
    link: PeerLink,
    { epoch, configId }: Pick<Configuration, 'epoch' | 'configId'>,
    request: SnapshotRequest,
  ): Promise<number | undefined> {
    const source = await this.#choose(request);
    const { reader, metadata } = source;
    const { seq, id, runs, keys, stateHash } = metadata;
    const first = chunksOf(request.partial, id, reader.count);
    const learner = `server ${link.peer.serverId.slice(0, 8)}`;
    const progress = new TransferProgress(`sends ${learner} a snapshot`, reader.bytes, (line) =>
      this.#host.onLine(line),
    );
    this.#transfers.set(link.id, progress);
    const send = (body: SnapshotBody): void =>
      link.connection.send(encodePeer({ epoch, configId, body }));
    try {
      const offer = { runs, keys, id, firstChunk: first, bytes: reader.bytes, stateHash };
      send({ kind: 'snapshot-begin', ...offer });
      let chunks = first;
      // Chunks are of about one size.
      if (first > 0) progress.skip(Math.floor((reader.bytes * first) / reader.count));
      for await (const chunk of reader.chunks(first)) {
        await link.connection.drained();
        if (link.connection.isClosed || this.#closed) return undefined;
        send({ kind: 'snapshot-chunk', chunk });
        chunks += 1;
        progress.add(chunk.length);
      }
      send({ kind: 'snapshot-end', chunks });
      progress.end(link.connection.isClosed ? 'broke off' : 'all sent');
      return link.connection.isClosed ? undefined : seq;
    } finally {
      this.#release(source, link);
    }
  }

  /** Closes the files. Transfers under way end. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const [id, { reader, users, expiry }] of this.#open) {
      expiry?.cancel();
      if (users > 0) continue;
      this.#open.delete(id);
      await reader.close();
    }
  }

  /** The file that the learner has a part of, or the newest, or one taken for it now. */
  async #choose({ afterSeq, partial }: SnapshotRequest): Promise<OpenSnapshot> {
    const { checkpoints, log } = this.#host;
    const known = partial === undefined ? undefined : this.#open.get(partial.id);
    if (known !== undefined && known.metadata.seq >= afterSeq) {
      // It may be of a history that was given up since; or of an epoch that is forgotten, which no ack could name.
      if (this.#host.epochAt(known.metadata.seq) === known.metadata.epoch) return hold(known);
    }
    const { seq } = checkpoints.newest;
    const isKnown = seq > 0 && this.#host.epochAt(seq) > 0;
    const isOld = log.bytesAfter(seq) > this.#host.tableBytes() + logBytesMin;
    if (!isKnown || seq < afterSeq || isOld) await checkpoints.take();
    const reader = await this.#host.store.newest();
    if (reader === undefined) throw new Error('no snapshot could be taken');
    const metadata = parseMetadata(reader.meta);
    if (metadata.seq < afterSeq) {
      await reader.close();
      throw new Error(`the newest snapshot, of seq ${metadata.seq}, lacks seq ${afterSeq}`);
    }
    const open = this.#open.get(metadata.id);
    if (open !== undefined) {
      // Held at once: its time may run out while the other one is closed.
      hold(open);
      await reader.close();
      return open;
    }
    const fresh: OpenSnapshot = { reader, metadata, users: 1, expiry: undefined };
    this.#open.set(metadata.id, fresh);
    return fresh;
  }

  #release(source: OpenSnapshot, link: PeerLink): void {
    this.#transfers.delete(link.id);
    source.users -= 1;
    if (source.users > 0) return;
    const expire = (): void => {
      this.#open.delete(source.metadata.id);
      source.reader.close().catch(() => undefined);
    };
    source.expiry = runtime.after(this.#closed ? 0 : keepMs, expire, { keepsAlive: false });
  }
}

/** How many chunks of the file `id` the learner has, as far as that can be. */
function chunksOf(partial: PartialSnapshot | undefined, id: string, count: number): number {
  return partial?.id === id && partial.chunks <= count ? partial.chunks : 0;
}

function hold(source: OpenSnapshot): OpenSnapshot {
  source.expiry?.cancel();
  source.users += 1;
  return source;
}
