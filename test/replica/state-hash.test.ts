/**
 * State hashes go down the chain from member to member. What must hold: each is believed only from the one
 * whose log is followed, passed on only after it was found equal, and of two that differ the later stops,
 * alone, naming the seq.
 */
import test from 'ava';
import { ChainWorld } from '../support/chain.js';
import { chainOf, ReplicaDriver } from '../support/chain-driver.js';
import { formed, isChain, membersOf } from '../support/chain-scenario.js';

const hash = '0123456789abcdef';
const beatMs = 50;

function settledMiddle(): ReplicaDriver {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(2, 'A1 B1 C1'));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'hello' });
  driver.hear(1, { kind: 'settle', seq: 0 });
  driver.link(2, 'C1', true);
  driver.hear(2, { kind: 'hello-answer', runs: [], commit: 0 });
  return driver;
}

test('the head begins at each beat, once it feeds somebody', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.pass(500);
  t.deepEqual(driver.of('hash-state'), []);
  driver.link(1, 'B1', true);
  driver.pass(beatMs);
  t.deepEqual(driver.of('hash-state'), [], 'the successor has not said what it has');
  driver.hear(1, { kind: 'hello-answer', runs: [], commit: 0 });
  driver.pass(beatMs);
  t.is(driver.of('hash-state').length, 1);
  driver.step({ kind: 'state-hashed', seq: 7, hash });
  t.deepEqual(driver.sent('state-hash'), [{ kind: 'state-hash', seq: 7, hash }]);
});

test('a middle compares what its predecessor says, and passes on only what it found equal', (t) => {
  const driver = settledMiddle();
  driver.pass(beatMs);
  t.deepEqual(driver.of('hash-state'), [], 'only the head begins');
  driver.hear(1, { kind: 'state-hash', seq: 3, hash });
  const [compare] = driver.of('compare-state');
  t.like(compare, { seq: 3, hash, from: { serverId: 'A', address: 'A' } });
  t.deepEqual(driver.sent('state-hash'), []);
  driver.step({ kind: 'state-hashed', seq: 3, hash });
  t.deepEqual(driver.sent('state-hash'), [{ kind: 'state-hash', seq: 3, hash }]);
});

test('nobody but the one whose log is followed is compared with', (t) => {
  const unsettled = new ReplicaDriver('B1');
  unsettled.adopt(chainOf(2, 'A1 B1'));
  unsettled.link(1, 'A1', false);
  unsettled.hear(1, { kind: 'state-hash', seq: 3, hash });
  t.deepEqual(unsettled.of('compare-state'), [], 'not settled in this epoch');
  const driver = settledMiddle();
  driver.hear(2, { kind: 'state-hash', seq: 3, hash });
  t.deepEqual(driver.of('compare-state'), [], 'a successor stops itself, not its predecessor');
  driver.hear(1, { kind: 'state-hash', seq: 3, hash }, 1);
  t.deepEqual(driver.of('compare-state'), [], 'an older epoch');
});

/** Flips one bit of the value of `key` in the table of this server. */
function corrupt(world: ChainWorld, server: string, key: number): void {
  const value = world.at(server).table.machine.table.get(Uint8Array.of(key));
  if (value === undefined) throw new Error(`${server} has no key ${key}`);
  value[0]! ^= 1;
}

/** Three members and a spare, all of whom have compared their states. */
function watchedChain(): ChainWorld {
  const world = new ChainWorld({ replicas: 3 });
  world.traced = false;
  formed(world, 'A', 'B', 'C');
  world.start('D');
  world.settle(1_000);
  return world;
}

test('members and learners compare at every beat', (t) => {
  const world = watchedChain();
  const before = world.checks.statesFoundEqual;
  world.settle(10 * beatMs);
  // B, C and the spare D, ten times.
  const compared = world.checks.statesFoundEqual - before;
  t.true(compared >= 27 && compared <= 33, `${compared}`);
});

for (const [where, damaged, stopped] of [
  ['the head', 'A', 'B'],
  ['a middle', 'B', 'B'],
  ['the tail', 'C', 'C'],
  ['a learner', 'D', 'D'],
] as const) {
  test(`a flipped bit in ${where} stops the later of the two that differ, and only it`, (t) => {
    const world = watchedChain();
    world.mayHalt.add(stopped);
    const before = world.checks.statesFoundEqual;
    corrupt(world, damaged, 0);
    world.settle(10 * beatMs);
    t.true(world.checks.statesFoundEqual > before, 'unseen while nobody touches the entry');
    t.is(world.at(stopped).haltedBy, undefined);
    const [write] = world.write('A', 0);
    t.true(world.settle(5_000, () => world.at(stopped).haltedBy !== undefined));
    const seq = write?.id?.seq;
    t.regex(world.at(stopped).haltedBy ?? '', new RegExp(`after op ${seq} differs`));
    for (const [server, process] of world.processes) {
      t.is(process.haltedBy !== undefined, server === stopped, server);
    }
  });
}

test('the others go on without the one that stopped, and it comes back sound', (t) => {
  const world = watchedChain();
  world.mayHalt.add('B');
  corrupt(world, 'B', 0);
  world.write('A', 0);
  t.true(
    world.settle(20_000, () => isChain(world, 'A', 'C', 'D')),
    membersOf(world),
  );
  t.regex(world.at('B').haltedBy ?? '', /differs/);
  const [write] = world.write('A', 0);
  t.true(world.settle(1_000, () => write?.state === 'done'));
  world.mayHalt.clear();
  world.start('B');
  world.settle(1_000);
  const [next] = world.write('A', 0);
  world.settle(1_000);
  t.is(next?.state, 'done');
  const machines = [...world.processes.values()].map(({ table }) => table.machine);
  t.is(new Set(machines.map(({ stateHash }) => stateHash)).size, 1);
  t.is(new Set(machines.map(({ appliedSeq }) => appliedSeq)).size, 1);
});
