/**
 * All that one server does with snapshots: takes its own, sends them to learners, and puts what the
 * tail sends in place of its table and log.
 */
import type { Configuration } from '../../coordination/configuration.js';
import { DataDamagedError, DiskFullError, InvariantError, StorageError } from '../../errors.js';
import type { SnapshotWriter } from '../../log/snapshot-store.js';
import type { Logger } from '../../logger.js';
import { Machine } from '../../machine/machine.js';
import type { SnapshotBody, SnapshotOffer, Stamped } from '../../protocol/peer-messages.js';
import type { TransferStatus } from '../../protocol/status.js';
import { EpochRuns } from '../../replica/epoch-runs.js';
import type { Event, LinkId, Role } from '../../replica/events.js';
import type { PartialSnapshot } from '../../replica/messages.js';
import type { Replica } from '../../replica/replica.js';
import { runtime } from '../../runtime/runtime.js';
import type { PeerLink } from '../peer-network.js';
import { machineFrom, type Recovered } from '../recovery.js';
import type { CatchUpReport } from './catch-up-report.js';
import { Checkpoints, type CheckpointState } from './checkpoints.js';
import { SnapshotIntake } from './intake.js';
import { type SnapshotRequest, SnapshotSource } from './source.js';

export interface SnapshotsHost {
  readonly replica: Replica;
  readonly recovered: Recovered;
  readonly logger: Logger;
  readonly logRetainBytes: number;
  readonly catchUp: CatchUpReport;
  machine(): Machine;
  /** What is applied and answered from now on. */
  setMachine(machine: Machine): void;
  isStopped(): boolean;
  handle(event: Event): void;
  /** Events wait from here on, until table and log fit together again. */
  suspend(): void;
  /** Events go on, with this one first. */
  resume(event: Event): void;
  /** Goes on with what came behind a snapshot message. */
  onLinkPayloads(link: PeerLink, payloads: readonly Buffer[]): void;
  onStorageFailure(error: unknown): void;
  onLine(line: string): void;
}

/** Between two looks at whether a snapshot is due. */
const checkpointEveryMs = 250;

export class Snapshots {
  readonly #host: SnapshotsHost;
  readonly #checkpoints: Checkpoints;
  readonly #source: SnapshotSource;
  readonly #intake: SnapshotIntake;
  #consideredAtMs = 0;
  #installing = false;

