/** Both ends of a transfer on memory disks, with a link between them that a test can break. */
import type { Member } from '../../../src/coordination/configuration.js';
import { silentLogger } from '../../../src/logger.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { SegmentedLog } from '../../../src/log/segmented-log.js';
import { SnapshotStore } from '../../../src/log/snapshot-store.js';
import { Machine } from '../../../src/machine/machine.js';
import { Connection } from '../../../src/protocol/connection.js';
import {
  decodePeer,
  isSnapshotMessage,
  type SnapshotBody,
  type SnapshotOffer,
  type Stamped,
} from '../../../src/protocol/peer-messages.js';
import { EpochRuns } from '../../../src/replica/epoch-runs.js';
import type { Event } from '../../../src/replica/events.js';
import type { Replica } from '../../../src/replica/replica.js';
import type { PeerLink } from '../../../src/server/peer-network.js';
import { Checkpoints } from '../../../src/server/snapshots/checkpoints.js';
import { SnapshotIntake } from '../../../src/server/snapshots/intake.js';
import { SnapshotSource } from '../../../src/server/snapshots/source.js';
import { duplexPair } from '../../support/duplex-pair.js';

export const runs = [
  { epoch: 1, lastSeq: 10 },
  { epoch: 3, lastSeq: 40 },
];
export const tail: Member = { serverId: 't', incarnation: 'ti', address: '127.0.0.1:5003' };
export const configuration = { epoch: 3, configId: 'c', members: [tail] };

export function machineWith(keys: number): Machine {
  const machine = new Machine(40);
  for (let n = 0; n < keys; n++) {
    machine.load(Buffer.from(`key-${n}`), Buffer.alloc(1_000, n), (n % 40) + 1);
  }
  return machine;
}

async function openDisk() {
  const disk = new MemoryDisk();
  const store = await SnapshotStore.open({ disk, directory: '/data/snapshots' });
  const listener = { onDurable: () => {}, onFatal: () => {} };
  const log = await SegmentedLog.open({ disk, directory: '/data/log', listener });
  return { disk, store, log };
}

/** The sending end: a server with this table. */
export async function startSource(machine: Machine) {
  const ends = [...runs];
  const { disk, store, log } = await openDisk();
  const failures: unknown[] = [];
  const lines: string[] = [];
  const checkpoints = new Checkpoints(
    {
      store,
      log,
      logger: silentLogger,
      retainBytes: 1024 * 1024,
      machine: () => machine,
      runsUpTo: () => ends,
      neededSeq: () => Number.POSITIVE_INFINITY,
      onStorageFailure: (error) => failures.push(error),
    },
    { seq: 0, bytes: 0 },
  );
  const source = new SnapshotSource({
    store,
    log,
    checkpoints,
    tableBytes: () => machine.table.bytes,
    epochAt: (seq) => new EpochRuns(ends).epochAt(seq),
    onLine: (line) => lines.push(line),
  });
  return { disk, store, log, checkpoints, source, failures, lines, ends };
}

/** The receiving end: a learner of `tail`. */
export async function startIntake() {
  const { disk, store } = await openDisk();
  const events: Event[] = [];
  const installed: SnapshotOffer[] = [];
  const failures: unknown[] = [];
  const wake: (() => void)[] = [];
  const changed = (): void => {
    for (const resolve of wake.splice(0)) resolve();
  };
  const replica = { role: 'learner', configuration };
  const intake: SnapshotIntake = new SnapshotIntake({
    replica: replica as unknown as Replica,
    store,
    isStopped: () => false,
    handle: (event) => events.push(event),
    install: async (_link, offer, writer) => {
      await writer.finish();
      installed.push(offer);
      changed();
    },
    onLinkPayloads: (link, payloads) => onPayloads(intake, link, payloads),
    onStorageFailure: (error) => {
      failures.push(error);
      changed();
    },
    onLine: () => {},
  });
  /** Resolves when `isSo`, looked at after each change. */
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise<void>((resolve) => wake.push(resolve));
  };
  return { disk, store, intake, events, installed, failures, until, changed };
}

export type Intake = Awaited<ReturnType<typeof startIntake>>;

/** As the shell does with what arrives on a link. */
export function onPayloads(
  intake: Pick<SnapshotIntake, 'holdBack' | 'receive'>,
  link: PeerLink,
  payloads: readonly Buffer[],
): void {
  if (intake.holdBack(link, payloads)) return;
  const [first, ...rest] = payloads;
  if (first === undefined) return;
  const message = decodePeer(Buffer.from(first));
  if (isSnapshotMessage(message)) intake.receive(link, message, rest);
}

let links = 0;

/** A connection from a source to this intake. `chunksMax`: it breaks when so many chunks have arrived. */
export function connectTo(target: Intake, chunksMax = Number.POSITIVE_INFINITY) {
  const [left, right] = duplexPair();
  const id = ++links;
  const bodies: SnapshotBody[] = [];
  const reasons: (Error | undefined)[] = [];
  const breakOff = (): void => {
    sending.connection.close(undefined);
    receiving.connection.close(undefined);
  };
  const sending: PeerLink = {
    id,
    peer: { serverId: 'learner-1', incarnation: 'i' },
    dialed: false,
    connection: new Connection(left, { onPayloads: () => {}, onClose: () => {} }),
  };
  const receiving: PeerLink = {
    id: id + 10_000,
    peer: tail,
    dialed: true,
    connection: new Connection(right, {
      onPayloads: (payloads) => {
        const copies = payloads.map((payload) => Buffer.from(payload));
        for (const copy of copies) {
          const { body } = decodePeer(copy) as Stamped<SnapshotBody>;
          bodies.push(body);
        }
        const count = bodies.filter(({ kind }) => kind === 'snapshot-chunk').length;
        onPayloads(target.intake, receiving, copies);
        if (count >= chunksMax) breakOff();
      },
      onClose: (error) => {
        reasons.push(error);
        target.intake.onLinkDown(receiving);
        target.changed();
      },
    }),
  };
  return { sending, receiving, bodies, reasons, breakOff };
}
