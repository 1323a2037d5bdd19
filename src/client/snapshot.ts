/**
 * The whole table at one instant, from one server: first what is to be known about it, then its pages.
 * No more than a few pages are in memory here, or under way, whatever the table's size.
 *
 * Invariant: all entries are of the one instant that `head` names. If the connection breaks midway it
 * fails: another server, or the same one later, could only go on with another instant.
 */
import { ProtocolError } from '../errors.js';
import type { Failure, Page, ScanHead, View } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';
import { runtime } from '../runtime/runtime.js';
import type { Target } from './call.js';
import type { Deadlines } from './deadlines.js';
import { ownBytes } from './input.js';
import type { CallOptions, Entry } from './kv-client.js';
import { PageStream, ScanRefusedError } from './page-stream.js';
import type { Dial } from './server-connection.js';

/** What the client lends to its snapshots. */
export interface SnapshotHost {
  readonly cluster: string;
  readonly dial: Dial;
  readonly deadlines: Deadlines;
  /** Those that are open: the client closes them with itself. */
  readonly streams: Set<PageStream>;
  /** The address of a server that could answer. */
  route(options: CallOptions, target: Target): Promise<string>;
  noteRefusal(address: string, failure: Failure): void;
  onView(view: View): void;
}

export interface SnapshotRequest {
  /** False: keys alone. */
  readonly values: boolean;
  readonly target: Target;
  /** Bounds the time to the first page, and then each wait for another one. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

export class Snapshot {
  /** The last op in it, `epoch-seq`. */
  readonly opId: string;
  /** How many keys there are, what they take, the hash of it all, and of which cluster. */
  readonly head: ScanHead;
  readonly #stream: PageStream;
  readonly #host: SnapshotHost;
  readonly #request: SnapshotRequest;
  readonly #first: Page;

  constructor(
    host: SnapshotHost,
    request: SnapshotRequest,
    stream: PageStream,
    first: Page & { readonly head: ScanHead },
  ) {
    this.#host = host;
    this.#request = request;
    this.#stream = stream;
    this.#first = first;
    this.head = first.head;
    this.opId = formatOpId(first.head.opId);
  }

  /**
   * All entries, in no order; to be asked for once. UnavailableError if the server goes away midway, and
   * TimeoutError if it is silent for too long: then begin anew with another snapshot.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Entry, void, undefined> {
    for await (const entries of this.pages()) {
      for (const { key, value, version } of entries) {
        yield { key: ownBytes(key), value: ownBytes(value), version };
      }
    }
  }

  /** The same, some entries at a time, in bytes that pin what they arrived in: copy what is kept. */
  async *pages(): AsyncGenerator<readonly Entry[], void, undefined> {
    const { timeoutMs, signal } = this.#request;
    try {
      let page = this.#first;
      if (page.entries.length > 0) yield page.entries;
      while (!page.last) {
        page = await this.#stream.nextPage(timeoutMs, signal);
        if (page.entries.length > 0) yield page.entries;
      }
    } finally {
      this.close();
    }
  }

  /** Ends it early; not needed after a loop over it, however that ended. */
  close(): void {
    this.#host.streams.delete(this.#stream);
    this.#stream.close();
  }
}

/** Until the first page is there it can begin anew at another member. */
export async function openSnapshot(
  host: SnapshotHost,
  request: SnapshotRequest,
): Promise<Snapshot> {
  const { values, target, timeoutMs, signal } = request;
  const untilMs = runtime.monotonicMs() + timeoutMs;
  const remainingMs = (): number => Math.max(1, Math.ceil(untilMs - runtime.monotonicMs()));
  const abort = signal === undefined ? {} : { signal };
  for (;;) {
    const address = await host.route({ ...abort, timeoutMs: remainingMs() }, target);
    const { cluster, dial, deadlines } = host;
    const onView = (view: View): void => host.onView(view);
    const stream = new PageStream({ address, cluster, dial, values, deadlines, onView });
    host.streams.add(stream);
    try {
      const { head, ...first } = await stream.nextPage(remainingMs(), signal);
      if (head === undefined) {
        throw new ProtocolError(`${address} did not say which instant its pages show`);
      }
      return new Snapshot(host, request, stream, { ...first, head });
    } catch (error) {
      host.streams.delete(stream);
      stream.close();
      if (!(error instanceof ScanRefusedError)) throw error;
      host.noteRefusal(address, error.failure);
    }
  }
}
