/**
 * One server of a cluster: recovers its disk, opens its port, joins the coordination, and runs until
 * it is told to leave, is killed, or halts. Puts the parts together; what they do is theirs.
 */
import { randomUUID } from 'node:crypto';
import type { Configuration, Member } from '../coordination/configuration.js';
import { type CatenaError, OutcomeUnknownError, type StorageError } from '../errors.js';
import { transferWindowBytes } from '../limits.js';
import { formatAddress } from '../protocol/address.js';
import { sealRecord } from '../protocol/entry-codec.js';
import type { PeerIdentity, View } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';
import type { ServerStatus } from '../protocol/status.js';
import type { Entry } from '../replica/entry.js';
import type { ReadRequest, Refusal, Role, WriteRequest } from '../replica/events.js';
import { Replica } from '../replica/replica.js';
import { timingOf } from '../replica/timing.js';
import { type ClientRead, type ClientWrite, isWrite } from './client-requests.js';
import { type ClientSession, failureOf } from './client-session.js';
import { systemClock } from './clock.js';
import { Listener } from './listener.js';
import { PeerNetwork } from './peer-network.js';
import { type Recovered, recover } from './recovery.js';
import { ReplicaHost } from './replica-host.js';
import { type CheckedOptions, checkOptions, type ServerOptions } from './server-options.js';
import { Statistics } from './statistics.js';

/** A leaver that cannot reach ZooKeeper, or whose chain is stuck, goes anyway after this. */
const leaveTimeoutMs = 5_000;
/** Below this a learner is fed from the log even if the table is smaller still. */
const snapshotBytesMin = 1024 * 1024;

export class CatenaServer {
  /** `host:port` under which others reach it. */
  readonly address: string;
  /** Resolves when the server has ended: undefined after close or kill, the reason after a halt. */
  readonly ended: Promise<CatenaError | undefined>;

  readonly #options: CheckedOptions;
  readonly #self: Member;
  readonly #recovered: Recovered;
  readonly #replica: Replica;
  readonly #host: ReplicaHost;
  readonly #peers: PeerNetwork;
  readonly #listener: Listener;
  readonly #statistics = new Statistics();
  readonly #startedAtMs = performance.now();
  #end!: (reason: CatenaError | undefined) => void;
  #onLeft: (() => void) | undefined;
  /** Coordination has placed it, as a member or a learner; until then it only listens. */
  #serves = false;
  #closing: Promise<void> | undefined;

  /** Recovers, listens and announces itself. Throws typed errors: bad options, damaged data, a port in use. */
  static async start(options: ServerOptions): Promise<CatenaServer> {
    const checked = checkOptions(options);
    let server: CatenaServer | undefined;
    let failure: StorageError | undefined;
    const recovered = await recover(checked.dataPath, {
      onDurable: (seq) => {
        if (server !== undefined) server.#host.handle({ kind: 'durable', seq });
      },
      onFatal: (error) => {
        failure = error;
        if (server !== undefined) server.#halt(error);
      },
    });
    try {
      server = new CatenaServer(checked, recovered);
      if (failure !== undefined) throw failure;
      await server.#open();
      return server;
    } catch (error) {
      await recovered.log.close().catch(() => undefined);
      await recovered.data.close();
      throw error;
    }
  }

