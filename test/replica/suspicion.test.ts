/** Who is removed, and when; and what a read of /chain means. */
import test from 'ava';
import type { Configuration } from '../../src/coordination/configuration.js';
import type { Registration } from '../../src/coordination/coordinator.js';
import { EntryLog } from '../../src/replica/entry-log.js';
import { chainOf, memberOf, ReplicaDriver } from '../support/chain-driver.js';

function registered(...names: string[]): Registration[] {
  return names.map((name) => ({ ...memberOf(name), state: 'member' }));
}

function middle(): ReplicaDriver {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1 C1 D1'));
  driver.link(1, 'A1', false);
  driver.link(2, 'C1', true);
  return driver;
}

function removed(driver: ReplicaDriver): string[] {
  const [propose] = driver.of('propose');
  if (propose === undefined) return [];
  const kept = propose.configuration.members.map(({ incarnation }) => incarnation);
  return ['A1', 'B1', 'C1', 'D1'].filter((name) => !kept.includes(name));
}

test('a neighbour that is silent in this epoch is removed, one that is heard is not', (t) => {
  const driver = middle();
  for (let ms = 0; ms < 500; ms += 50) {
    driver.hear(1, { kind: 'ping' });
    driver.hear(2, { kind: 'ping' }, 1);
    driver.pass(50);
    if (removed(driver).length > 0) break;
  }
  t.deepEqual(removed(driver), ['C1']);
});

test('a neighbour that refuses connections is removed at once, also by a new tail', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(1, 'A1'));
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.step({ kind: 'dial-failed', target: memberOf('A1'), why: 'refused' });
  driver.pass(10);
  t.deepEqual(driver.of('propose')[0]?.configuration.members, [memberOf('B1')]);
});

test('a late refusal of an earlier incarnation is no evidence', (t) => {
  const driver = middle();
  driver.step({ kind: 'dial-failed', target: memberOf('C0'), why: 'refused' });
  driver.pass(20);
  t.deepEqual(removed(driver), []);
});

test('whoever answers under another incarnation proves the listed one dead', (t) => {
  const driver = middle();
  driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'replaced' });
  driver.pass(10);
  t.deepEqual(removed(driver), ['C1']);
});

test('a gone znode counts only without a lease, and later the further down', (t) => {
  const driver = middle();
  driver.step({ kind: 'servers', servers: registered('A1', 'B1', 'C1') });
  driver.pass(200);
  t.deepEqual(removed(driver), []);
  driver.pass(20);
  t.deepEqual(removed(driver), ['D1']);
});

test('time in which this process stood still is not silence', (t) => {
  const driver = middle();
  driver.pass(100);
  driver.nowMs += 5_000;
  driver.step({ kind: 'tick' });
  t.deepEqual(removed(driver), []);
  driver.pass(390);
  t.true(removed(driver).length > 0, 'but real silence is');
});

test('one compare-and-set at a time, and a pause after one that did not help', (t) => {
  const driver = middle();
  driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
  driver.pass(10);
  t.is(driver.of('propose').length, 1);
  driver.pass(300);
  t.is(driver.of('propose').length, 0);
  driver.step({ kind: 'proposed', outcome: 'conflict' });
  t.is(driver.of('refresh').length, 1);
  driver.pass(200);
  t.is(driver.of('propose').length, 0);
  driver.pass(60);
  t.is(driver.of('propose').length, 1);
});