  constructor(host: SnapshotsHost) {
    this.#host = host;
    const { replica, recovered } = host;
    const { snapshots: store, log } = recovered;
    this.#checkpoints = new Checkpoints(
      {
        store,
        log,
        logger: host.logger,
        retainBytes: host.logRetainBytes,
        machine: () => host.machine(),
        runsUpTo: (seq) => replica.runsUpTo(seq),
        neededSeq: () => Math.min(replica.neededSeq, this.#source.neededSeq),
        onStorageFailure: (error) => host.onStorageFailure(error),
      },
      recovered.checkpoint,
    );
    this.#source = new SnapshotSource({
      store,
      log,
      checkpoints: this.#checkpoints,
      tableBytes: () => host.machine().table.bytes,
      epochAt: (seq) => this.#epochAt(seq),
      onLine: (line) => host.onLine(line),
    });
    this.#intake = new SnapshotIntake({
      replica,
      store,
      isStopped: () => host.isStopped(),
      handle: (event) => host.handle(event),
      install: (link, offer, writer) => this.#install(link, offer, writer),
      onLinkPayloads: (link, payloads) => host.onLinkPayloads(link, payloads),
      onStorageFailure: (error) => host.onStorageFailure(error),
      onLine: (line) => host.onLine(line),
    });
  }

  /** The newest snapshot on disk. */
  get checkpoint(): CheckpointState {
    return this.#checkpoints.newest;
  }

  /** A snapshot on its way to this server. */
  get receiving(): TransferStatus | undefined {
    return this.#intake.status;
  }

  /** What a broken transfer left here. */
  get partial(): PartialSnapshot | undefined {
    return this.#intake.partial;
  }

  /** A snapshot on its way to the learner at the other end of this link. */
  sendingTo(link: LinkId): TransferStatus | undefined {
    return this.#source.statusOf(link);
  }

  onTick(): void {
    const nowMs = runtime.monotonicMs();
    if (this.#installing || nowMs - this.#consideredAtMs < checkpointEveryMs) return;
    this.#consideredAtMs = nowMs;
    this.#checkpoints.consider();
  }

  /** A member needs nothing of a transfer any more that broke before the log sufficed. */
  onRole(role: Role): void {
    if (role !== 'learner')
      this.#intake.close().catch((error: unknown) => this.#host.onStorageFailure(error));
  }

  /** Keeps the payloads for later if a snapshot message of this link is being written. */
  holdBack(link: PeerLink, payloads: readonly Buffer[]): boolean {
    return this.#intake.holdBack(link, payloads);
  }

  /** `rest`: what arrived behind the message. */
  receive(link: PeerLink, message: Stamped<SnapshotBody>, rest: Buffer[]): void {
    this.#intake.receive(link, message, rest);
  }

  onLinkDown(link: PeerLink): void {
    this.#intake.onLinkDown(link);
  }

  /** Sends a snapshot; what goes wrong on the way closes the link. */
  send(link: PeerLink, configuration: Configuration, request: SnapshotRequest): void {
    this.#source.send(link, configuration, request).then(
      (seq) => {
        if (seq !== undefined) this.#host.handle({ kind: 'snapshot-sent', link: link.id, seq });
      },
      (error: unknown) => {
        if (isFatal(error)) this.#host.onStorageFailure(error);
        link.connection.close(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  /** Resolves when nothing here uses the disk any more; for after the end of all links. */
  async close(): Promise<void> {
    await Promise.all([this.#checkpoints.stop(), this.#source.close(), this.#intake.close()]);
  }

  /** From here there is no way back to the old table: what fails now halts this server. */
  async #install(link: LinkId, offer: SnapshotOffer, writer: SnapshotWriter): Promise<void> {
    const { snapshots, log } = this.#host.recovered;
    this.#host.suspend();
    this.#installing = true;
    await this.#checkpoints.stop();
    // Two tables need not fit into memory at once; a learner answers nobody.
    this.#host.setMachine(new Machine());
    const { lastSeq, lastEpoch } = new EpochRuns(offer.runs);
    // Only a history that an operator's recovery gave up reaches further, or is another one at the same seq. It goes
    // first: on disk the snapshot of the highest seq counts, and no log may lack, or contradict, its base.
    const { seq } = this.#checkpoints.newest;
    if (seq > lastSeq || (seq === lastSeq && this.#epochAt(seq) !== lastEpoch)) {
      await log.reset({ seq: 0, epoch: 0 });
      await snapshots.removeAll();
    }
    await writer.finish();
    const reader = await snapshots.newest();
    if (reader === undefined) throw new InvariantError('a finished snapshot is there');
    this.#host.setMachine(await machineFrom(reader));
    await log.reset({ seq: reader.meta.seq, epoch: reader.meta.epoch });
    this.#checkpoints.onInstalled({ seq: lastSeq, bytes: reader.bytes });
    this.#host.catchUp.onSnapshot(lastSeq, reader.bytes);
    this.#installing = false;
    this.#host.resume({ kind: 'snapshot-installed', link, runs: offer.runs });
  }

  /** Of the op in this server's log or below it; 0 if there is none, or its epoch is forgotten. */
  #epochAt(seq: number): number {
    const last = this.#host.replica.runsUpTo(seq).at(-1);
    return last?.lastSeq === seq ? last.epoch : 0;
  }
}

function isFatal(error: unknown): boolean {
  return (
    error instanceof InvariantError ||
    error instanceof StorageError ||
    error instanceof DataDamagedError ||
    error instanceof DiskFullError
  );
}
