/** The way of an entry and of its acks, a replica at a time. */
import test from 'ava';
import { EntryLog } from '../../src/replica/entry-log.js';
import { chainOf, entryOf, ReplicaDriver } from '../support/chain-driver.js';

function tailOf(names: string, self: string): ReplicaDriver {
  const driver = new ReplicaDriver(self);
  driver.adopt(chainOf(2, names));
  driver.link(1, names.split(' ').at(-2) as string, false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 0 });
  return driver;
}

function headOf(names: string): ReplicaDriver {
  const [self, next] = names.split(' ') as [string, string];
  const driver = new ReplicaDriver(self);
  driver.adopt(chainOf(2, names));
  driver.durable();
  driver.pass(500);
  driver.link(1, next, true);
  driver.hear(1, { kind: 'hello-answer', runs: [], commit: 0 });
  return driver;
}

test('nothing is said in an epoch before it is on disk', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.show(chainOf(2, 'A1 B1'));
  t.is(driver.of('persist').length, 1);
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' }, 2);
  driver.turn();
  t.deepEqual(driver.sent(), []);
  driver.step({ kind: 'persisted' });
  driver.hear(1, { kind: 'hello' });
  t.is(driver.sent('hello-answer').length, 1);
});

test('an entry goes down before its sync, the ack goes up after it, once a turn', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1 C1'));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 0 });
  driver.link(2, 'C1', true);
  driver.hear(2, { kind: 'hello-answer', runs: [], commit: 0 });
  driver.hear(1, { kind: 'append', entry: entryOf(2, 1, [1]), commit: 0 });
  t.is(driver.sent('append').length, 1);
  driver.hear(2, { kind: 'ack', seq: 1, entryEpoch: 2 });
  driver.turn();
  t.deepEqual(driver.sent('ack'), [], 'not on the own disk yet');
  driver.durable();
  t.deepEqual(driver.sent('ack'), [], 'the turn has not ended');
  driver.turn();
  t.deepEqual(driver.sent('ack'), [{ kind: 'ack', seq: 1, entryEpoch: 2 }]);
  driver.turn();
  t.deepEqual(driver.sent('ack'), [], 'once');
});

test('the head commits what it and all below it have on disk', (t) => {
  const driver = headOf('A1 B1');
  driver.write(7);
  driver.hear(1, { kind: 'ack', seq: 2, entryEpoch: 2 });
  t.deepEqual(
    driver.of('apply').map(({ entry }) => entry.lastSeq),
    [1],
    'its own disk lags',
  );
  driver.durable();
  t.is(driver.of('apply').at(-1)?.writes?.length, 1);
  driver.turn();
  t.deepEqual(driver.sent('commit'), [{ kind: 'commit', commit: 2 }]);
});

test('an ack counts only for the very entry that the log holds, on the connection of now', (t) => {
  const driver = headOf('A1 B1');
  driver.write(7);
  driver.durable();
  driver.hear(1, { kind: 'ack', seq: 2, entryEpoch: 1 });
  driver.hear(1, { kind: 'ack', seq: 9, entryEpoch: 2 });
  driver.link(3, 'B1', false);
  driver.hear(3, { kind: 'ack', seq: 2, entryEpoch: 2 });
  t.is(driver.log.commit, 0);
  driver.step({ kind: 'link-down', link: 1 });
  driver.link(4, 'B1', true);
  driver.hear(4, { kind: 'ack', seq: 2, entryEpoch: 2 });
  t.is(driver.log.commit, 0, 'before the hello is answered nothing counts');
  driver.hear(4, { kind: 'hello-answer', runs: [{ epoch: 2, lastSeq: 2 }], commit: 0 });
  driver.hear(4, { kind: 'ack', seq: 2, entryEpoch: 2 });
  t.is(driver.log.commit, 2);
});

test('the head commits nothing before its hold is over', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(2, 'A1'));
  driver.durable();
  t.is(driver.log.commit, 0, 'an earlier process may have removed someone just now');
  driver.pass(490);
  t.is(driver.log.commit, 0);
  driver.pass(10);
  t.is(driver.log.commit, 1);
});

test('Hello waits until the own log is settled', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1 C1'));
  driver.link(2, 'C1', true);
  driver.pass(200);
  t.deepEqual(driver.sent('hello'), []);
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  t.deepEqual(driver.sent('hello'), []);
  driver.hear(1, { kind: 'settle', seq: 0 });
  t.deepEqual(driver.sent('hello'), [{ kind: 'hello' }]);
});

test('a Hello without an answer is said again', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.link(1, 'B1', true);
  driver.pass(50);
  t.is(driver.sent('hello').length, 1);
  driver.hear(1, { kind: 'hello-answer', runs: [], commit: 0 });
  driver.pass(200);
  t.deepEqual(driver.sent('hello'), []);
});

test('a suffix that the predecessor lacks: cut after a restart, else halt', (t) => {
  for (const restartEpoch of [0, 2]) {
    const log = new EntryLog([{ epoch: 1, lastSeq: 2 }], 1, [entryOf(1, 2, [1])], 100);
    const driver = new ReplicaDriver('B1', { log });
    driver.adopt(chainOf(2, 'A1 B1', { restartEpoch }));
    driver.link(1, 'A1', false);
    driver.hear(1, { kind: 'hello' });
    driver.hear(1, { kind: 'settle', seq: 1 });
    t.deepEqual(
      driver.of('cut').map(({ seq }) => seq),
      restartEpoch === 0 ? [] : [1],
    );
    t.is(driver.replica.role, restartEpoch === 0 ? 'halted' : 'tail');
  }
});

