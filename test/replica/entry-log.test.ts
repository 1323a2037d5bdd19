import test from 'ava';
import { EntryLog } from '../../src/replica/entry-log.js';
import { entryOf } from '../support/chain-driver.js';

function logOf(...keys: number[][]): EntryLog {
  const log = new EntryLog([], 0, [], 1_000);
  for (const some of keys) log.append(entryOf(1, log.lastSeq + 1, some));
  return log;
}

test('a key is dirty through the newest entry that touches it, until that is committed', (t) => {
  const log = logOf([1], [2, 3], [1]);
  t.is(log.dirtyThrough(1), 4);
  t.is(log.dirtyThrough(2), 3);
  t.is(log.dirtyThrough(9), 0);
  t.is(log.dirtyThrough('all'), 4);
  log.takeCommitted(1);
  t.is(log.dirtyThrough(1), 4, 'a newer one touches it still');
  log.takeCommitted(4);
  log.takeCommitted(4);
  t.is(log.dirtyThrough(1), 0);
  t.is(log.dirtyThrough('all'), 0);
  t.is(log.uncommittedBytes, 0);
});

test('only whole entries are committed', (t) => {
  const log = logOf([1, 2, 3]);
  t.is(log.takeCommitted(2), undefined);
  t.is(log.takeCommitted(3)?.lastSeq, 3);
});

test('a cut cleans what it takes away and keeps what stays dirty', (t) => {
  const log = logOf([1], [2], [1]);
  log.durable = 3;
  log.cut(2);
  t.is(log.dirtyThrough(1), 1);
  t.is(log.durable, 2);
  t.is(log.lastSeq, 2);
  t.throws(
    () => {
      log.takeCommitted(2);
      log.takeCommitted(2);
      log.cut(1);
    },
    { message: /may not go below the commit index/ },
  );
});

test('a cut through an entry is refused', (t) => {
  t.throws(() => logOf([1, 2, 3]).cut(2), { message: /between entries/ });
});

test('committed entries are forgotten beyond the bound, uncommitted ones never', (t) => {
  const log = new EntryLog([], 0, [], 60);
  for (let seq = 1; seq <= 10; seq++) log.append(entryOf(1, seq, [seq]));
  while (log.takeCommitted(8) !== undefined) continue;
  t.is(log.startingAt(1), undefined);
  t.is(log.startingAt(9)?.firstSeq, 9);
  t.deepEqual(
    [...log.uncommitted()].map(({ firstSeq }) => firstSeq),
    [9, 10],
  );
  t.is(log.commit, 8);
});

test('a log made anew knows its suffix', (t) => {
  const suffix = [entryOf(2, 4, [1]), entryOf(2, 5, [2])];
  const log = new EntryLog(
    [
      { epoch: 1, lastSeq: 3 },
      { epoch: 2, lastSeq: 5 },
    ],
    3,
    suffix,
    100,
  );
  t.is(log.durable, 5);
  t.is(log.dirtyThrough(2), 5);
  t.throws(() => new EntryLog([{ epoch: 1, lastSeq: 3 }], 1, [], 100), { message: /suffix/ });
});
