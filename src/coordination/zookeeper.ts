/**
 * The coordinator on ZooKeeper: keeps a session going (a new child process for each), one ephemeral of ours,
 * and the listener informed. The ZooKeeper client itself runs in the child, see zookeeper-child.ts.
 * Everything is driven by state, not by events: a watch, a poll or a new session all mean "look again".
 *
 * Invariant: at most one session at a time, and nothing reaches the listener from any but the present one,
 * nor after close().
 */

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { BadRequestError, CoordinationError } from '../errors.js';
import type { Logger } from '../logger.js';
import type {
  ChainRead,
  Coordinator,
  CoordinatorListener,
  Registration,
  SessionState,
  WriteOutcome,
} from './coordinator.js';
import { planAnnouncement, registrationsInOrder } from './registry.js';
import type { AnnouncementStep, ServerNode } from './registry.js';
import { Refresh } from './zookeeper-refresh.js';
import { ZooKeeperSession } from './zookeeper-session.js';
import { ZooKeeperTree } from './zookeeper-tree.js';

export interface ZooKeeperOptions {
  /** `host:port,host:port` */
  readonly connectString: string;
  readonly cluster: string;
  /** ZooKeeper raises it to twice its tickTime if it is below. */
  readonly sessionTimeoutMs?: number;
  /** Off for a client that needs only the chain: spares ZooKeeper a read of each server at each poll. */
  readonly watchServers?: boolean;
  readonly logger: Logger;
}

export const sessionTimeoutMsDefault = 4_000;
export const sessionTimeoutMsMin = 400;

/** The low rate at which is read again without a watch having fired. */
const chainPollMs = 1_000;
const serversPollMs = 2_000;

/**
 * Before each new session a random wait up to this, doubled at each failure: sessions of many servers end at once. What an
 * attempt itself took counts as waiting, so that one that is back after a long time is found soon.
 */
const backoffMsMin = 100;
const backoffMsMax = 5_000;
/** A session that was connected for this long was no failure. */
const stableMs = 5_000;

export class ZooKeeperCoordinator implements Coordinator {
  readonly #options: Required<ZooKeeperOptions>;
  readonly #logger: Logger;
  readonly #tree: ZooKeeperTree;
  readonly #chainRefresh = new Refresh(() => this.#refreshChain(), chainPollMs);
  readonly #serversRefresh = new Refresh(() => this.#refreshServers(), serversPollMs);
  readonly #connectionWaiters = new Set<() => void>();

  #listener: CoordinatorListener | undefined;
  #closed: Promise<void> | undefined;
  #session: ZooKeeperSession | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #openedAtMs = 0;
  #connectedAtMs: number | undefined;
  #lastFailure: string | undefined;

  #registration: Registration | undefined;
  /** Names our nodes; a new one for each session, so that a guid found among the nodes is this session's. */
  #guid = '';
  #lastSequence: number | undefined;
  /** A new session may read old state, and a step of ours may have had no clear answer: the next look must be newer. */
  #syncFirst = true;

  /** What the listener was told last, as JSON where it is compared as a whole. */
  #reportedState: SessionState | undefined;
  #reportedChain: string | undefined;
  #reportedServers: string | undefined;
  #loggedGarbage = new Set<string>();
  #loggedRival: string | undefined;

  /** Throws if the npm package is not installed, or the options make no sense. */
  constructor(options: ZooKeeperOptions) {
    const sessionTimeoutMs = options.sessionTimeoutMs ?? sessionTimeoutMsDefault;
    if (!/^[\w-][\w.-]*$/.test(options.cluster)) {
      throw new BadRequestError(
        `cluster name ${JSON.stringify(options.cluster)}: use letters, digits, '_', '-', and '.' but not first`,
      );
    }
    if (sessionTimeoutMs < sessionTimeoutMsMin) {
      throw new BadRequestError(
        `session timeout of ${sessionTimeoutMs} ms: the least is ${sessionTimeoutMsMin} ms`,
      );
    }
    requirePackage();
    this.#options = { watchServers: true, ...options, sessionTimeoutMs };
    this.#logger = options.logger;
    this.#tree = new ZooKeeperTree(options.cluster);
  }

