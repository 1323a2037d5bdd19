/**
 * Follows van Renesse & Schneider, "Chain Replication for Supporting High Throughput and Availability"
 * (OSDI 2004), a sentence a test, and says where Catena differs: the head commits and answers once all
 * have the update on disk, every member answers reads under a lease, and members may restart.
 */
import test from 'ava';
import { ChainWorld } from '../../support/chain.js';
import { formed, hold, isChain, membersOf, pass } from '../../support/chain-scenario.js';

function chain(...servers: string[]): ChainWorld {
  const world = new ChainWorld({ replicas: Math.max(servers.length, 3) });
  world.traced = false;
  formed(world, ...servers);
  return world;
}

/** Hist of the paper: all that a server has, in order. */
function history(world: ChainWorld, server: string): string[] {
  return world.at(server).disk.text.replaceAll('~', '').split(' ');
}

function isPrefix(shorter: readonly string[], longer: readonly string[]): boolean {
  return shorter.every((id, index) => longer[index] === id);
}

test('"Each update request is directed to the head of the chain."', (t) => {
  const world = chain('A', 'B', 'C');
  t.is(world.write('B', 1)[0]?.state, 'refused');
  t.is(world.write('C', 1)[0]?.state, 'refused');
  t.is(world.write('A', 1)[0]?.state, 'assigned');
});

test('"...state changes are forwarded along a reliable FIFO link to the next element of the chain"', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'A', 'B');
  for (let count = 0; count < 3; count++) world.write('A', count);
  hold(world, 'A', 'B', false);
  const before = history(world, 'B').length;
  pass(world, 'A', 'B', 3);
  t.deepEqual(history(world, 'B').slice(before), history(world, 'A').slice(before));
});

test('"...and so on until the request is handled by the tail": then, and not before, it is answered', (t) => {
  const world = chain('A', 'B', 'C');
  const [write] = world.write('A', 1);
  world.at('A').sync();
  pass(world, 'A', 'B');
  world.at('B').sync();
  t.is(write?.state, 'assigned');
  pass(world, 'B', 'C');
  world.at('C').sync();
  pass(world, 'C', 'B');
  t.is(write?.state, 'assigned', 'Catena: the head answers, so the acks travel back first');
  pass(world, 'B', 'A');
  t.is(write?.state, 'done');
});

test('"Each query request is directed to the tail": in Catena any member answers, under a lease', (t) => {
  const world = chain('A', 'B', 'C');
  world.write('A', 1);
  world.flush();
  const reads = ['A', 'B', 'C'].map((server) => world.read(server, 1));
  world.flush();
  t.deepEqual(
    reads.map(({ state, value }) => `${state} ${value}`),
    ['answered 1', 'answered 1', 'answered 1'],
  );
});

test('a query of a key with an update under way waits where that update is known', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'B', 'C');
  world.write('A', 1);
  world.flush();
  const reads = ['A', 'B', 'C'].map((server) => world.read(server, 1));
  world.flush();
  t.deepEqual(
    reads.map(({ state }) => state),
    ['sent', 'sent', 'answered'],
  );
  t.is(reads[2]?.value, 0, 'the tail has not seen it, and nobody was told of it');
  hold(world, 'B', 'C', false);
  world.flush();
  t.deepEqual(
    reads.map(({ value }) => value),
    [1, 1, 0],
  );
});

test('Update Propagation Invariant: "Hist^j ≼ Hist^i" for a predecessor i of j', (t) => {
  const world = chain('A', 'B', 'C');
  for (let count = 0; count < 12; count++) {
    world.write('A', count % 3);
    if (count % 2 === 0) pass(world, 'A', 'B');
    if (count % 4 === 0) pass(world, 'B', 'C');
    t.true(isPrefix(history(world, 'B'), history(world, 'A')));
    t.true(isPrefix(history(world, 'C'), history(world, 'B')));
  }
});

test('Inprocess Requests Invariant: "Hist^i = Hist^j ⊕ Sent_i": what the successor lacks is sent again', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'A', 'B');
  for (let count = 0; count < 3; count++) world.write('A', count);
  const sent = history(world, 'A').slice(history(world, 'B').length);
  t.is(sent.length, 3);
  world.breakLinks('A', 'B');
  world.settle(100);
  t.deepEqual(history(world, 'B').slice(-3), sent);
});

test('"whenever the server receives an ack(r) ... it deletes r from Sent": it is committed, and applied', (t) => {
  const world = chain('A', 'B');
  const [write] = world.write('A', 1);
  t.is(world.at('A').replica.unacknowledgedBytes > 0, true);
  world.flush();
  t.is(write?.state, 'done');
  t.is(world.at('A').replica.unacknowledgedBytes, 0);
});

