/**
 * The client as applications see it: typed calls on keys and values, each of which settles by its deadline
 * (P7). It checks what goes in and shapes what comes out; who is asked, and again, is the router's.
 */
import { type CatenaError, ClosedError, OutcomeUnknownError, UnavailableError } from '../errors.js';
import type { Op } from '../machine/op.js';
import { formatAddress, parseAddress } from '../protocol/address.js';
import type { Page, RequestBody, ResponseBody, VerifyOutcome, View } from '../protocol/messages.js';
import { formatOpId, parseOpId } from '../protocol/op-id.js';
import type { ServerStatus } from '../protocol/status.js';
import { Call, type Target, toHead, toMember } from './call.js';
import { Deadlines } from './deadlines.js';
import { type Bytes, checkedTimeout, keyBytes, ownBytes, valueBytes } from './input.js';
import { PageStream, ScanRefusedError } from './page-stream.js';
import { Router } from './router.js';
import type { Dial } from './server-connection.js';

export interface CallOptions {
  /** The call ends within this time, to 10 ms precisely. Default: the client's. */
  readonly timeoutMs?: number;
  /** Ends the call early: with AbortedError, or OutcomeUnknownError for a write that was sent. */
  readonly signal?: AbortSignal;
}

export interface ReadOptions extends CallOptions {
  /** `host:port`: only this server may answer. Default: the members in turn. */
  readonly at?: string;
}

export interface WriteOptions extends CallOptions {
  /** False: answer with the op id once the head has assigned it, before it is committed; ask `verify` later. */
  readonly wait?: boolean;
  /** Have the head tell the op id ahead, so that an OutcomeUnknownError carries it. One more frame a write. */
  readonly announce?: boolean;
}

type NoWait = WriteOptions & { readonly wait: false };

/** A write that was assigned its place; whether it is executed, `verify` tells. */
export interface Assigned {
  /** `epoch-seq` */
  readonly opId: string;
}

export interface Found {
  readonly value: Uint8Array;
  /** Seq of the op that wrote it; grows with each change of the key. */
  readonly version: number;
}

export interface Entry extends Found {
  readonly key: Uint8Array;
}

/** What one server said of itself, or why it did not. */
export type StatusOutcome =
  | { readonly address: string; readonly status: ServerStatus }
  | { readonly address: string; readonly error: CatenaError };

/** Made by `connect`. */
export interface KvClientOptions {
  readonly cluster: string;
  readonly seeds: readonly string[];
  /** Who else tells of servers; for messages. */
  readonly source: string;
  readonly timeoutMs: number;
  readonly dial: Dial;
  readonly onView: (view: View) => void;
}

/**
 * A connection to a cluster; make it with `connect`.
 *
 * Every promise settles by its deadline, with a value or with:
 * - UnavailableError, AbortedError, ClosedError, CatenaError: certainly not done.
 * - TimeoutError: a read that was not answered in time.
 * - OutcomeUnknownError: a write was sent and its answer not seen; `opId`, if known, can be verified.
 * - BadRequestError, LimitError: the call itself is wrong; nothing was sent.
 *
 * Calls that are not awaited are in flight together. Writes of one client are executed in the order of the calls
 * as long as the chain does not change between them.
 */
export class KvClient {
  readonly #options: KvClientOptions;
  readonly #deadlines = new Deadlines();
  readonly #router: Router;
  readonly #streams = new Set<PageStream>();
  readonly #closers: (() => Promise<void>)[] = [];
  #closed: Promise<void> | undefined;

  constructor(options: KvClientOptions) {
    this.#options = options;
    this.#router = new Router({ ...options, deadlines: this.#deadlines });
  }

  /** The newest view of the chain that was heard of, without asking; undefined before the first. */
  get currentView(): View | undefined {
    return this.#router.view;
  }

