/**
 * A snapshot of the tail is put in place of what a learner has, and the machine crashes at any step of it: the next
 * start finds what was there or what came, whole, and nothing that the learner may have acked is gone (T5).
 */
import test, { type ExecutionContext } from 'ava';
import type { Disk } from '../../../src/log/disk.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { silentLogger } from '../../../src/logger.js';
import { entryOfBytes, sealRecord } from '../../../src/protocol/entry-codec.js';
import { EpochRuns } from '../../../src/replica/epoch-runs.js';
import type { Replica } from '../../../src/replica/replica.js';
import { type Recovered, recover } from '../../../src/server/recovery.js';
import { CatchUpReport } from '../../../src/server/snapshots/catch-up-report.js';
import { Checkpoints } from '../../../src/server/snapshots/checkpoints.js';
import { Snapshots } from '../../../src/server/snapshots/snapshots.js';
import {
  configuration,
  connectTo,
  type Intake,
  machineWith,
  onPayloads,
  runs as sourceRuns,
  startSource,
} from './support.js';

const segmentBytes = 4 * 1024;
const quiet = { onDurable: () => {}, onFatal: () => {} };

interface Scenario {
  readonly what: string;
  /** Epoch and last seq of the learner's log; all of it is on its disk. */
  readonly runs: readonly { epoch: number; lastSeq: number }[];
  readonly commit: number;
  /** It has a snapshot of its own up to here, and begins its log behind it. */
  readonly ownSeq: number;
  /** How far the learner's log is that of the tail: what it may have acked. */
  readonly common: number;
  /** An operator's recovery gave up what it holds: nothing of it must stay. */
  readonly isGivenUp: boolean;
}

const scenarios: readonly Scenario[] = [
  {
    what: 'a log that is behind',
    runs: [
      { epoch: 1, lastSeq: 10 },
      { epoch: 3, lastSeq: 25 },
    ],
    commit: 25,
    ownSeq: 20,
    common: 25,
    isGivenUp: false,
  },
  {
    what: 'a longer log whose end was never acknowledged',
    runs: [
      { epoch: 1, lastSeq: 10 },
      { epoch: 2, lastSeq: 60 },
    ],
    commit: 10,
    ownSeq: 10,
    common: 10,
    isGivenUp: false,
  },
  {
    what: 'a given-up history with a later snapshot',
    runs: [
      { epoch: 1, lastSeq: 10 },
      { epoch: 2, lastSeq: 60 },
    ],
    commit: 60,
    ownSeq: 50,
    common: 10,
    isGivenUp: true,
  },
  {
    what: 'a given-up history with a snapshot of the same seq',
    runs: [
      { epoch: 1, lastSeq: 10 },
      { epoch: 2, lastSeq: 60 },
    ],
    commit: 60,
    ownSeq: 40,
    common: 10,
    isGivenUp: true,
  },
];

/** Fills the learner's disk. */
async function prepare(disk: Disk, { runs, commit, ownSeq }: Scenario): Promise<void> {
  const { machine, log, snapshots, data } = await recover('/learner', quiet, {
    disk,
    segmentBytes,
  });
  const epochs = new EpochRuns(runs);
  const checkpoints = new Checkpoints(
    {
      store: snapshots,
      log,
      logger: silentLogger,
      retainBytes: 0,
      machine: () => machine,
      runsUpTo: (seq) => epochs.upTo(seq),
      neededSeq: () => Number.POSITIVE_INFINITY,
      onStorageFailure: (error) => {
        throw error;
      },
    },
    { seq: 0, bytes: 0 },
  );
  for (let seq = 1; seq <= epochs.lastSeq; seq++) {
    const epoch = epochs.epochAt(seq);
    const header = { epoch, firstSeq: seq, count: 1, commit: Math.min(seq - 1, commit) };
    const key = Buffer.from(`own-${seq % 5}`);
    const entry = entryOfBytes(
      sealRecord(header, [{ kind: 'put', key, value: Buffer.alloc(300) }]),
    );
    log.append({ epoch, firstSeq: seq, lastSeq: seq, bytes: entry.record });
    if (seq <= commit) machine.apply(entry);
    if (seq !== ownSeq) continue;
    await checkpoints.take();
    await log.reset({ seq, epoch });
  }
  await checkpoints.stop();
  await log.close();
  await data.close();
}

