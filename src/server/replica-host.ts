/**
 * The shell around the replica: turns what happens (frames, sync done, a watch fired, time) into
 * events, and carries out effects in the order given, all of them, before the next event. Requests
 * that arrive in one turn of the loop are handed over together at its end.
 *
 * Nothing here decides anything about the chain.
 */
import type { Configuration, Member } from '../coordination/configuration.js';
import type { ChainRead, Coordinator, WriteOutcome } from '../coordination/coordinator.js';
import { CatenaError, DiskFullError, InvariantError, StorageError } from '../errors.js';
import { unacknowledgedBytesMax } from '../limits.js';
import { NotInLogError } from '../log/segmented-log.js';
import type { Logger } from '../logger.js';
import type { Machine } from '../machine/machine.js';
import type { OpResult } from '../machine/op.js';
import { resendOf } from '../protocol/entry-codec.js';
import { decodePeer, encodePeer, isSnapshotMessage } from '../protocol/peer-messages.js';
import type { Entry } from '../replica/entry.js';
import type {
  Effect,
  Event,
  LinkId,
  ReadRequest,
  Refusal,
  Role,
  WriteRequest,
} from '../replica/events.js';
import type { Replica } from '../replica/replica.js';
import { rarely, runtime, type Timer } from '../runtime/runtime.js';
import { compareAndSet, readingOf } from './chain-znode.js';
import { answerAssigned, answerWritten, ReadAnswers } from './answers.js';
import type { ClientRead, ClientWrite } from './client-requests.js';
import { now } from './clock.js';
import type { PeerLink, PeerNetwork } from './peer-network.js';
import { type Recovered, writeLastKnown } from './recovery.js';
import { CatchUpReport } from './snapshots/catch-up-report.js';
import { Snapshots } from './snapshots/snapshots.js';
import type { SnapshotRequest } from './snapshots/source.js';
import { StateComparison } from './integrity/state-comparison.js';
import type { ServerWatch } from './server-watch.js';
import { WriteQueue } from './write-queue.js';

export interface ReplicaHostEvents {
  onRole(role: Role, configuration: Configuration, reason: string): void;
  /** This server can no longer tell how a write ends, or refuses a request. */
  onRefused(requests: readonly (WriteRequest | ReadRequest)[], why: Refusal): void;
  onAbandoned(entry: Entry, writes: readonly ClientWrite[]): void;
  /** The chain has no room for more writes, or has some again. */
  onCongestion(congested: boolean): void;
  onLeft(): void;
  onHalt(error: CatenaError): void;
  /** What was to be written is not on disk, and never will be: this server can only leave. */
  onDiskFull(error: DiskFullError): void;
  /** For people. */
  onLine(line: string): void;
}

export interface ReplicaHostOptions {
  readonly replica: Replica;
  readonly recovered: Recovered;
  readonly coordinator: Coordinator;
  readonly peers: PeerNetwork;
  readonly tickMs: number;
  /** Bytes of log that are kept although a snapshot covers them. */
  readonly logRetainBytes: number;
  readonly logger: Logger;
  readonly self: Member;
  readonly events: ReplicaHostEvents;
  readonly watch?: ServerWatch | undefined;
}

/** A log without appends for this long is sealed. */
const sealAfterMs = 1_000;

export class ReplicaHost {
  readonly #options: ReplicaHostOptions;
  readonly #replica: Replica;
  readonly #writes: WriteQueue;
  readonly #answers: ReadAnswers;
  #reads: ClientRead[] = [];
  readonly #events: Event[] = [];
  #stepping = false;
  /** A snapshot is being put in place: events wait until table and log fit together again. */
  #suspended = false;
  #turnScheduled = false;
  /** It will run by itself. */
  #turnIsDue = false;
  #flushes: (() => void)[] = [];
  #congested = false;
  readonly #unacknowledgedBytesMax = rarely('little room in the chain', 1, unacknowledgedBytesMax);
  /** Monotonic, of the newest append that is not sealed; undefined: all are. */
  #appendedAtMs: number | undefined;
  readonly snapshots: Snapshots;
  readonly #catchUp: CatchUpReport;
  readonly #comparison: StateComparison;
  #ticker: Timer | undefined;
  #stopped = false;