test('Failure of the Head: "removing H from the chain and making the successor to H the new head"', (t) => {
  const world = chain('A', 'B', 'C');
  world.crash('A');
  t.true(world.settle(1_000, () => isChain(world, 'B', 'C')));
  t.is(world.at('B').replica.role, 'head');
});

test('...which "has the effect of removing from Pending those requests received by H but not yet forwarded"', (t) => {
  const world = chain('A', 'B');
  hold(world, 'A', 'B');
  const [lost] = world.write('A', 1);
  world.breakLinks('A', 'B');
  world.crash('A');
  world.settle(2_000, () => isChain(world, 'B'));
  world.settle(600);
  t.is(world.verify('B', lost!), 'never', 'Catena: its client can be told');
});

test('...while a request that was forwarded is carried on by the new head', (t) => {
  const world = chain('A', 'B');
  const [write] = world.write('A', 1);
  world.crash('A');
  world.settle(2_000, () => isChain(world, 'B'));
  world.settle(600);
  t.is(world.verify('B', write!), 'executed');
});

test('Failure of the Tail: "removing tail T from the chain and making predecessor T- the new tail"', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'B', 'C');
  const [write] = world.write('A', 1);
  world.flush();
  t.is(write?.state, 'assigned');
  world.crash('C');
  t.true(
    world.settle(2_000, () => write?.state === 'done'),
    'what only T lacked becomes complete',
  );
  t.is(world.at('B').replica.role, 'tail');
});

test('Failure of Other Servers: "S is deleted from the chain", S- sends S+ what it has not got', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'B', 'C');
  const [write] = world.write('A', 1);
  world.flush();
  t.false(isPrefix(history(world, 'A'), history(world, 'C')));
  world.crash('B');
  t.true(world.settle(2_000, () => write?.state === 'done'));
  t.is(membersOf(world), 'A1 C1');
  t.true(isPrefix(history(world, 'A'), history(world, 'C')));
});

test('...and "before" anything newer: the missing update precedes the first of the new epoch', (t) => {
  const world = chain('A', 'B', 'C');
  hold(world, 'B', 'C');
  world.write('A', 1);
  world.flush();
  const missing = history(world, 'A').at(-1) as string;
  world.crash('B');
  world.settle(2_000, () => isChain(world, 'A', 'C'));
  const rest = history(world, 'C');
  t.true(rest.indexOf(missing) === rest.length - 2, 'only the entry that opens the epoch follows');
});

test('Extending a Chain: "adding a server T+ to the very end of a chain"', (t) => {
  const world = chain('A', 'B');
  world.start('C');
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B', 'C')));
  t.deepEqual(history(world, 'C'), history(world, 'A'));
});

test('"...T can be processing updates concurrently with forwarding": writes go on during a join', (t) => {
  const world = chain('A');
  for (let count = 0; count < 8; count++) world.write('A', count % 3);
  world.flush();
  world.start('B');
  const writes = [];
  for (let round = 0; round < 40 && !isChain(world, 'A', 'B'); round++) {
    writes.push(world.write('A', 0)[0]);
    world.settle(10);
    if (round < 2) t.true(writes.some((write) => write?.state === 'done'));
  }
  t.true(isChain(world, 'A', 'B'));
  world.settle(500);
  t.true(writes.every((write) => write?.state === 'done'));
});

test('"a service ... with t servers tolerates up to t - 1 failures"', (t) => {
  const world = chain('A', 'B', 'C');
  const [write] = world.write('A', 1);
  world.flush();
  t.is(write?.state, 'done');
  world.crash('A');
  world.crash('C');
  t.true(world.settle(5_000, () => isChain(world, 'B')));
  const read = world.read('B', 1);
  world.settle(600);
  t.is(read.value, 1);
});

test('the paper assumes fail-stop; Catena does not: a server wrongly taken for dead does no harm', (t) => {
  const world = chain('A', 'B', 'C');
  world.at('B').stop();
  t.true(world.settle(3_000, () => isChain(world, 'A', 'C')));
  const [write] = world.write('A', 1);
  world.settle(1_000);
  t.is(write?.state, 'done');
  world.at('B').goOn();
  const read = world.read('B', 1);
  world.settle(50);
  t.not(read.state, 'answered');
  t.true(world.settle(3_000, () => isChain(world, 'A', 'C', 'B')));
});