/** What the learner does with snapshots, on what its disk holds. */
function startLearner(recovered: Recovered) {
  let onInstalled!: () => void;
  const installed = new Promise<void>((resolve) => {
    onInstalled = resolve;
  });
  const failures: unknown[] = [];
  const replica = {
    role: 'learner',
    configuration,
    neededSeq: Number.POSITIVE_INFINITY,
    runsUpTo: (seq: number) => recovered.entryLog.runs.upTo(seq),
  };
  const snapshots: Snapshots = new Snapshots({
    replica: replica as unknown as Replica,
    recovered,
    logger: silentLogger,
    logRetainBytes: 1024 * 1024,
    catchUp: new CatchUpReport(recovered.log.lastSeq),
    machine: () => recovered.machine,
    setMachine: (machine) => {
      recovered.machine = machine;
    },
    isStopped: () => false,
    handle: () => {},
    suspend: () => {},
    resume: () => onInstalled(),
    onLinkPayloads: (link, payloads) => onPayloads(snapshots, link, payloads),
    onStorageFailure: (error) => failures.push(error),
    onLine: () => {},
  });
  return { snapshots, installed, failures };
}

/** The crash comes with operation `step` of the learner's disk. Answers whether there was one. */
async function crashAt(
  t: ExecutionContext,
  scenario: Scenario,
  step: number,
  keepsAll: boolean,
): Promise<boolean> {
  const disk = new MemoryDisk();
  await prepare(disk, scenario);
  const before = await recover('/learner', quiet, { disk: disk.mount(), segmentBytes });
  const oldHash = before.machine.stateHash;
  const { snapshots, installed, failures } = startLearner(before);
  const source = await startSource(machineWith(30));
  let operations = 0;
  let isCrash = false;
  let onCrash!: () => void;
  const crash = new Promise<void>((resolve) => {
    onCrash = resolve;
  });
  disk.setFault(({ kind }) => {
    if (kind === 'read' || kind === 'open') return undefined;
    operations += 1;
    if (operations < step) return undefined;
    isCrash = true;
    onCrash();
    return { until: new Promise(() => {}) };
  });
  const { sending } = connectTo({ intake: snapshots, changed: () => {} } as unknown as Intake);
  const request = { afterSeq: scenario.common, partial: undefined };
  const sent = source.source.send(sending, configuration, request);
  await Promise.race([installed, crash]);
  t.deepEqual(failures, []);
  disk.setFault(() => undefined);
  disk.crash(keepsAll ? () => Number.MAX_SAFE_INTEGER : () => 0);
  sending.connection.close(undefined);
  await sent;
  await source.source.close();

  const where = `${scenario.what}, step ${step}${keepsAll ? ', all kept' : ''}`;
  const after = await recover('/learner', quiet, { disk: disk.mount(), segmentBytes });
  const hash = after.machine.stateHash;
  const newHash = machineWith(30).stateHash;
  const isNew = hash === newHash && after.machine.appliedSeq === 40;
  const isOld = hash === oldHash;
  // What was given up may go in part: a log from its end, then its snapshot.
  const isPart = scenario.isGivenUp && after.entryLog.runs.lastEpoch < 3;
  t.true(isNew || isOld || isPart, `${where}: ${after.machine.appliedSeq}`);
  if (!isCrash) t.true(isNew, where);
  const common = new EpochRuns(sourceRuns).commonWith(after.entryLog.runs.from(1));
  if (!scenario.isGivenUp) t.true(common >= scenario.common, `${where}: ${common} is left`);
  return isCrash;
}

for (const scenario of scenarios) {
  test(`D2: a crash at any step of an installation on top of ${scenario.what}`, async (t) => {
    for (const keepsAll of [false, true]) {
      let step = 1;
      while (await crashAt(t, scenario, step, keepsAll)) step += 1;
      t.true(step > 10, `${step} steps`);
    }
  });
}
