/** What the tail answers to a learner that joins (R3, T5). */
import test from 'ava';
import { EntryLog } from '../../src/replica/entry-log.js';
import type { EpochRun } from '../../src/replica/epoch-runs.js';
import { chainOf, ReplicaDriver } from '../support/chain-driver.js';

/** The tail, alone, with this log, all of it committed. */
function tailWith(...runs: EpochRun[]): ReplicaDriver {
  const commit = runs.at(-1)?.lastSeq ?? 0;
  const driver = new ReplicaDriver('A1', { log: new EntryLog(runs, commit, [], 1_000) });
  driver.adopt(chainOf(10, 'A1'));
  driver.link(1, 'L1', false);
  return driver;
}

function snapshotsFor(driver: ReplicaDriver, commit: number, ...runs: EpochRun[]): number[] {
  driver.hear(1, { kind: 'join', runs, commit });
  return driver.of('send-snapshot').map(({ afterSeq }) => afterSeq);
}

test('a learner so far back that the tail has forgotten its epochs keeps what is committed', (t) => {
  const tail = tailWith({ epoch: 0, lastSeq: 8 }, { epoch: 9, lastSeq: 20 });
  t.deepEqual(snapshotsFor(tail, 7, { epoch: 3, lastSeq: 8 }), [7]);
});

test('of a history that was given up no more is asked of a snapshot than the tail has committed', (t) => {
  const tail = tailWith({ epoch: 3, lastSeq: 8 }, { epoch: 9, lastSeq: 20 });
  t.deepEqual(snapshotsFor(tail, 90, { epoch: 3, lastSeq: 12 }, { epoch: 4, lastSeq: 90 }), [20]);
});
