/** Reads, leases, gates and holds, a replica at a time. */
import test from 'ava';
import type { Effect } from '../../src/replica/events.js';
import { chainOf, entryOf, ReplicaDriver } from '../support/chain-driver.js';

/** The tail B of A B with a valid lease. */
function tail(): ReplicaDriver {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 0 });
  driver.hear(1, { kind: 'down-beat', number: 1, echo: 0 });
  driver.hear(1, { kind: 'down-beat', number: 2, echo: 1 });
  return driver;
}

function answered(driver: ReplicaDriver): number {
  return driver.of('answer').flatMap(({ reads }) => reads).length;
}

function finish(driver: ReplicaDriver, effects: readonly Effect[]): void {
  for (const effect of effects) {
    if (effect.kind === 'read') driver.step({ kind: 'reads-done', reads: effect.reads });
  }
}

test('a clean key is read at once and answered under the lease', (t) => {
  const driver = tail();
  finish(driver, driver.read(1));
  t.is(answered(driver), 1);
});

test('the lease is checked after the value was read', (t) => {
  const driver = tail();
  driver.read(1);
  t.is(driver.of('read').length, 1);
  driver.nowMs += 450;
  driver.step({ kind: 'reads-done', reads: [{ scope: 1 }] });
  t.is(answered(driver), 0, 'it was valid before, and is not now');
  driver.hear(1, { kind: 'down-beat', number: 3, echo: 2 });
  t.is(driver.of('read').length, 0, 'an old echo');
  driver.hear(1, { kind: 'down-beat', number: 4, echo: 3 });
  t.is(driver.of('read').length, 1, 'read anew under the new lease');
});

test('a dirty key waits for its commit, a clean one does not', (t) => {
  const driver = tail();
  driver.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  driver.durable();
  t.is(driver.read(7).length, 0);
  t.is(driver.read('all').length, 0);
  finish(driver, driver.read(8));
  t.is(answered(driver), 1);
  driver.hear(1, { kind: 'commit', commit: 1 });
  const kinds = driver.effects.map(({ kind }) => kind);
  t.true(kinds.indexOf('apply') < kinds.indexOf('read'));
  t.is(driver.of('read').flatMap(({ reads }) => reads).length, 2);
});

test('what waited for a lease is looked at anew: its key may be dirty now', (t) => {
  const driver = tail();
  driver.nowMs += 450;
  t.is(driver.read(7).length, 0);
  driver.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  driver.hear(1, { kind: 'down-beat', number: 3, echo: 0 });
  driver.hear(1, { kind: 'down-beat', number: 4, echo: 3 });
  t.deepEqual(driver.of('read'), []);
});

test('reads that wait too long are refused, for a lease or for a commit', (t) => {
  const driver = tail();
  driver.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  driver.read(7);
  driver.nowMs += 450;
  driver.read(8);
  driver.pass(10_000);
  t.is(driver.of('refuse').flatMap(({ requests }) => requests).length, 2);
});

test('reads of the log itself are for the head', (t) => {
  const driver = tail();
  driver.read('position');
  t.is(driver.of('refuse')[0]?.why, 'NOT_HEAD');
});

test('a learner and a leaver answer no reads', (t) => {
  const learner = new ReplicaDriver('C1');
  learner.adopt(chainOf(2, 'A1 B1'));
  learner.read(1);
  t.is(learner.of('refuse')[0]?.why, 'NOT_SERVING');
  const leaver = tail();
  leaver.nowMs += 450;
  leaver.read(1);
  leaver.step({ kind: 'leave' });
  t.is(leaver.of('refuse').length, 1, 'what waits goes elsewhere');
  leaver.step({ kind: 'reads-done', reads: [{ scope: 1 }] });
  t.is(leaver.of('refuse').length, 1);
});

test('leases do not outlive their epoch', (t) => {
  const driver = tail();
  driver.adopt(chainOf(3, 'A1 B1 C1'));
  t.deepEqual(
    driver.read(1).filter(({ kind }) => kind === 'read'),
    [],
  );
});