  /** Writes; `replaced` tells whether the key had a value. Done means: on the disk of every member. */
  put(key: Bytes, value: Bytes, options: NoWait): Promise<Assigned>;
  put(key: Bytes, value: Bytes, options?: WriteOptions): Promise<Assigned & { replaced: boolean }>;
  put(
    key: Bytes,
    value: Bytes,
    options: WriteOptions = {},
  ): Promise<Assigned & { replaced?: boolean }> {
    return this.#write(
      () => ({ kind: 'put', key: keyBytes(key), value: valueBytes(value) }),
      options,
      (opId, existed) => ({ opId, replaced: existed }),
    );
  }

  /** Deletes; `existed` tells whether the key was there. */
  delete(key: Bytes, options: NoWait): Promise<Assigned>;
  delete(key: Bytes, options?: WriteOptions): Promise<Assigned & { existed: boolean }>;
  delete(key: Bytes, options: WriteOptions = {}): Promise<Assigned & { existed?: boolean }> {
    return this.#write(
      () => ({ kind: 'delete', key: keyBytes(key) }),
      options,
      (opId, existed) => ({ opId, existed }),
    );
  }

  /** The key's value, or undefined. */
  get(key: Bytes, options: ReadOptions = {}): Promise<Found | undefined> {
    return this.#call(
      options,
      readTarget(options),
      () => ({ kind: 'get', key: keyBytes(key) }),
      (answer) => {
        if (answer.kind !== 'value' || !answer.found) return undefined;
        return { value: ownBytes(answer.value), version: answer.version };
      },
    );
  }

  /** How many keys there are. */
  size(options: ReadOptions = {}): Promise<number> {
    return this.#call(
      options,
      readTarget(options),
      () => ({ kind: 'size' }),
      (answer) => (answer.kind === 'count' ? answer.keys : 0),
    );
  }

  /**
   * All keys as they were at one instant after the call, in no order. `timeoutMs` bounds each wait for the server,
   * not the whole. Fails with UnavailableError if the server goes away midway; then begin anew.
   */
  async *keys(options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const page of this.#pages(false, options)) {
      for (const { key } of page.entries) yield ownBytes(key);
    }
  }

  /** All entries as they were at one instant after the call; otherwise as `keys`. */
  async *entries(options: ReadOptions = {}): AsyncGenerator<Entry, void, undefined> {
    for await (const page of this.#pages(true, options)) {
      for (const { key, value, version } of page.entries) {
        yield { key: ownBytes(key), value: ownBytes(value), version };
      }
    }
  }

  /**
   * What became of an op: executed; pending (it may yet be); never (it is not and will not be executed); unknown
   * (older than the log that is kept). The head answers.
   */
  verify(opId: string, options: CallOptions = {}): Promise<VerifyOutcome> {
    return this.#call(
      options,
      () => toHead,
      () => ({ kind: 'verify', opId: parseOpId(opId) }),
      (answer) => (answer.kind === 'verified' ? answer.outcome : 'unknown'),
    );
  }

  /** The chain as a member tells it now, or newer. */
  view(options: CallOptions = {}): Promise<View> {
    return this.#call(
      options,
      () => toMember,
      () => ({ kind: 'status' }),
      (answer) => {
        if (answer.kind === 'status' && answer.view !== undefined) this.#router.adopt(answer.view);
        return this.#router.view as View;
      },
    );
  }

  /** What one server (a member or not) says of itself; fails at once if it cannot be reached. */
  status(address: string, options: CallOptions = {}): Promise<ServerStatus> {
    return this.#call(
      { ...options, isOneAttempt: true },
      readTarget({ at: address }),
      () => ({ kind: 'status' }),
      (answer) => {
        if (answer.kind !== 'status') throw new UnavailableError(`${address} told no status`);
        const { kind: _, ...status } = answer;
        return status;
      },
    );
  }

  /** What every server says of itself: the members, head first, then the other ones that were given to `connect`. */
  async statuses(options: CallOptions = {}): Promise<StatusOutcome[]> {
    // Half the time to find the members. If there are none, the given servers may still answer.
    const half = { ...options, timeoutMs: this.#timeoutMs(options) / 2 };
    await this.#route(half, toMember).catch(() => {});
    return Promise.all(
      this.#router.knownAddresses().map((address) =>
        this.status(address, half).then(
          (status) => ({ address, status }),
          (error: CatenaError) => ({ address, error }),
        ),
      ),
    );
  }

  /** Resolves when a member of the chain has answered. */
  async ready(options: CallOptions = {}): Promise<void> {
    await this.#route(options, toMember);
  }

  /** Ends every call that has not settled, and all connections. Never rejects; may be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  /** For `connect`: a view from elsewhere, and what must be closed with the client. */
  attach(onClose: () => Promise<void>): (view: View) => void {
    this.#closers.push(onClose);
    return (view) => this.#router.adopt(view);
  }

  async #shutDown(): Promise<void> {
    this.#router.close();
    for (const stream of this.#streams) stream.close(new ClosedError('the client was closed'));
    await Promise.all(this.#closers.map((close) => close()));
  }

  #timeoutMs({ timeoutMs }: CallOptions): number {
    return timeoutMs === undefined ? this.#options.timeoutMs : checkedTimeout(timeoutMs);
  }

  #write<Result extends Assigned>(
    opOf: () => Op,
    options: WriteOptions,
    resultOf: (opId: string, existed: boolean) => Result,
  ): Promise<Result | Assigned> {
    const { wait = true, announce = false } = options;
    return this.#call<Result | Assigned>(
      options,
      () => toHead,
      () => ({ kind: 'write', op: opOf(), noWait: !wait, announce: wait && announce }),
      (answer) => {
        if (answer.kind === 'written') return resultOf(formatOpId(answer.opId), answer.existed);
        if (answer.kind === 'assigned') return { opId: formatOpId(answer.opId) };
        throw new OutcomeUnknownError(`'${answer.kind}' came as the answer to a write`);
      },
    );
  }

  /** One promise a call, and no more: this is the path of 10^5 calls a second. */
  #call<Result>(
    options: CallOptions & { isOneAttempt?: boolean },
    targetOf: () => Target,
    bodyOf: () => RequestBody,
    resultOf: (answer: ResponseBody) => Result,
  ): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      // What these throw rejects the promise.
      const call = new Call(
        {
          body: bodyOf(),
          target: targetOf(),
          timeoutMs: this.#timeoutMs(options),
          signal: options.signal,
          isOneAttempt: options.isOneAttempt === true,
          onAnswer: (answer) => {
            try {
              resolve(resultOf(answer));
            } catch (error) {
              reject(error);
            }
          },
          onError: reject,
        },
        this.#deadlines,
      );
      this.#router.start(call);
    });
  }

  /** The address of a server that could answer. */
  #route(options: CallOptions, target: Target): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = new Call(
        {
          body: { kind: 'size' },
          target,
          timeoutMs: this.#timeoutMs(options),
          signal: options.signal,
          onAnswer: () => {},
          onRoute: resolve,
          onError: reject,
        },
        this.#deadlines,
      );
      this.#router.start(call);
    });
  }

  async *#pages(values: boolean, options: ReadOptions): AsyncGenerator<Page, void, undefined> {
    const timeoutMs = this.#timeoutMs(options);
    const { stream, page: first } = await this.#firstPage(values, options, timeoutMs);
    try {
      let page = first;
      yield page;
      while (!page.last) {
        page = await stream.nextPage(timeoutMs, options.signal);
        yield page;
      }
    } finally {
      this.#streams.delete(stream);
      stream.close();
    }
  }

  /** Until the first page is there a scan can begin anew at another member. */
  async #firstPage(
    values: boolean,
    options: ReadOptions,
    timeoutMs: number,
  ): Promise<{ stream: PageStream; page: Page }> {
    const { signal } = options;
    const untilMs = performance.now() + timeoutMs;
    const target = readTarget(options)();
    for (;;) {
      const remainingMs = Math.max(1, untilMs - performance.now());
      const address = await this.#route({ ...options, timeoutMs: remainingMs }, target);
      const stream = this.#openStream(address, values);
      try {
        return {
          stream,
          page: await stream.nextPage(Math.max(1, untilMs - performance.now()), signal),
        };
      } catch (error) {
        this.#streams.delete(stream);
        stream.close();
        if (!(error instanceof ScanRefusedError)) throw error;
        this.#router.noteRefusal(address, error.failure);
      }
    }
  }

  #openStream(address: string, values: boolean): PageStream {
    const { cluster, dial } = this.#options;
    const stream = new PageStream({
      address,
      cluster,
      dial,
      values,
      deadlines: this.#deadlines,
      onView: (view) => this.#router.adopt(view),
    });
    this.#streams.add(stream);
    return stream;
  }
}

function readTarget({ at }: ReadOptions): () => Target {
  return () =>
    at === undefined ? toMember : { kind: 'server', address: formatAddress(parseAddress(at)) };
}
