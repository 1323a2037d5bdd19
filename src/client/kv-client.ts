/**
 * The client as applications see it: typed calls on keys and values, each of which settles by its deadline
 * (P7). It checks what goes in and shapes what comes out; who is asked, and again, is the router's.
 */
import { CatenaError, ClosedError, OutcomeUnknownError, UnavailableError } from '../errors.js';
import { leaveTimeoutMs } from '../limits.js';
import type { Op } from '../machine/op.js';
import { formatAddress, parseAddress } from '../protocol/address.js';
import type {
  Failure,
  RequestBody,
  ResponseBody,
  VerifyOutcome,
  View,
} from '../protocol/messages.js';
import { formatOpId, parseOpId } from '../protocol/op-id.js';
import type { ServerStatus } from '../protocol/status.js';
import { delay, runtime } from '../runtime/runtime.js';
import { Call, type Target, toHead, toMember } from './call.js';
import { Deadlines } from './deadlines.js';
import { type Bytes, checkedTimeout, keyBytes, ownBytes, valueBytes } from './input.js';
import type { PageStream } from './page-stream.js';
import { Router } from './router.js';
import type { Dial } from './server-connection.js';
import { openSnapshot, type Snapshot } from './snapshot.js';

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

export interface LeaveOptions extends CallOptions {
  /** Also if it is the only member of the chain. */
  readonly force?: boolean;
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

/** A key as a server read it, present or not, and the state that it was read from. */
export interface Reading {
  /** Undefined: the key was absent. */
  readonly found: Found | undefined;
  /** Op id of the last op in that state, `epoch-seq`; `0-0`: nothing was ever executed. */
  readonly at: string;
}

/** The number of keys, and the state that they were counted in. */
export interface SizeReading {
  readonly keys: number;
  /** As in `Reading`. */
  readonly at: string;
}

export interface Entry extends Found {
  readonly key: Uint8Array;
}

/** What one server said of itself, or why it did not. */
export type StatusOutcome =
  | { readonly address: string; readonly status: ServerStatus }
  | { readonly address: string; readonly error: CatenaError };

/** How the client hears of servers from elsewhere. */
export interface News {
  /** Throws if it is another cluster's. */
  onView(view: View): void;
  /** `host:port` of all servers that are up, members or not. */
  onServers(addresses: readonly string[]): void;
}

/** Made by `connect`. */
export interface KvClientOptions {
  readonly cluster: string;
  readonly seeds: readonly string[];
  /** What became of asking ZooKeeper for servers, and what to do about it; for messages. */
  readonly source?: (() => string) | undefined;
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
  /** Each waits for somebody to be known who can be asked. */
  /** Resolves when the list of who is up was read once; undefined if nobody tells. */
  #listed: Promise<void> | undefined;
  readonly #knownWaiters = new Set<() => void>();
  #closed: Promise<void> | undefined;

  constructor(options: KvClientOptions) {
    this.#options = options;
    this.#router = new Router({
      ...options,
      deadlines: this.#deadlines,
      onView: (view) => {
        this.#onKnown();
        options.onView(view);
      },
    });
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