test('a cut below the own commit index halts, whatever explains it', (t) => {
  const log = new EntryLog([{ epoch: 1, lastSeq: 2 }], 2, [], 100);
  const driver = new ReplicaDriver('B1', { log });
  driver.adopt(chainOf(2, 'A1 B1', { restartEpoch: 2 }));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 1 });
  t.is(driver.of('halt').length, 1);
  t.deepEqual(driver.write(1), [], 'a halted replica answers nothing');
});

test('entries that come twice are logged once, but their commit index counts', (t) => {
  const driver = tailOf('A1 B1', 'B1');
  const entry = entryOf(2, 1, [1]);
  driver.hear(1, { kind: 'append', entry, commit: 0 });
  driver.durable();
  driver.hear(1, { kind: 'append', entry, commit: 1 });
  t.is(driver.of('append').length, 0);
  t.is(driver.of('apply').length, 1);
});

test('a gap, or another entry at a known seq, closes the connection', (t) => {
  const driver = tailOf('A1 B1', 'B1');
  driver.hear(1, { kind: 'append', entry: entryOf(2, 5, [1]), commit: 0 });
  t.is(driver.of('close-link').length, 1);
  t.is(driver.of('append').length, 0);
});

test('entries over a connection that is not settled are refused with the connection', (t) => {
  const driver = tailOf('A1 B1', 'B1');
  driver.link(2, 'A1', false);
  driver.hear(2, { kind: 'append', entry: entryOf(2, 1, [1]), commit: 0 });
  t.is(driver.of('close-link')[0]?.link, 2);
  t.is(driver.log.lastSeq, 0);
});

test('a message of an older epoch is answered with ours, of a newer one stops this server', (t) => {
  const driver = tailOf('A1 B1', 'B1');
  driver.hear(1, { kind: 'append', entry: entryOf(1, 1, [1]), commit: 0 }, 1);
  t.deepEqual(driver.sent(), [{ kind: 'stale' }]);
  driver.hear(1, { kind: 'ping' }, 1);
  t.deepEqual(driver.sent(), [], 'once a beat is enough');
  driver.hear(1, { kind: 'ping' }, 3);
  t.is(driver.of('refresh').length, 1);
  driver.read(1);
  driver.step({ kind: 'reads-done', reads: [{ scope: 1 }] });
  t.deepEqual(driver.of('answer'), []);
});

test('one epoch with two configurations halts', (t) => {
  const driver = tailOf('A1 B1', 'B1');
  driver.step({
    kind: 'message',
    link: 1,
    message: { epoch: 2, configId: 'other', body: { kind: 'ping' } },
  });
  t.regex(driver.of('halt')[0]?.error.message ?? '', /ZooKeeper went back/);
});

test('writes: refused by who is not the head, and by a head with too few members', (t) => {
  const tail = tailOf('A1 B1', 'B1');
  tail.write(1);
  t.is(tail.of('refuse')[0]?.why, 'NOT_HEAD');
  const lonely = new ReplicaDriver('A1', { minReplicas: 2 });
  lonely.adopt(chainOf(2, 'A1'));
  lonely.write(1);
  t.is(lonely.of('refuse')[0]?.why, 'NOT_ENOUGH_REPLICAS');
  const learner = new ReplicaDriver('C1');
  learner.adopt(chainOf(2, 'A1 B1'));
  learner.write(1);
  t.is(learner.of('refuse')[0]?.why, 'NOT_SERVING');
});

test('a head that is taken out abandons its writes, one that stays answers them later', (t) => {
  const out = headOf('A1 B1');
  out.write(1);
  out.adopt(chainOf(3, 'B1'));
  t.is(out.of('abandon').length, 1);
  const stays = headOf('A1 B1');
  stays.write(1);
  stays.adopt(chainOf(3, 'A1'));
  stays.durable();
  stays.pass(600);
  t.is(stays.of('apply').flatMap(({ writes }) => writes ?? []).length, 1);
});

test('a slow disk at the head: what is forgotten from memory is read from disk, in order', (t) => {
  const log = new EntryLog([], 0, [], 0);
  const driver = new ReplicaDriver('A1', { log });
  driver.adopt(chainOf(2, 'A1'));
  for (let count = 0; count < 5; count++) driver.write(count);
  driver.durable();
  driver.pass(600);
  driver.link(1, 'B1', false);
  driver.hear(1, { kind: 'join', runs: [], commit: 0 });
  t.is(driver.of('read-log')[0]?.fromSeq, 1);
  driver.step({ kind: 'log-read', link: 1, entries: [entryOf(2, 1, [1]), entryOf(2, 2, [1])] });
  t.is(driver.sent('append').length, 2);
  t.is(driver.of('read-log')[0]?.fromSeq, 3);
});

test('a tail that has committed nothing sends no snapshot; the learner asks again', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(2, 'A1'));
  driver.link(1, 'L1', false);
  const join = { kind: 'join', runs: [{ epoch: 1, lastSeq: 5 }], commit: 5 } as const;
  driver.hear(1, join);
  t.deepEqual(driver.of('send-snapshot'), []);
  driver.durable();
  driver.nowMs += 600;
  driver.step({ kind: 'tick' });
  driver.hear(1, join);
  t.is(driver.of('send-snapshot').length, 1);
});
