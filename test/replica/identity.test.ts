/**
 * FAULTS O4, as coordination sees it: two live processes of one server. One of them halts, for certain and
 * only then; what is left of a dead process halts nobody.
 */
import test from 'ava';
import type { Registration } from '../../src/coordination/coordinator.js';
import { chainOf, memberOf, ReplicaDriver } from '../support/chain-driver.js';

const patienceMs = 10_000;

function at(name: string, address = name[0] as string): Registration {
  return { ...memberOf(name), address, state: 'member' };
}

function lastHalt(driver: ReplicaDriver) {
  return driver.of('halt')[0]?.error;
}

test('O4: a copy that starts is refused when the live one stays registered', (t) => {
  const copy = new ReplicaDriver('A2');
  copy.step({ kind: 'servers', servers: [at('A1', 'elsewhere:1')] });
  copy.pass(patienceMs);
  t.is(
    lastHalt(copy),
    undefined,
    'it may be the node of a dead process, which ends with its session',
  );
  copy.pass(20);
  t.is(lastHalt(copy)?.code, 'REFUSED_TO_START');
  t.regex(lastHalt(copy)?.message ?? '', /already runs at elsewhere:1.*copy of the other/);
  t.is(copy.replica.role, 'halted');
});

test('O4: the older process halts when another took its name and keeps it', (t) => {
  const older = new ReplicaDriver('A1');
  older.adopt(chainOf(1, 'A1'));
  older.step({ kind: 'servers', servers: [at('A1')] });
  older.step({ kind: 'servers', servers: [at('A2')] });
  older.pass(patienceMs);
  t.is(older.replica.role, 'single');
  older.pass(20);
  t.is(lastHalt(older)?.code, 'INVARIANT');
  t.regex(lastHalt(older)?.message ?? '', /another live process, at A, is server A/);
});

test('O4: of two that registered at once the later one goes, long before the older one would', (t) => {
  const [older, later] = [new ReplicaDriver('A1'), new ReplicaDriver('A2')];
  for (const driver of [older, later]) {
    driver.step({ kind: 'servers', servers: [at('A1', 'one:1'), at('A2', 'two:2')] });
    driver.pass(patienceMs + 20);
  }
  t.is(older.replica.role, 'learner');
  t.is(later.replica.role, 'halted');
  older.step({ kind: 'servers', servers: [at('A1', 'one:1')] });
  older.pass(3 * patienceMs);
  t.is(older.replica.role, 'learner');
  older.step({ kind: 'servers', servers: [at('A1', 'one:1'), at('A2', 'two:2')] });
  older.pass(2 * patienceMs + 20);
  t.is(older.replica.role, 'halted', 'but not if the other one never goes');
});

test('the late create of a dead process ends with its session and halts nobody', (t) => {
  const driver = new ReplicaDriver('A2');
  for (let round = 0; round < 3; round += 1) {
    driver.step({ kind: 'servers', servers: [at('A2'), at('A1')] });
    driver.pass(patienceMs - 100);
    driver.step({ kind: 'servers', servers: [at('A2')] });
    driver.pass(patienceMs);
  }
  t.is(driver.replica.role, 'learner');
});

test('what was seen before a gap counts for nothing: no connection, or a process that stood still', (t) => {
  const driver = new ReplicaDriver('A2');
  driver.step({ kind: 'servers', servers: [at('A1', 'elsewhere:1')] });
  driver.pass(patienceMs - 100);
  driver.step({ kind: 'session', isConnected: false });
  driver.pass(3 * patienceMs);
  t.is(driver.replica.role, 'learner', 'while away it can be gone, and nobody would say so');
  driver.step({ kind: 'session', isConnected: true });
  driver.pass(patienceMs - 100);
  driver.nowMs += 10 * patienceMs;
  driver.step({ kind: 'tick' });
  t.is(driver.replica.role, 'learner');
  driver.pass(200);
  t.is(driver.replica.role, 'halted');
});

test('two processes of another server are nobody of ours', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.step({ kind: 'servers', servers: [at('A1'), at('B1'), at('B2', 'elsewhere:1')] });
  driver.pass(3 * patienceMs);
  t.is(driver.replica.role, 'learner');
});
