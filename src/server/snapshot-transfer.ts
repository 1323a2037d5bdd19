/**
 * The table on its way to a learner, both ends. The source streams one instant of its table while
 * writes go on, never faster than the socket takes it; the target writes each chunk to its disk
 * before it takes the next, and only a whole snapshot replaces what it had.
 */
import type { Configuration } from '../coordination/configuration.js';
import { ProtocolError } from '../errors.js';
import { pageBytesMax } from '../limits.js';
import type { SnapshotStore, SnapshotWriter } from '../log/snapshot-store.js';
import { decodePage, encodePage } from '../protocol/messages.js';
import { encodePeer, type SnapshotBody } from '../protocol/peer-messages.js';
import { type EpochRun, EpochRuns } from '../replica/epoch-runs.js';
import type { TableSnapshot } from '../table/hash-table.js';
import type { PeerLink } from './peer-network.js';

/** What stands in the head of a snapshot file. */
export interface SnapshotMetadata {
  readonly seq: number;
  /** Of the op at `seq`. */
  readonly epoch: number;
  readonly runs: readonly EpochRun[];
}

/** Streams `snapshot` and closes it. Resolves to whether all of it was sent. */
export async function sendSnapshot(
  link: PeerLink,
  configuration: Configuration,
  runs: readonly EpochRun[],
  snapshot: TableSnapshot,
): Promise<boolean> {
  const { epoch, configId } = configuration;
  const send = (body: SnapshotBody): void =>
    link.connection.send(encodePeer({ epoch, configId, body }));
  send({
    kind: 'snapshot-begin',
    runs,
    keys: snapshot.size,
    id: '',
    firstChunk: 0,
    bytes: 0,
    stateHash: '',
  });
  let chunks = 0;
  try {
    for (;;) {
      await link.connection.drained();
      if (link.connection.isClosed) return false;
      const entries = snapshot.next(pageBytesMax);
      if (entries.length === 0) break;
      send({ kind: 'snapshot-chunk', chunk: encodePage({ entries, last: false }) });
      chunks += 1;
      // Without a pause in reach of the socket, let the loop serve others between pages.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  } finally {
    snapshot.close();
  }
  send({ kind: 'snapshot-end', chunks });
  return !link.connection.isClosed;
}

/** Takes snapshots from one link, one step after the other. */
export class SnapshotReceiver {
  readonly #store: SnapshotStore;
  /** What is under way on disk: a file may neither be closed nor removed while it is written. */
  #work: Promise<unknown>;
  #writer: SnapshotWriter | undefined;
  #runs: readonly EpochRun[] = [];
  #chunks = 0;

  /** `after`: the end of earlier receivers, whose files may have the same names. */
  constructor(store: SnapshotStore, after: Promise<void>) {
    this.#store = store;
    this.#work = after;
  }

  /**
   * Returns the runs of the snapshot once it is whole and on disk. Throws ProtocolError for what no
   * server sends, and the errors of the disk.
   */
  receive(body: SnapshotBody): Promise<readonly EpochRun[] | undefined> {
    return this.#next(() => this.#receive(body));
  }

  /** Gives up, when what is under way has ended. */
  abort(): Promise<void> {
    return this.#next(() => this.#abort());
  }

  #next<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #receive(body: SnapshotBody): Promise<readonly EpochRun[] | undefined> {
    switch (body.kind) {
      case 'snapshot-begin': {
        await this.#abort();
        this.#runs = body.runs;
        this.#chunks = 0;
        const { lastSeq: seq, lastEpoch: epoch } = new EpochRuns(body.runs);
        const meta: SnapshotMetadata = { seq, epoch, runs: body.runs };
        this.#writer = await this.#store.create(meta);
        return undefined;
      }
      case 'snapshot-chunk':
        if (this.#writer === undefined) throw new ProtocolError('a chunk of no snapshot');
        // What cannot be read back must not come to disk. An empty chunk would read as the end.
        if (decodePage(body.chunk).entries.length === 0) throw new ProtocolError('an empty chunk');
        this.#chunks += 1;
        await this.#writer.write(body.chunk);
        return undefined;
      case 'snapshot-end': {
        const writer = this.#writer;
        if (writer === undefined || body.chunks !== this.#chunks) {
          throw new ProtocolError(`${this.#chunks} of ${body.chunks} snapshot chunks arrived`);
        }
        this.#writer = undefined;
        await writer.finish();
        return this.#runs;
      }
    }
  }

  async #abort(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.abort();
  }
}