test('Z5: who hears a peer in the epoch that it wrote itself needs no answer to know that it was written', (t) => {
  const driver = middle();
  driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
  driver.pass(10);
  const [propose] = driver.of('propose');
  const written = propose?.configuration as Configuration;
  driver.step({ kind: 'proposed', outcome: 'unknown' });
  driver.configurations.push({ ...written, configId: 'of another' });
  driver.hear(1, { kind: 'hello' }, written.epoch);
  t.is(driver.of('persist').length, 0, 'the same epoch by another writer is to be read');
  driver.configurations.pop();
  driver.configurations.push(written);
  driver.hear(1, { kind: 'hello' }, written.epoch);
  t.deepEqual(driver.of('persist')[0]?.state.configuration, written);
  driver.step({ kind: 'persisted' });
  t.is(driver.replica.configuration?.configId, written.configId);
  driver.step({ kind: 'dial-failed', target: memberOf('D1'), why: 'refused' });
  driver.pass(20);
  t.is(driver.of('propose')[0]?.version, (propose?.version ?? 0) + 1, 'and goes on from there');
});

test('first start: /chain absent and the log empty', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.step({ kind: 'chain', reading: { kind: 'absent' } });
  t.is(driver.of('propose').length, 0, 'not before it is known who is there');
  driver.step({
    kind: 'servers',
    servers: registered('A1').map((own) => ({ ...own, state: 'learner' })),
  });
  driver.pass(10);
  const [first] = driver.of('propose');
  t.is(first?.version, undefined);
  t.is(first?.configuration.epoch, 1);
  driver.step({ kind: 'proposed', outcome: 'unavailable' });
  driver.pass(600);
  t.true(driver.of('refresh').length > 0, 'it looks again by itself');
});

test('another cluster, or an older chain than on disk, is refused at a start', (t) => {
  const lastKnown = chainOf(5, 'A1');
  const other = new ReplicaDriver('A2', { lastKnown });
  other.show(chainOf(6, 'A1', { clusterId: 'other' }));
  t.regex(other.of('halt')[0]?.error.message ?? '', /kv-server recover/);
  const older = new ReplicaDriver('A2', { lastKnown });
  older.show(chainOf(4, 'A1'));
  older.pass(4_900);
  t.is(older.of('halt').length, 0, 'a read may be stale');
  older.pass(300);
  t.regex(older.of('halt')[0]?.error.message ?? '', /older epoch/);
});

test('one epoch with two configurations, on disk and in /chain, halts', (t) => {
  const driver = new ReplicaDriver('A2', { lastKnown: chainOf(5, 'A1') });
  driver.show(chainOf(5, 'A1', { configId: 'other' }));
  t.regex(driver.of('halt')[0]?.error.message ?? '', /ZooKeeper went back/);
});

test('a restarted member revives: at once when all are back, after a grace without them', (t) => {
  const all = new ReplicaDriver('A2', { lastKnown: chainOf(2, 'A1 B1') });
  all.step({ kind: 'servers', servers: registered('A2', 'B2') });
  all.adopt(chainOf(2, 'A1 B1'));
  all.pass(10);
  const [together] = [...all.of('propose')];
  t.is(together, undefined, 'proposed at adoption already');
  const some = new ReplicaDriver('A2', { lastKnown: chainOf(2, 'A1 B1') });
  some.step({ kind: 'servers', servers: registered('A2') });
  some.adopt(chainOf(2, 'A1 B1'));
  some.pass(1_990);
  t.is(some.of('propose').length, 0);
  some.pass(20);
  t.deepEqual(some.of('propose')[0]?.configuration.members, [memberOf('A2')]);
  t.is(some.of('propose')[0]?.configuration.restartEpoch, 3);
});

test('a restarted member waits while a listed incarnation lives, and so does who is not listed', (t) => {
  const waits = new ReplicaDriver('A2', { lastKnown: chainOf(2, 'A1 B1') });
  waits.step({ kind: 'servers', servers: registered('B1', 'A2') });
  waits.adopt(chainOf(2, 'A1 B1'));
  waits.pass(10_000);
  t.is(waits.of('propose').length, 0);
  const stranger = new ReplicaDriver('E1', { log: new EntryLog([], 0, [], 10) });
  stranger.step({ kind: 'servers', servers: registered('E1') });
  stranger.adopt(chainOf(2, 'A1 B1'));
  stranger.pass(10_000);
  t.is(stranger.of('propose').length, 0);
});