  private constructor(options: CheckedOptions, recovered: Recovered) {
    this.#options = options;
    this.#recovered = recovered;
    this.address = options.advertise ?? formatAddress(options.listen);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const { serverId } = recovered.data.identity;
    this.#self = { serverId, incarnation: randomUUID(), address: this.address };
    const timing = timingOf(options.leaseMs, options.reviveGraceMs);
    this.#replica = new Replica(
      {
        self: this.#self,
        replicas: options.replicas,
        minReplicas: options.minReplicas,
        timing,
        transferWindowBytes,
        randomId: randomUUID,
        seal: sealRecord,
        prefersSnapshot: (seq) => this.#prefersSnapshot(seq),
      },
      { log: recovered.entryLog, lastKnown: recovered.lastKnown },
    );
    const scheduleFlush = (flush: () => void): void => this.#host.scheduleFlush(flush);
    const shared = { cluster: options.cluster, identity: () => this.#identity(), scheduleFlush };
    const { logger } = options;
    this.#peers = new PeerNetwork({
      ...shared,
      logger,
      handler: {
        onLinkUp: ({ id, peer }, dialed) =>
          this.#host.handle({ kind: 'link-up', link: id, peer, dialed }),
        onLinkDown: (link) => this.#host.onLinkDown(link),
        onLinkPayloads: (link, payloads) => this.#host.onLinkPayloads(link, payloads),
        onDialFailed: (target, why) => this.#host.handle({ kind: 'dial-failed', target, why }),
      },
    });
    this.#host = new ReplicaHost({
      replica: this.#replica,
      recovered,
      coordinator: options.coordinator,
      peers: this.#peers,
      clock: systemClock,
      tickMs: timing.beatMs / 2,
      logger,
      self: this.#self,
      events: {
        onRole: (role, configuration, reason) => this.#onRole(role, configuration, reason),
        onRefused: (requests, why) => this.#onRefused(requests, why),
        onAbandoned: (entry, writes) => this.#onAbandoned(entry, writes),
        onCongestion: (congested) => this.#listener.setCongested(congested),
        onLeft: () => this.#onLeft?.(),
        onHalt: (error) => this.#halt(error),
      },
    });
    this.#listener = new Listener({
      ...shared,
      logger,
      view: () => this.#view(),
      peers: this.#peers,
      host: {
        onWrite: (write) => this.#host.enqueueWrite(write),
        onRead: (read) => this.#host.enqueueRead(read),
        onStatus: (session, id, arrivedAtMs) => this.#onStatus(session, id, arrivedAtMs),
        onLeave: (session, id, arrivedAtMs) => this.#onLeave(session, id, arrivedAtMs),
        onAnswered: (kind, arrivedAtMs, failed) =>
          this.#statistics.record(kind, performance.now() - arrivedAtMs, failed),
        onLinkPayloads: (link, payloads) => this.#host.onLinkPayloads(link, payloads),
      },
    });
  }

  get serverId(): string {
    return this.#self.serverId;
  }

  get role(): Role {
    return this.#replica.role;
  }

  /**
   * Leaves the chain in good order (R10), then stops. Goes without agreement when that takes longer
   * than `leaveTimeoutMs`, which is as safe as a crash.
   */
  async leave(): Promise<void> {
    const left = new Promise<void>((resolve) => {
      this.#onLeft = resolve;
    });
    this.#host.handle({ kind: 'leave' });
    const timer = setTimeout(() => {
      this.#options.logger.warn('leaving without agreement', { afterMs: leaveTimeoutMs });
      this.#onLeft?.();
    }, leaveTimeoutMs);
    await Promise.race([left, this.ended]);
    clearTimeout(timer);
    await this.close();
  }

  /** Stops without leaving: the chain finds out. What was written is on disk. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown(false, undefined);
    return this.#closing;
  }

  /** As close to `kill -9` as a server in this process comes: nothing is flushed, said or left. */
  kill(): Promise<void> {
    this.#closing ??= this.#shutDown(true, undefined);
    return this.#closing;
  }

  async #open(): Promise<void> {
    const { listen, coordinator, logger, onLine } = this.#options;
    await this.#listener.listen(listen);
    if (this.#closing !== undefined) {
      // The disk failed meanwhile: `ended` says so.
      await this.#listener.close(true);
      return;
    }
    this.#host.start();
    coordinator.start({
      onChain: (read) => this.#host.onChain(read),
      onServers: (servers) => this.#host.handle({ kind: 'servers', servers }),
      onSession: (state) => logger.info('coordination session', { state }),
    });
    coordinator.announce({ ...this.#self, state: 'learner' });
    const { recovery, lastSeq } = this.#recovered.log;
    logger.info('recovered', {
      lastSeq,
      keys: this.#host.keys,
      outcome: recovery.outcome,
      tornBytes: recovery.tornBytes,
    });
    onLine(
      `${this.address} listens (server ${this.#self.serverId.slice(0, 8)}, ${this.#host.keys} keys, ` +
        `log to ${lastSeq}, data in ${this.#options.dataPath})`,
    );
  }

  #halt(reason: CatenaError): void {
    if (this.#closing !== undefined) return;
    const { logger } = this.#options;
    logger.error('halted', { code: reason.code, reason: reason.message });
    this.#closing = this.#shutDown(true, reason);
    this.#closing.catch((error: unknown) =>
      logger.error('halting went wrong', { reason: String(error) }),
    );
  }

  async #shutDown(abrupt: boolean, reason: CatenaError | undefined): Promise<void> {
    this.#host.stop();
    this.#peers.close();
    const listenerClosed = this.#listener.close(abrupt);
    try {
      await Promise.all([this.#options.coordinator.close(), listenerClosed]);
      await this.#host.cleanedUp();
      await this.#recovered.log.close();
      await this.#recovered.data.close();
    } finally {
      // Whatever went wrong on the way: this server has ended, and whoever waits for that is told.
      this.#end(reason);
    }
  }

  #prefersSnapshot(seq: number): boolean {
    const { log } = this.#recovered;
    if (seq + 1 < log.firstSeq) return true;
    return log.bytesAfter(seq) > this.#host.tableBytes + snapshotBytesMin;
  }

  #identity(): PeerIdentity {
    const { serverId, incarnation } = this.#self;
    const configuration = this.#replica.configuration ?? this.#recovered.lastKnown;
    return {
      clusterId: configuration?.clusterId ?? '',
      serverId,
      incarnation,
      leaseMs: this.#options.leaseMs,
    };
  }

  #view(): View | undefined {
    const { configuration } = this.#replica;
    return configuration === undefined ? undefined : viewOf(configuration);
  }

  #onRole(role: Role, configuration: Configuration, reason: string): void {
    const chain = configuration.members.map(({ address }) => address).join(' > ');
    if (!this.#serves)
      this.#options.onLine(`${this.address} serves cluster '${this.#options.cluster}'`);
    this.#serves = true;
    this.#options.onLine(
      `${this.address} is ${role} in epoch ${configuration.epoch}: ${chain} (${reason})`,
    );
    this.#listener.pushView(viewOf(configuration));
  }

  #onRefused(requests: readonly (WriteRequest | ReadRequest)[], why: Refusal): void {
    const view = this.#view();
    for (const request of requests as readonly (ClientWrite | ClientRead)[]) {
      const { session, id, arrivedAtMs } = request;
      const kind = isWrite(request) ? request.op.kind : request.body.kind;
      if (!isWrite(request)) request.snapshot?.close();
      const message = `${this.address} ${refusalText[why]}`;
      const failure = { code: why, message, ...(view === undefined ? {} : { view }) };
      session.fail(id, kind, arrivedAtMs, failure);
    }
  }

  #onAbandoned(entry: Entry, writes: readonly ClientWrite[]): void {
    let seq = entry.firstSeq;
    for (const { session, id, op, arrivedAtMs, noWait } of writes) {
      const opId = { epoch: entry.epoch, seq };
      const text = formatOpId(opId);
      const error = new OutcomeUnknownError(
        `${this.address} was removed from the chain before op ${text} was acknowledged; verify it`,
        text,
      );
      if (!noWait) session.fail(id, op.kind, arrivedAtMs, { ...failureOf(error), opId });
      seq += 1;
    }
  }

  #onLeave(session: ClientSession, id: number, arrivedAtMs: number): void {
    session.answer(id, 'leave', arrivedAtMs, { kind: 'left' });
    void this.leave();
  }

  #onStatus(session: ClientSession, id: number, arrivedAtMs: number): void {
    const status = this.#replica.status(systemClock());
    const { configuration, role, lastSeq, durableSeq, commitSeq, leaseHolds, learners } = status;
    const body: ServerStatus = {
      ...this.#self,
      role,
      ...(configuration === undefined ? {} : { view: viewOf(configuration) }),
      lastSeq,
      durableSeq,
      commitSeq,
      lease: leaseHolds,
      keys: this.#host.keys,
      tableBytes: this.#host.tableBytes,
      clientConnections: this.#listener.sessions.size,
      serverConnections: this.#peers.size,
      uptimeMs: performance.now() - this.#startedAtMs,
      ops: this.#statistics.list(),
      learners: learners.map(({ serverId, acked, state }) => ({
        serverId,
        ackedSeq: acked,
        state,
      })),
      reason: configuration?.change.reason ?? '',
      waitingFor: '',
      appliedSeq: commitSeq,
      stateHash: '',
      disk: { logFirstSeq: 0, logBytes: 0, snapshotSeq: 0, snapshotBytes: 0, freeBytes: 0 },
    };
    session.answer(id, 'status', arrivedAtMs, { kind: 'status', ...body });
  }
}

const refusalText: Readonly<Record<Refusal, string>> = {
  NOT_HEAD: 'is not the head of the chain',
  NOT_SERVING: 'is not serving as a member of the chain',
  NOT_ENOUGH_REPLICAS: 'has fewer members in its chain than --min-replicas asks for',
  UNAVAILABLE: 'could not get a lease in time; the chain is being repaired',
};

function viewOf({ clusterId, generation, epoch, members }: Configuration): View {
  return { clusterId, generation, epoch, members };
}