  /** Of the child that holds the present session; for tests and for people. */
  get childProcessId(): number | undefined {
    return this.#session?.processId;
  }

  start(listener: CoordinatorListener): void {
    if (this.#listener !== undefined) throw new Error('start() was called twice');
    if (this.#closed !== undefined) throw new Error('start() was called after close()');
    this.#listener = listener;
    this.#openSession();
  }

  announce(registration: Registration): void {
    this.#registration = registration;
    this.#serversRefresh.now();
  }

  async readChain(): Promise<ChainRead> {
    const session = await this.#connectedSession();
    const read = session && (await this.#tree.readChain(session));
    if (read !== undefined) return read;
    const { connectString } = this.#options;
    const why = this.#closed ? 'the coordinator is closed' : (this.#lastFailure ?? 'no answer');
    throw new CoordinationError(`ZooKeeper at ${connectString} could not be read: ${why}`);
  }

  async createChain(data: string): Promise<WriteOutcome> {
    const session = this.#session;
    return session === undefined ? 'unavailable' : this.#tree.createChain(session, data);
  }

  async setChain(data: string, version: number): Promise<WriteOutcome> {
    const session = this.#session;
    return session === undefined ? 'unavailable' : this.#tree.setChain(session, data, version);
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  async #shutDown(): Promise<void> {
    this.#chainRefresh.stop();
    this.#serversRefresh.stop();
    clearTimeout(this.#retryTimer);
    const session = this.#session;
    this.#session = undefined;
    this.#wakeWaiters();
    await session?.close();
  }

  #openSession(): void {
    this.#guid = randomUUID();
    this.#openedAtMs = performance.now();
    this.#syncFirst = true;
    const { connectString, sessionTimeoutMs } = this.#options;
    const session = new ZooKeeperSession(
      { connectString, sessionTimeoutMs, logger: this.#logger },
      {
        onState: (state) => this.#adoptState(state),
        onWatch: (path) => this.#lookAgain(path),
        onEnd: (reason) => this.#replaceSession(reason),
      },
    );
    this.#session = session;
  }

  #adoptState(state: 'connected' | 'suspended'): void {
    this.#logger.info(`ZooKeeper session ${state}`);
    if (state === 'connected') {
      this.#connectedAtMs ??= performance.now();
      this.#lastFailure = undefined;
      this.#wakeWaiters();
      this.#chainRefresh.now();
      this.#serversRefresh.now();
    } else {
      // What was under way may or may not have been done.
      this.#syncFirst = true;
    }
    this.#reportState(state);
  }

  #replaceSession(reason: string): void {
    const wasConnected = this.#connectedAtMs !== undefined;
    const connectedMs = wasConnected ? performance.now() - (this.#connectedAtMs ?? 0) : 0;
    this.#failures = connectedMs >= stableMs ? 0 : this.#failures + 1;
    this.#session = undefined;
    this.#connectedAtMs = undefined;
    this.#lastFailure = reason;
    const ceilingMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(this.#failures, 16));
    const waitedMs = wasConnected ? 0 : performance.now() - this.#openedAtMs;
    const waitMs = Math.max(0, Math.round(Math.random() * ceilingMs - waitedMs));
    this.#logger.warn('ZooKeeper session over, making another', { reason, waitMs });
    this.#retryTimer = setTimeout(() => this.#openSession(), waitMs);
    if (wasConnected) this.#reportState('expired');
    else if (this.#reportedState === undefined) this.#reportState('suspended');
  }

  #lookAgain(path: string): void {
    if (path === this.#tree.chainPath) this.#chainRefresh.now();
    else this.#serversRefresh.now();
  }

  async #refreshChain(): Promise<void> {
    const session = this.#session;
    if (session?.connected !== true) return;
    const read = await this.#tree.readChain(session);
    if (read === undefined || !this.#isCurrent(session)) return;
    const text = JSON.stringify(read);
    if (text === this.#reportedChain) return;
    this.#reportedChain = text;
    this.#listener?.onChain(read);
  }

  async #refreshServers(): Promise<void> {
    const session = this.#session;
    if (session?.connected !== true) return;
    if (!this.#options.watchServers && this.#registration === undefined) return;
    if (this.#syncFirst) {
      if (!(await this.#tree.sync(session))) return;
      this.#syncFirst = false;
    }
    const read = await this.#tree.readServers(session);
    if (read === undefined || !this.#isCurrent(session)) return;
    this.#logGarbage(read.garbage);
    this.#reportServers(read.nodes);
    await this.#keepAnnouncement(session, read.nodes);
  }

  async #keepAnnouncement(session: ZooKeeperSession, nodes: readonly ServerNode[]): Promise<void> {
    const registration = this.#registration;
    // The listener may have closed us.
    if (registration === undefined || !this.#isCurrent(session)) return;
    const { steps, own, rival } = planAnnouncement(nodes, {
      guid: this.#guid,
      registration,
      lastSequence: this.#lastSequence,
    });
    this.#lastSequence = own?.sequence ?? this.#lastSequence;
    this.#logRival(rival);
    for (const step of steps) {
      if (!(await this.#carryOut(session, step, registration))) {
        this.#syncFirst = true;
        return;
      }
    }
    // Read what came of it, also to tell the listener.
    if (steps.length > 0) this.#serversRefresh.now();
  }

  async #carryOut(
    session: ZooKeeperSession,
    step: AnnouncementStep,
    registration: Registration,
  ): Promise<boolean> {
    if (step.kind === 'set') return this.#tree.setServer(session, step.name, registration);
    if (step.kind === 'delete') return this.#tree.deleteServer(session, step.name);
    const sequence = await this.#tree.createServer(session, this.#guid, registration);
    this.#lastSequence = sequence ?? this.#lastSequence;
    return sequence !== undefined;
  }

  #reportState(state: SessionState): void {
    if (this.#closed !== undefined || state === this.#reportedState) return;
    this.#reportedState = state;
    this.#listener?.onSession(state);
  }

  #reportServers(nodes: readonly ServerNode[]): void {
    if (!this.#options.watchServers) return;
    const servers = registrationsInOrder(nodes);
    const text = JSON.stringify(servers);
    if (text === this.#reportedServers) return;
    this.#reportedServers = text;
    this.#listener?.onServers(servers);
  }

  #logGarbage(names: readonly string[]): void {
    for (const name of names) {
      if (this.#loggedGarbage.has(name)) continue;
      this.#logger.warn('a node below servers is no registration, ignored', { name });
    }
    this.#loggedGarbage = new Set(names);
  }

  #logRival(node: ServerNode | undefined): void {
    if (node !== undefined && node.name !== this.#loggedRival) {
      const { serverId, incarnation, address } = node.registration ?? {};
      this.#logger.warn(
        'another process is registered with our serverId; ours stays away unless it was there before',
        { serverId, incarnation, address },
      );
    }
    this.#loggedRival = node?.name;
  }

  #isCurrent(session: ZooKeeperSession): boolean {
    return this.#closed === undefined && session === this.#session;
  }

  /** Waits for a connection, at most for the session timeout. */
  async #connectedSession(): Promise<ZooKeeperSession | undefined> {
    if (this.#session?.connected === true) return this.#session;
    if (this.#closed !== undefined || this.#listener === undefined) return undefined;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#connectionWaiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, this.#options.sessionTimeoutMs);
      this.#connectionWaiters.add(wake);
    });
    return this.#session;
  }

  #wakeWaiters(): void {
    for (const wake of this.#connectionWaiters) wake();
  }
}

/** The package is optional: it compiles at install, which not every machine can. It is only looked up here, not loaded. */
function requirePackage(): void {
  try {
    createRequire(import.meta.url).resolve('zookeeper');
  } catch (error) {
    throw new CoordinationError(
      'the npm package zookeeper is not installed: install gcc, make and python3, then run ' +
        '`npm install zookeeper`; or name the servers with --servers and use no ZooKeeper',
      { cause: error },
    );
  }
}
