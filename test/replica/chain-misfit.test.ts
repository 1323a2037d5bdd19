/** FAULTS Z6, Z7: what `/chain` may show that nothing can go on from, to servers that run and to those that start. */
import test from 'ava';
import { firstEpochOf } from '../../src/coordination/configuration.js';
import type { Registration } from '../../src/coordination/coordinator.js';
import type { ChainReading } from '../../src/replica/events.js';
import { chainOf, memberOf, ReplicaDriver } from '../support/chain-driver.js';

function registered(state: Registration['state'], ...names: string[]): Registration[] {
  return names.map((name) => ({ ...memberOf(name), state }));
}

/** B of A, B, C in epoch 5, adopted on version 7 of the znode. */
function running(): ReplicaDriver {
  const driver = new ReplicaDriver('B1');
  show(driver, chainOf(5, 'A1 B1 C1'), 7);
  driver.step({ kind: 'persisted' });
  driver.link(1, 'A1', false);
  driver.link(2, 'C1', true);
  return driver;
}

function show(driver: ReplicaDriver, configuration: ReturnType<typeof chainOf>, version: number) {
  driver.configurations.push(configuration);
  return driver.step({ kind: 'chain', reading: { kind: 'found', configuration, version } });
}

function alarms(driver: ReplicaDriver): string[] {
  return driver.of('note').flatMap(({ level, message }) => (level === 'error' ? [message] : []));
}

const misfits: Readonly<Record<string, ChainReading>> = {
  'garbage (Z7)': { kind: 'garbage' },
  'nothing (Z7)': { kind: 'absent' },
  'an older copy of itself (Z6)': {
    kind: 'found',
    configuration: chainOf(3, 'A1 B1 C1 D1'),
    version: 2,
  },
  'another cluster (Z6)': {
    kind: 'found',
    configuration: chainOf(9, 'X1', { clusterId: 'other' }),
    version: 7,
  },
};

for (const [what, reading] of Object.entries(misfits)) {
  test(`a member to which /chain shows ${what} goes on as it is, alarms once, and promotes nobody`, (t) => {
    const driver = running();
    driver.step({ kind: 'chain', reading });
    const told = alarms(driver);
    // Its successor dies: time for a new configuration, if there were one to go on from.
    driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
    const effects = driver.pass(20_000);
    const later = alarms(driver);
    t.is([...told, ...later].length, 1);
    t.regex([...told, ...later][0] ?? '', /keeping the last good configuration/);
    const note = effects.find((effect) => effect.kind === 'note' && effect.level === 'error');
    if (told.length === 0) t.truthy(note, 'an older one is waited out first: the read may be old');
    t.false(
      effects.some(({ kind }) => kind === 'propose' || kind === 'persist' || kind === 'halt'),
    );
    t.is(driver.replica.role, 'middle');
    t.is(driver.replica.configuration?.epoch, 5);
    const reads = effects.filter(({ kind }) => kind === 'refresh').length;
    t.true(reads > 10 && reads < 40, `it looks again, not all the time: ${reads}`);

    // An operator puts the last good one back: the versions begin anew.
    show(driver, chainOf(5, 'A1 B1 C1'), 0);
    t.true(driver.of('note').some(({ message }) => message === '/chain fits again'));
    driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
    driver.pass(20);
    const [propose] = driver.of('propose');
    t.is(propose?.configuration.epoch, 6);
    t.is(propose?.version, 0, 'on the version that fits');
  });
}

test('an old read between two good ones is no alarm, and delays nothing but what was to be written on it', (t) => {
  const driver = running();
  show(driver, chainOf(4, 'A1 B1 C1 D1'), 6);
  driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
  driver.pass(20);
  t.is(driver.of('propose').length, 0);
  driver.pass(300);
  t.true(driver.of('refresh').length > 0);
  show(driver, chainOf(5, 'A1 B1 C1'), 7);
  driver.pass(20);
  t.is(driver.of('propose').length, 1);
  t.deepEqual(alarms(driver), []);
});