  constructor(options: ReplicaHostOptions) {
    this.#options = options;
    this.#replica = options.replica;
    this.#answers = new ReadAnswers(options.recovered.machine, options.replica);
    const { replica, recovered, logger, events } = options;
    this.#catchUp = new CatchUpReport(recovered.log.lastSeq);
    this.snapshots = new Snapshots({
      replica,
      recovered,
      logger,
      logRetainBytes: options.logRetainBytes,
      catchUp: this.#catchUp,
      machine: () => this.#answers.machine,
      setMachine: (machine) => {
        this.#answers.machine = machine;
        recovered.machine = machine;
      },
      isStopped: () => this.#stopped,
      handle: (event) => this.handle(event),
      suspend: () => {
        this.#suspended = true;
      },
      resume: (event) => {
        this.#suspended = false;
        this.#events.unshift(event);
        this.handle({ kind: 'tick' });
      },
      onLinkPayloads: (link, payloads) => this.onLinkPayloads(link, payloads),
      onStorageFailure: (error) => this.#onStorageFailure(error),
      onLine: (line) => events.onLine(line),
    });
    this.#comparison = new StateComparison({
      machine: () => this.#answers.machine,
      onEqual: (seq, hash) => this.handle({ kind: 'state-hashed', seq, hash }),
    });
    this.#writes = new WriteQueue({
      hasRoom: () => this.#hasRoom(),
      submit: (batch) => this.handle({ kind: 'writes', writes: batch }),
      full: () => {
        this.#checkCongestion();
        this.#endTurn();
      },
      drained: () => this.#endTurn(),
    });
  }

  start(): void {
    this.#ticker = runtime.every(this.#options.tickMs, () => {
      this.handle({ kind: 'tick' });
      this.#sealWhenQuiet();
      this.snapshots.onTick();
    });
  }

  /** No event is handled from here on. */
  stop(): void {
    this.#stopped = true;
    this.#ticker?.cancel();
  }

  /** The one of this moment: an installed snapshot brings another. */
  get machine(): Machine {
    return this.#answers.machine;
  }

  get keys(): number {
    return this.#answers.machine.table.size;
  }

  get tableBytes(): number {
    return this.#answers.machine.table.bytes;
  }

  /** Flushes of connections run at the end of the turn, once all answers of the turn are there. */
  readonly scheduleFlush = (flush: () => void): void => {
    this.#flushes.push(flush);
    this.#scheduleTurnEnd();
  };

  enqueueWrite(write: ClientWrite): void {
    this.#writes.push(write);
    this.#scheduleTurnEnd();
  }

  enqueueRead(read: ClientRead): void {
    this.#reads.push(read);
    this.#scheduleTurnEnd();
  }

  /** Steps the replica and carries out what it wants, then what happened meanwhile. */
  handle(event: Event): void {
    if (this.#stopped) return;
    if (this.#suspended && (event.kind === 'tick' || event.kind === 'turn-end')) return;
    this.#events.push(event);
    if (this.#stepping || this.#suspended) return;
    this.#stepping = true;
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      try {
        const effects = this.#replica.step(next, now());
        this.#options.watch?.onStep(next, effects);
        for (const effect of effects) this.#execute(effect);
        if (next.kind === 'reads-done') {
          this.#answers.discard(next.reads as readonly ClientRead[]);
        }
      } catch (error) {
        // An effect half carried out leaves table, log and replica apart: never go on (P8).
        this.#halt(error instanceof CatenaError ? error : new InvariantError(String(error)));
      }
      if (this.#suspended || this.#stopped) break;
    }
    this.#stepping = false;
    this.#scheduleTurnEnd();
  }

  onChain(read: ChainRead): void {
    this.handle({ kind: 'chain', reading: readingOf(read) });
  }

  /** What a peer sent. An error thrown closes that connection. */
  onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void {
    if (this.snapshots.holdBack(link, payloads)) return;
    for (let index = 0; index < payloads.length; index++) {
      // Dealing with one message may have closed the link: the replica was told that it is down.
      if (link.connection.isClosed) return;
      const message = decodePeer(payloads[index] as Buffer);
      if (!isSnapshotMessage(message)) {
        this.handle({ kind: 'message', link: link.id, message });
        continue;
      }
      this.snapshots.receive(link, message, payloads.slice(index + 1));
      return;
    }
  }

  onLinkDown(link: PeerLink): void {
    this.snapshots.onLinkDown(link);
    this.handle({ kind: 'link-down', link: link.id });
  }

  #scheduleTurnEnd(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    this.#turnIsDue = true;
    runtime.atTurnEnd(() => this.#onTurn());
  }

  /** The end of one turn of the poll loop: everything that arrived in it is dealt with together. */
  #onTurn(): void {
    this.#turnIsDue = false;
    if (this.#reads.length > 0) {
      const reads = this.#reads;
      this.#reads = [];
      this.handle({ kind: 'reads', reads });
    }
    if (this.#writes.isEmpty) {
      this.#endTurn();
      return;
    }
    // While the writer waits for room nothing ends the turn for it; acks must not wait.
    if (this.#congested) this.#endTurn();
    this.#writes.drainSoon();
  }

  /**
   * What the end of a turn sets off belongs to that turn. The writer, when it got room, may end one while the next is
   * due: that one stays scheduled, or there would be two, each scheduling another for ever.
   */
  #endTurn(): void {
    this.#turnScheduled = true;
    this.handle({ kind: 'turn-end' });
    this.#turnScheduled = this.#turnIsDue;
    const flushes = this.#flushes;
    this.#flushes = [];
    for (const flush of flushes) flush();
  }

  /** Only a head's writes wait for the chain; elsewhere they are refused at once. */
  #hasRoom(bytesMax = this.#unacknowledgedBytesMax): boolean {
    const { role, unacknowledgedBytes } = this.#replica;
    return (role !== 'head' && role !== 'single') || unacknowledgedBytes < bytesMax;
  }

  #checkCongestion(): void {
    const congested = !this.#hasRoom(this.#unacknowledgedBytesMax / (this.#congested ? 2 : 1));
    if (congested === this.#congested) return;
    this.#congested = congested;
    this.#options.events.onCongestion(congested);
    if (!congested) this.#writes.roomAgain();
  }

  #execute(effect: Effect): void {
    const { recovered, coordinator, peers, events, logger } = this.#options;
    switch (effect.kind) {
      case 'append':
        return this.#append(effect.entry);
      case 'send':
        return peers.get(effect.link)?.connection.send(encodePeer(this.#completed(effect)));
      case 'assigned':
        return answerAssigned(effect.entry, effect.writes as readonly ClientWrite[]);
      case 'apply':
        return this.#apply(effect.entry, effect.writes as readonly ClientWrite[] | undefined);
      case 'read': {
        const reads = this.#answers.read(effect.reads as readonly ClientRead[]);
        if (reads.length > 0) this.#events.push({ kind: 'reads-done', reads });
        return;
      }
      case 'answer':
        return this.#answers.answer(effect.reads as readonly ClientRead[]);
      case 'refuse':
        return events.onRefused(effect.requests, effect.why);
      case 'abandon':
        return events.onAbandoned(effect.entry, effect.writes as readonly ClientWrite[]);
      case 'persist':
        return this.#persist(effect.state.configuration);
      case 'cut':
        this.#catchUp.onCut(effect.seq);
        recovered.log.cut(effect.seq).catch((error: unknown) => this.#onStorageFailure(error));
        return;
      case 'dial':
        return peers.dial(effect.target);
      case 'probe':
        return peers.probe(effect.target);
      case 'close-link':
        logger.info('link closed', { link: effect.link, reason: effect.reason });
        return peers.get(effect.link)?.connection.close(undefined);
      case 'read-log':
        return this.#readLog(effect.link, effect.fromSeq, effect.bytesMax);
      case 'send-snapshot':
        return this.#sendSnapshot(effect.link, effect);
      case 'propose':
        return this.#propose(effect.configuration, effect.version, effect.confirm);
      case 'hash-state':
        return this.#hashState();
      case 'compare-state':
        return this.#comparison.compare(effect);
      case 'refresh':
        return this.#refresh();
      case 'announce': {
        return coordinator.announce({ ...this.#options.self, state: effect.state });
      }
      case 'role':
        this.#checkCongestion();
        this.#reportCatchUp(effect.role);
        this.snapshots.onRole(effect.role);
        this.#comparison.reset();
        return events.onRole(effect.role, effect.configuration, effect.reason);
      case 'note':
        return logger[effect.level](effect.message, effect.fields);
      case 'left':
        return events.onLeft();
      case 'halt':
        return this.#halt(effect.error);
    }
  }

  /** Only the shell knows what a broken transfer left on the disk. */
  #completed(message: Effect & { kind: 'send' }): Effect & { kind: 'send' } {
    if (message.body.kind !== 'join') return message;
    const { partial } = this.snapshots;
    if (partial === undefined) return message;
    return { ...message, body: { ...message.body, partial } };
  }

  #append({ epoch, firstSeq, lastSeq, record }: Entry): void {
    this.#catchUp.onAppend(firstSeq, lastSeq, record.length);
    this.#appendedAtMs = runtime.monotonicMs();
    this.#options.recovered.log.append({ epoch, firstSeq, lastSeq, bytes: record });
  }

  /** A quiet log is sealed, so that rot at its end can be told from a torn write. */
  #sealWhenQuiet(): void {
    if (this.#appendedAtMs === undefined) return;
    const isQuiet = runtime.monotonicMs() - this.#appendedAtMs >= sealAfterMs;
    if (!isQuiet && !runtime.maybe('an early seal')) return;
    this.#appendedAtMs = undefined;
    this.#options.recovered.log.seal().catch((error: unknown) => this.#onStorageFailure(error));
  }

  /** What it took to come back: only what this server lacked, if the protocol is right. */
  #reportCatchUp(role: Role): void {
    const report = this.#catchUp.onRole(role);
    if (report !== undefined) this.#options.events.onLine(report);
  }

  #apply(entry: Entry, writes: readonly ClientWrite[] | undefined): void {
    const results: OpResult[] = this.#answers.machine.apply(entry);
    this.#comparison.onApplied();
    if (writes !== undefined) answerWritten(entry, writes, results);
    if (this.#congested) this.#checkCongestion();
  }

  #hashState(): void {
    const { appliedSeq: seq, stateHash: hash } = this.#answers.machine;
    this.#events.push({ kind: 'state-hashed', seq, hash });
  }

  #persist(configuration: Configuration): void {
    writeLastKnown(this.#options.recovered.data, configuration).then(
      () => this.handle({ kind: 'persisted' }),
      (error: unknown) => this.#onStorageFailure(error),
    );
  }

  #readLog(link: LinkId, fromSeq: number, bytesMax: number): void {
    this.#options.recovered.log
      .read(fromSeq, rarely('a small read of the log', 1, bytesMax))
      .then((records) =>
        this.handle({ kind: 'log-read', link, entries: records.map((record) => resendOf(record)) }),
      )
      .catch((error: unknown) => {
        if (!(error instanceof NotInLogError)) return this.#onStorageFailure(error);
        // Cut or reset meanwhile: the peer asks again on a new connection.
        this.#options.peers.get(link)?.connection.close(error);
      });
  }

  #sendSnapshot(id: LinkId, request: SnapshotRequest): void {
    const link = this.#options.peers.get(id);
    const { configuration } = this.#replica;
    if (link === undefined || configuration === undefined) return;
    this.snapshots.send(link, configuration, request);
  }

  #propose(configuration: Configuration, version: number | undefined, confirm: boolean): void {
    const proposed = (outcome: WriteOutcome): void => this.handle({ kind: 'proposed', outcome });
    compareAndSet(this.#options.coordinator, configuration, version, confirm).then(
      proposed,
      (error: unknown) => {
        this.#options.logger.error('compare-and-set failed', { reason: String(error) });
        proposed('unknown');
      },
    );
  }

  #refresh(): void {
    this.#options.coordinator.readChain().then(
      (read) => this.onChain(read),
      (error: unknown) => {
        this.#options.logger.debug('reading /chain failed', { reason: String(error) });
      },
    );
  }

  #onStorageFailure(error: unknown): void {
    const known = error instanceof CatenaError;
    // While table and log do not fit together no event is handled, so that nothing can be left in order.
    if (error instanceof DiskFullError && !this.#suspended) {
      if (!this.#stopped) this.#options.events.onDiskFull(error);
      return;
    }
    this.#halt(known ? error : new StorageError(String(error), { cause: error }));
  }

  #halt(error: CatenaError): void {
    if (this.#stopped) return;
    this.stop();
    this.#options.events.onHalt(error);
  }
}