  /**
   * The key's value as `get` gives it, and which state it is of, also where the key is absent: for those who compare
   * answers with each other.
   */
  read(key: Bytes, options: ReadOptions = {}): Promise<Reading> {
    return this.#call(
      options,
      readTarget(options),
      () => ({ kind: 'get', key: keyBytes(key) }),
      (answer) => {
        if (answer.kind !== 'value') throw wrongAnswer(answer);
        const { value, version } = answer;
        const found = answer.found ? { value: ownBytes(value), version } : undefined;
        return { found, at: formatOpId(answer.at) };
      },
    );
  }

  /** How many keys there are, and in which state. */
  readSize(options: ReadOptions = {}): Promise<SizeReading> {
    return this.#call(
      options,
      readTarget(options),
      () => ({ kind: 'size' }),
      (answer) => {
        if (answer.kind !== 'count') throw wrongAnswer(answer);
        return { keys: answer.keys, at: formatOpId(answer.at) };
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
   * The whole table as it is at one instant after the call: which op was the last in it, then its entries.
   * `timeoutMs` bounds each wait for the server, not the whole. It holds a connection until it was read to its
   * end or closed; whoever does not read for half a minute is disconnected.
   *
   *     const snapshot = await client.snapshot();
   *     console.log(snapshot.opId, snapshot.head.keys);
   *     for await (const { key, value, version } of snapshot) …
   */
  async snapshot(options: ReadOptions = {}): Promise<Snapshot> {
    return this.#snapshot(true, options);
  }

  /** All keys as they were at one instant after the call, in no order; otherwise as `snapshot`. */
  async *keys(options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const { key } of await this.#snapshot(false, options)) yield key;
  }

  /** All entries as they were at one instant after the call; for those who need not know which. */
  async *entries(options: ReadOptions = {}): AsyncGenerator<Entry, void, undefined> {
    yield* await this.#snapshot(true, options);
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

  /**
   * What every server says of itself: the members, head first, then the others that are known: those given to
   * `connect`, those that ZooKeeper lists (`registered`). Whoever does not answer in a part of the time is listed
   * with the reason. Rejects with UnavailableError only if there is nobody to ask.
   */
  async statuses(options: CallOptions = {}): Promise<StatusOutcome[]> {
    const timeoutMs = this.#timeoutMs(options);
    const untilMs = runtime.monotonicMs() + timeoutMs;
    await this.#untilKnown(options);
    await this.#untilListed(timeoutMs / 2);
    const outcomes = new Map<string, StatusOutcome>();
    for (;;) {
      const unasked = this.#router.knownAddresses().filter((address) => !outcomes.has(address));
      if (unasked.length === 0) break;
      // The answers may tell of others, and they are to be asked as well.
      const partMs = Math.max(1, Math.min(timeoutMs / 2, untilMs - runtime.monotonicMs()));
      const asked = unasked.map((each) => this.#outcomeOf(each, { ...options, timeoutMs: partMs }));
      for (const outcome of await Promise.all(asked)) outcomes.set(outcome.address, outcome);
    }
    return this.#router.knownAddresses().flatMap((address) => outcomes.get(address) ?? []);
  }

  /**
   * Has this very server leave the chain in good order and end; resolves when it has left and is about to end.
   * By default it may take some seconds, also where the client's `timeoutMs` is less. Rejects with
   * LastMemberError if nothing would serve any more (unless `force`), with OutcomeUnknownError if the answer was not
   * seen or the server ended without the chain's agreement; then the chain finds out as after a crash.
   */
  leave(address: string, options: LeaveOptions = {}): Promise<void> {
    const { force = false } = options;
    const timeoutMs = options.timeoutMs ?? Math.max(this.#options.timeoutMs, 2 * leaveTimeoutMs);
    return this.#call(
      { ...options, timeoutMs, isOneAttempt: true },
      readTarget({ at: address }),
      () => ({ kind: 'leave', force }),
      () => undefined,
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

  /**
   * For `connect`: what is heard of elsewhere, and what must be closed with the client. `lists`: who is up will
   * be told, too.
   */
  attach(onClose: () => Promise<void>, lists = false): News {
    this.#closers.push(onClose);
    let listed = (): void => {};
    if (lists) {
      this.#listed = new Promise((resolve) => {
        listed = resolve;
      });
    }
    return {
      onView: (view) => this.#router.adopt(view),
      onServers: (addresses) => {
        this.#router.noteServers(addresses);
        listed();
        if (addresses.length > 0) this.#onKnown();
      },
    };
  }

  async #shutDown(): Promise<void> {
    this.#router.close();
    for (const stream of this.#streams) stream.close(new ClosedError('the client was closed'));
    await Promise.all(this.#closers.map((close) => close()));
  }

  #onKnown(): void {
    for (const wake of this.#knownWaiters) wake();
  }

  /** Rejects as a call does when nobody is heard of who could be asked. */
  async #untilKnown(options: CallOptions): Promise<void> {
    if (this.#router.knownAddresses().length > 0) return;
    let wake = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        wake = resolve;
        this.#knownWaiters.add(wake);
        this.#route(options, toMember).then(() => resolve(), reject);
      });
    } finally {
      this.#knownWaiters.delete(wake);
    }
  }

  /** Where ZooKeeper lists who is up, its list is waited for: the chain's members alone are known sooner. */
  async #untilListed(timeoutMs: number): Promise<void> {
    if (this.#listed === undefined) return;
    const timer = new AbortController();
    const late = delay(timeoutMs, { signal: timer.signal });
    await Promise.race([this.#listed, late]);
    timer.abort();
  }

  /** Its view counts too: it may name servers that nobody has asked yet. */
  async #outcomeOf(address: string, options: CallOptions): Promise<StatusOutcome> {
    try {
      const status = await this.status(address, options);
      if (status.view !== undefined) this.#router.adopt(status.view);
      return { address, status };
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      return { address, error };
    }
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

  #snapshot(values: boolean, options: ReadOptions): Promise<Snapshot> {
    const { cluster, dial } = this.#options;
    const host = {
      cluster,
      dial,
      deadlines: this.#deadlines,
      streams: this.#streams,
      route: (callOptions: CallOptions, target: Target) => this.#route(callOptions, target),
      noteRefusal: (address: string, failure: Failure) => {
        this.#router.noteRefusal(address, failure);
      },
      onView: (view: View) => this.#router.adopt(view),
    };
    const timeoutMs = this.#timeoutMs(options);
    const { signal } = options;
    return openSnapshot(host, { values, target: readTarget(options)(), timeoutMs, signal });
  }
}

/** The router lets none through; the type does not know. */
function wrongAnswer({ kind }: ResponseBody): UnavailableError {
  return new UnavailableError(`'${kind}' came as the answer to a read`);
}

function readTarget({ at }: ReadOptions): () => Target {
  return () =>
    at === undefined ? toMember : { kind: 'server', address: formatAddress(parseAddress(at)) };
}