test('beats: numbers rise, an old one is not passed on with a new instant', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1 C1'));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 0 });
  driver.link(2, 'C1', true);
  driver.hear(2, { kind: 'hello-answer', runs: [], commit: 0 });
  driver.hear(1, { kind: 'down-beat', number: 1, echo: 0 });
  driver.hear(2, { kind: 'up-beat', number: 5, echo: 1 });
  t.deepEqual(driver.sent('up-beat'), [{ kind: 'up-beat', number: 5, echo: 1 }]);
  driver.nowMs += 400;
  driver.hear(2, { kind: 'up-beat', number: 5, echo: 1 });
  t.deepEqual(driver.sent('up-beat'), []);
  driver.hear(1, { kind: 'down-beat', number: 2, echo: 5 });
  driver.nowMs += 60;
  t.false(driver.replica.status({ monotonicMs: driver.nowMs, wallMs: driver.nowMs }).leaseHolds);
});

/** B, tail of A B, gates C. */
function gating(): ReplicaDriver {
  const driver = tail();
  driver.link(9, 'C1', false);
  driver.hear(9, { kind: 'join', runs: [], commit: 0 });
  driver.step({ kind: 'servers', servers: ['A1', 'B1', 'C1'].map((name) => registration(name)) });
  driver.pass(10);
  return driver;
}

function registration(name: string) {
  return {
    serverId: name[0] as string,
    incarnation: name,
    address: 'x',
    state: 'learner' as const,
  };
}

test('a gate: proofs wait for the learner, acks and leases alike', (t) => {
  const driver = gating();
  t.is(driver.sent('gate').length, 1);
  t.is(driver.of('propose').length, 1, 'an empty log: all of it is there');
  driver.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  driver.durable();
  driver.turn();
  t.deepEqual(driver.sent('ack'), []);
  driver.hear(1, { kind: 'down-beat', number: 3, echo: 1 });
  t.is(driver.sent('up-beat').length, 0, 'the learner is the lowest now');
  t.is(driver.sent('down-beat').length, 1);
  t.deepEqual(driver.read(1), []);
  driver.hear(9, { kind: 'up-beat', number: 3, echo: 3 });
  t.is(driver.of('read').length, 1, 'with its proof the lease is there');
  driver.hear(9, { kind: 'ack', seq: 1, entryEpoch: 2 });
  driver.turn();
  t.deepEqual(driver.sent('ack'), [{ kind: 'ack', seq: 1, entryEpoch: 2 }]);
});

test('a gate opens while nothing was sent, and stays once it may have been', (t) => {
  const sent = gating();
  sent.step({ kind: 'proposed', outcome: 'unknown' });
  t.is(sent.of('refresh').length, 1);
  sent.show(chainOf(2, 'A1 B1'));
  sent.step({ kind: 'link-down', link: 9 });
  sent.pass(260);
  t.is(sent.of('propose')[0]?.configuration.change.kind, 'fence');
  sent.step({ kind: 'proposed', outcome: 'unavailable' });
  sent.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  sent.durable();
  sent.turn();
  t.deepEqual(sent.sent('ack'), [], 'an earlier request may still land');

  const never = gating();
  never.step({ kind: 'proposed', outcome: 'unavailable' });
  never.step({ kind: 'link-down', link: 9 });
  never.hear(1, { kind: 'append', entry: entryOf(2, 1, [7]), commit: 0 });
  never.durable();
  never.turn();
  t.is(never.sent('ack').length, 1);
});

test('a join is answered once a connection', (t) => {
  const driver = tail();
  driver.link(9, 'C1', false);
  driver.hear(9, { kind: 'join', runs: [], commit: 0 });
  t.is(driver.sent('catch-up').length, 1);
  driver.hear(9, { kind: 'join', runs: [], commit: 0 });
  t.deepEqual(driver.sent(), []);
});

test('a tail that is not settled takes no learner', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.link(9, 'C1', false);
  driver.hear(9, { kind: 'join', runs: [], commit: 0 });
  t.deepEqual(driver.sent(), []);
});

test('a chain that has its length takes no more members', (t) => {
  const driver = new ReplicaDriver('A1', { replicas: 1 });
  driver.adopt(chainOf(2, 'A1'));
  driver.link(9, 'C1', false);
  driver.hear(9, { kind: 'join', runs: [], commit: 0 });
  driver.step({ kind: 'servers', servers: [registration('A1'), registration('C1')] });
  driver.pass(100);
  t.deepEqual(driver.sent('gate'), []);
});