test('Z7: garbage at a start is waited out for as long as it stands; mended, the start goes on', (t) => {
  const driver = new ReplicaDriver('A2', { lastKnown: chainOf(5, 'A1') });
  driver.step({ kind: 'servers', servers: registered('learner', 'A2') });
  driver.step({ kind: 'chain', reading: { kind: 'garbage' } });
  t.is(driver.of('note')[0]?.level, 'warn');
  const effects = driver.pass(60_000);
  t.false(effects.some(({ kind }) => kind === 'note' || kind === 'propose' || kind === 'halt'));
  driver.adopt(chainOf(5, 'A1'));
  driver.pass(3_000);
  t.true(driver.configurations.length === 1 && driver.replica.configuration?.epoch === 5);
});

test('Z6: an empty server does not begin a cluster where members of one run, not even once they are gone', (t) => {
  const driver = new ReplicaDriver('E1');
  driver.step({ kind: 'chain', reading: { kind: 'absent' } });
  driver.step({ kind: 'servers', servers: registered('member', 'A1', 'B1') });
  driver.pass(1_000);
  driver.step({ kind: 'servers', servers: registered('learner', 'E1') });
  driver.step({ kind: 'chain', reading: { kind: 'absent' } });
  const effects = driver.pass(4_200);
  t.false(effects.some(({ kind }) => kind === 'propose'));
  const halt = effects.find((effect) => effect.kind === 'halt');
  t.is(halt?.error.code, 'REFUSED_TO_START');
  t.regex(halt?.error.message ?? '', /members of a chain are registered.*kv-server recover/);
});

test('Z6: an old member that returns to an older /chain forms no second chain beside the one that runs', (t) => {
  // D was removed before epoch 5, while it was down; ZooKeeper went back to epoch 3.
  const driver = new ReplicaDriver('D2', { lastKnown: chainOf(3, 'A1 D1') });
  driver.step({
    kind: 'servers',
    servers: [...registered('member', 'A2', 'B1'), ...registered('learner', 'D2')],
  });
  driver.adopt(chainOf(3, 'A1 D1'));
  const effects = driver.pass(60_000);
  t.false(effects.some(({ kind }) => kind === 'propose'));
  t.true(effects.some(({ kind }) => kind === 'refresh'));
  driver.step({ kind: 'servers', servers: registered('learner', 'A3', 'D2') });
  driver.pass(200);
  t.is(
    driver.of('propose')[0]?.configuration.epoch,
    4,
    'it does when A comes back as one of epoch 3',
  );
});

test('the generation that recover begins is one that running servers of the old history follow', (t) => {
  const driver = running();
  driver.step({ kind: 'chain', reading: { kind: 'absent' } });
  const epoch = firstEpochOf(2);
  driver.adopt(chainOf(epoch, 'A9', { generation: 2, restartEpoch: epoch }));
  t.is(driver.replica.role, 'learner');
  t.is(driver.replica.configuration?.generation, 2);
});

test('a peer in the own epoch that was passed over meanwhile does not make /chain look old', (t) => {
  const driver = running();
  driver.step({ kind: 'dial-failed', target: memberOf('C1'), why: 'refused' });
  driver.pass(20);
  const [own] = driver.of('propose');
  t.is(own?.configuration.epoch, 6);
  driver.step({ kind: 'proposed', outcome: 'unknown' });
  // It was written, and followed by another one, before this server could read it.
  show(driver, chainOf(7, 'A1 B1'), 9);
  t.is(driver.of('persist').length, 1);
  const { configId = '' } = own?.configuration ?? {};
  driver.step({
    kind: 'message',
    link: 1,
    message: { epoch: 6, configId, body: { kind: 'ping' } },
  });
  t.deepEqual(driver.of('note'), []);
  driver.step({ kind: 'persisted' });
  t.is(driver.replica.configuration?.epoch, 7);
  driver.step({ kind: 'dial-failed', target: memberOf('A1'), why: 'refused' });
  driver.pass(20);
  t.is(driver.of('propose')[0]?.configuration.epoch, 8, 'at once');
});
