/**
 * One server of a cluster: recovers its disk, opens its port, joins the coordination, and runs until
 * it is told to leave, is killed, or halts. Puts the parts together; what they do is theirs.
 */
import type { Configuration, Member } from '../coordination/configuration.js';
import {
  type CatenaError,
  DiskFullError,
  LastMemberError,
  OutcomeUnknownError,
} from '../errors.js';
import { leaveTimeoutMs, transferWindowBytes } from '../limits.js';
import type { LogListener, StorageFailure } from '../log/segmented-log.js';
import type { Machine } from '../machine/machine.js';
import { formatAddress } from '../protocol/address.js';
import { sealRecord } from '../protocol/entry-codec.js';
import type { PeerIdentity, View } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';
import type { Entry } from '../replica/entry.js';
import type { ReadRequest, Refusal, Role, WriteRequest } from '../replica/events.js';
import { Replica } from '../replica/replica.js';
import { timingOf } from '../replica/timing.js';
import { nextTurn, rarely, runtime, type Timer } from '../runtime/runtime.js';
import { type ClientRead, type ClientWrite, isWrite } from './client-requests.js';
import { type ClientSession, failureOf } from './client-session.js';
import { now } from './clock.js';
import { checkDataPath } from './data-path.js';
import { connectionLimits } from './connection-limits.js';
import { Listener } from './listener.js';
import { MemoryCheck } from './integrity/memory-check.js';
import { OperatorLines } from './operator-lines.js';
import { PeerNetwork } from './peer-network.js';
import { type Recovered, recover } from './recovery.js';
import { ReplicaHost } from './replica-host.js';
import { createScrubber, type Scrubber } from './integrity/scrubber.js';
import {
  type CheckedOptions,
  checkOptions,
  segmentBytesFor,
  type ServerOptions,
} from './server-options.js';
import { statusOf, viewOf } from './server-status.js';
import type { ServerInside } from './server-watch.js';
import { Statistics } from './statistics.js';

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
  readonly #scrubber: Scrubber;
  readonly #memoryCheck: MemoryCheck;
  readonly #statistics = new Statistics();
  readonly #lines: OperatorLines;
  readonly #startedAtMs = runtime.monotonicMs();
  #end!: (reason: CatenaError | undefined) => void;
  #onLeft: (() => void) | undefined;
  /** Whether the chain agreed to the leave that was asked for. */
  #leaving: Promise<boolean> | undefined;
  /** Coordination has placed it, as a member or a learner; until then it only listens. */
  #serves = false;
  #closing: Promise<void> | undefined;
  /** Why it leaves, if it was not asked to. */
  #leavingReason: DiskFullError | undefined;

  /**
   * Recovers, listens and announces itself. Throws typed errors: bad options, damaged data, no room on
   * the disk, a port in use.
   */
  static async start(options: ServerOptions): Promise<CatenaServer> {
    const checked = checkOptions(options);
    if (checked.disk === undefined) await checkDataPath(checked.dataPath);
    let server: CatenaServer | undefined;
    let failure: StorageFailure | undefined;
    const listener: LogListener = {
      onDurable: (seq) => {
        if (server !== undefined) server.#host.handle({ kind: 'durable', seq });
      },
      onFatal: (error) => {
        failure ??= error;
        if (server === undefined) return;
        if (error instanceof DiskFullError) server.#onDiskFull(error, true);
        else server.#halt(error);
      },
      onDiskFull: (error) => {
        failure ??= error;
        if (server !== undefined) server.#onDiskFull(error, false);
      },
    };
    const recovered = await recover(checked.dataPath, listener, {
      ...(checked.disk === undefined ? {} : { disk: checked.disk }),
      segmentBytes: rarely('a small segment', 4096, segmentBytesFor(checked.logRetainBytes)),
      acceptMoved: checked.acceptMoved,
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
    this.#self = { serverId, incarnation: runtime.uuid(), address: this.address };
    const timing = timingOf(options.leaseMs, options.reviveGraceMs);
    this.#replica = new Replica(
      {
        self: this.#self,
        replicas: options.replicas,
        minReplicas: options.minReplicas,
        timing,
        transferWindowBytes: rarely('a small transfer window', 1, transferWindowBytes),
        randomId: () => runtime.uuid(),
        seal: sealRecord,
        prefersSnapshot: (seq) => this.#prefersSnapshot(seq),
      },
      {
        log: recovered.entryLog,
        lastKnown: recovered.lastKnown,
        founding: recovered.founding,
      },
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
      tickMs: timing.beatMs / 2,
      logRetainBytes: options.logRetainBytes,
      logger,
      self: this.#self,
      watch: options.watch,
      events: {
        onRole: (role, configuration, reason) => this.#onRole(role, configuration, reason),
        onRefused: (requests, why) => this.#onRefused(requests, why),
        onAbandoned: (entry, writes) => this.#onAbandoned(entry, writes),
        onCongestion: (congested) => this.#listener.setCongested(congested),
        onLeft: () => this.#onLeft?.(),
        onHalt: (error) => this.#halt(error),
        onDiskFull: (error) => this.#onDiskFull(error, true),
        onLine: (line) => options.onLine(`${this.address} ${line}`),
      },
    });
    this.#lines = new OperatorLines({
      address: this.address,
      coordinationName: options.coordinationName ?? 'ZooKeeper',
      waiting: () => this.#replica.waiting(now()),
      onLine: options.onLine,
      clock: now,
    });
    this.#scrubber = createScrubber(recovered, () => this.#host.snapshots.checkpoint.bytes, {
      intervalMs: options.scrubIntervalMs,
      logger,
      onDamage: (error) => this.#halt(error),
    });
    this.#memoryCheck = new MemoryCheck({
      intervalMs: options.scrubIntervalMs,
      machine: () => this.#host.machine,
      schedule: (act, ms) => {
        const timer = runtime.after(ms, act, { keepsAlive: false });
        return () => timer.cancel();
      },
      logger,
      onDamage: (error) => this.#halt(error),
    });
    this.#listener = new Listener({
      ...shared,
      logger,
      limits: connectionLimits(),
      view: () => this.#view(),
      peers: this.#peers,
      host: {
        onWrite: (write) => this.#host.enqueueWrite(write),
        onRead: (read) => this.#host.enqueueRead(read),
        onStatus: (session, id, arrivedAtMs) => void this.#onStatus(session, id, arrivedAtMs),
        onLeave: (session, id, arrivedAtMs, force) => {
          this.#onLeave(session, id, arrivedAtMs, force).catch((error: unknown) =>
            logger.error('leaving went wrong', { reason: String(error) }),
          );
        },
        onAnswered: (kind, arrivedAtMs, failed) =>
          this.#statistics.record(kind, runtime.monotonicMs() - arrivedAtMs, failed),
        onLinkPayloads: (link, payloads) => this.#host.onLinkPayloads(link, payloads),
      },
    });
  }

  get serverId(): string {
    return this.#self.serverId;
  }

  #insideOf({ log }: Recovered): ServerInside {
    return {
      serverId: this.serverId,
      status: (now) => this.#replica.status(now),
      machine: () => this.#host.machine,
      epochAt: (seq) => (seq >= log.firstSeq && seq <= log.lastSeq ? log.epochAt(seq) : undefined),
    };
  }

  get role(): Role {
    return this.#replica.role;
  }

  /** What this server has applied. For a look from outside; nothing but the chain may change it. */
  get machine(): Machine {
    return this.#host.machine;
  }

  /**
   * Leaves the chain in good order (R10), then stops. Goes without agreement when that takes longer
   * than `leaveTimeoutMs`, which is as safe as a crash.
   */
  async leave(): Promise<void> {
    await this.#leaveChain();
    // Clients that asked for it are answered first, all of them.
    await nextTurn();
    await this.close();
  }

  /** Stops without leaving: the chain finds out. What was written is on disk. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown(false, this.#leavingReason);
    return this.#closing;
  }

  /** As close to `kill -9` as a server in this process comes: nothing is flushed, said or left. */
  kill(): Promise<void> {
    this.#closing ??= this.#shutDown(true, undefined);
    return this.#closing;
  }

  async #open(): Promise<void> {
    const { listen, coordinator, logger, onLine } = this.#options;
    this.#options.watch?.onRecovered(this.#insideOf(this.#recovered));
    await this.#listener.listen(listen);
    if (this.#closing !== undefined) {
      // The disk failed meanwhile: `ended` says so.
      await this.#listener.close(true);
      return;
    }
    this.#host.start();
    this.#lines.start();
    this.#scrubber.start();
    this.#memoryCheck.start();
    coordinator.start({
      onChain: (read) => this.#host.onChain(read),
      onServers: (servers) => this.#host.handle({ kind: 'servers', servers }),
      onSession: (state) => {
        logger.info('coordination session', { state });
        this.#lines.onSession(state);
        this.#host.handle({ kind: 'session', isConnected: state === 'connected' });
      },
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
    this.#lines.stop();
    this.#memoryCheck.stop();
    this.#host.stop();
    this.#peers.close();
    const listenerClosed = this.#listener.close(abrupt);
    try {
      await Promise.all([this.#options.coordinator.close(), listenerClosed]);
      await this.#host.snapshots.close();
      await this.#scrubber.stop();
      await this.#recovered.log.close();
      await this.#recovered.data.close();
    } finally {
      // Whatever went wrong on the way: this server has ended, and whoever waits for that is told.
      this.#end(reason);
    }
  }

  /**
   * No room (FAULTS D4): nothing more is acknowledged, and the chain goes on without this server.
   * `isLost`: something that was to be written is not on disk; before that it can still finish what it has.
   */
  #onDiskFull(full: DiskFullError, isLost: boolean): void {
    if (this.#closing !== undefined) return;
    const { logger, onLine, dataPath } = this.#options;
    if (this.#leavingReason === undefined) {
      this.#leavingReason = full;
      logger.error('no room on the disk', { reason: full.message });
      const { role } = this.#replica;
      const next = role === 'learner' || role === 'single' ? 'stops' : 'leaves the chain';
      onLine(`${this.address}: no room on ${dataPath}: ${next}`);
    }
    this.leave().catch((reason: unknown) =>
      logger.error('leaving went wrong', { reason: String(reason) }),
    );
    if (isLost) this.#host.handle({ kind: 'disk-full' });
  }

  /** Resolves to whether the chain agreed; from the first call on this server does not serve. */
  #leaveChain(): Promise<boolean> {
    this.#leaving ??= this.#leaveOrGiveUp();
    return this.#leaving;
  }

  async #leaveOrGiveUp(): Promise<boolean> {
    let timer: Timer | undefined;
    const left = new Promise<boolean>((resolve) => {
      this.#onLeft = () => resolve(true);
      timer = runtime.after(leaveTimeoutMs, () => {
        this.#options.logger.warn('leaving without agreement', { afterMs: leaveTimeoutMs });
        resolve(false);
      });
    });
    this.#host.handle({ kind: 'leave' });
    const agreed = await Promise.race([left, this.ended.then(() => false)]);
    timer?.cancel();
    return agreed;
  }

  /**
   * Who comes back gets what it lacks, as long as the log reaches back. Who is new gets what is less work
   * for it: to sync and apply an op costs about twice what an entry of a snapshot does.
   */
  #prefersSnapshot(seq: number): boolean {
    const { log } = this.#recovered;
    if (seq + 1 < log.firstSeq) return true;
    return seq === 0 && log.bytesAfter(seq) > this.#host.tableBytes / 2 + snapshotBytesMin;
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
    // The one that was removed may have stopped because its state differed from this one's.
    if (configuration.change.kind === 'removal') this.#memoryCheck.begin();
  }

  #onRefused(requests: readonly (WriteRequest | ReadRequest)[], why: Refusal): void {
    const view = this.#view();
    for (const request of requests as readonly (ClientWrite | ClientRead)[]) {
      const { session, id, arrivedAtMs } = request;
      const kind = isWrite(request) ? request.op.kind : request.body.kind;
      if (!isWrite(request)) request.instant?.snapshot.close();
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

  /** Answered at the very end: `left` means that nobody waits for anything of this server any more. */
  async #onLeave(
    session: ClientSession,
    id: number,
    arrivedAtMs: number,
    force: boolean,
  ): Promise<void> {
    const { members } = this.#replica.configuration ?? this.#recovered.lastKnown ?? { members: [] };
    const isLast = members.length === 1 && members[0]?.serverId === this.serverId;
    if (isLast && !force) {
      const message = `${this.address} is the only member of its chain: nothing would serve any more (--force)`;
      session.fail(id, 'leave', arrivedAtMs, failureOf(new LastMemberError(message)));
      return;
    }
    if (await this.#leaveChain()) {
      session.answer(id, 'leave', arrivedAtMs, { kind: 'left' });
    } else {
      const error = new OutcomeUnknownError(
        `${this.address} ends without the agreement of its chain, which will find out as after a crash`,
      );
      session.fail(id, 'leave', arrivedAtMs, failureOf(error));
    }
    await this.leave();
  }

  async #onStatus(session: ClientSession, id: number, arrivedAtMs: number): Promise<void> {
    const body = await statusOf(
      {
        self: this.#self,
        replica: this.#replica,
        host: this.#host,
        recovered: this.#recovered,
        statistics: this.#statistics,
        clientConnections: this.#listener.sessions.size,
        serverConnections: this.#peers.size,
        uptimeMs: runtime.monotonicMs() - this.#startedAtMs,
        scrub: this.#scrubber.last,
      },
      now(),
    );
    session.answer(id, 'status', arrivedAtMs, { kind: 'status', ...body });
  }
}

const refusalText: Readonly<Record<Refusal, string>> = {
  NOT_HEAD: 'is not the head of the chain',
  NOT_SERVING: 'is not serving as a member of the chain',
  NOT_ENOUGH_REPLICAS: 'has fewer members in its chain than --min-replicas asks for',
  UNAVAILABLE: 'could not get a lease in time; the chain is being repaired',
};
