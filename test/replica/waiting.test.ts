/**
 * Who waits for whom, in words: each way of not serving has its own text, which names servers by their
 * addresses. A server that answers clients waits for nothing, one that does not says for what.
 */
import test from 'ava';
import { ChainWorld } from '../support/chain.js';
import { chainOf, entryOf, memberOf, ReplicaDriver } from '../support/chain-driver.js';
import { formed, isChain, isolate, membersOf, proposalOf } from '../support/chain-scenario.js';

function quietWorld(options: ConstructorParameters<typeof ChainWorld>[0] = {}): ChainWorld {
  const world = new ChainWorld(options);
  world.traced = false;
  return world;
}

function textOf(world: ChainWorld, server: string): string {
  const { replica, now } = world.at(server);
  return replica.waiting(now)?.text ?? '';
}

function kindOf(world: ChainWorld, server: string): string | undefined {
  const { replica, now } = world.at(server);
  return replica.waiting(now)?.kind;
}

/** All die at one moment, and their sessions with them. */
function outage(world: ChainWorld, ...servers: string[]): void {
  for (const server of servers) {
    world.crash(server);
    world.expire(server);
  }
}

test('at every moment of a life: whoever has a lease waits for nothing, the others say for what', (t) => {
  const world = quietWorld();
  let waited = 0;
  let served = 0;
  const watched = (ms: number, until?: () => boolean): void => {
    world.settle(ms, () => {
      for (const process of world.processes.values()) {
        if (!process.isLive || process.haltedBy !== undefined) continue;
        const { replica, now, leaseHolds, name } = process;
        const waiting = replica.waiting(now);
        if (leaseHolds) {
          const isOnlyHeld = waiting === undefined || waiting.kind === 'hold';
          t.true(isOnlyHeld, `${name} has a lease, but ${waiting?.text}`);
          served += 1;
        } else {
          t.truthy(waiting?.text, `${name} does not serve and says nothing`);
          waited += 1;
        }
      }
      return until?.() ?? false;
    });
  };
  for (const server of ['A', 'B', 'C', 'D']) {
    world.start(server);
    watched(700);
  }
  watched(2_000, () => isChain(world, 'A', 'B', 'C'));
  world.crash('B');
  watched(3_000);
  world.at('A').stop();
  watched(2_000);
  world.at('A').goOn();
  watched(2_000);
  outage(world, 'A', 'C', 'D');
  world.start('C');
  watched(5_000);
  t.true(waited > 100 && served > 100, `waited ${waited}, served ${served}`);
});

test('before /chain was read it names ZooKeeper, and the last chain from its disk', (t) => {
  const world = quietWorld();
  world.coordinator.away = true;
  world.start('A');
  world.settle(100);
  t.is(textOf(world, 'A'), 'waits for ZooKeeper: /chain was not read yet');
  world.coordinator.away = false;
  t.true(world.settle(2_000, () => isChain(world, 'A')));
  world.start('B');
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B')));
  outage(world, 'A', 'B');
  world.coordinator.away = true;
  world.start('B');
  world.settle(100);
  t.is(
    textOf(world, 'B'),
    'waits for ZooKeeper: /chain was not read yet; the last chain that it knows is epoch 2, A > B',
  );
});

test('after a full outage the members that are back name those that are missing, and how long', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B', 'C');
  outage(world, 'A', 'B', 'C');
  world.start('B');
  world.settle(600);
  t.regex(
    textOf(world, 'B'),
    /^waits for A and C of the last chain, 1\.[34] s more \(--revive-grace\)$/,
  );
  const kind = kindOf(world, 'B');
  world.settle(300);
  t.regex(textOf(world, 'B'), /1\.[01] s more/);
  t.is(kindOf(world, 'B'), kind, 'only the time changed');
  world.start('C');
  world.settle(100);
  t.regex(textOf(world, 'B'), /^waits for A of the last chain/);
  t.not(kindOf(world, 'B'), kind, 'it waits for somebody else');
  t.regex(textOf(world, 'C'), /^waits for A of the last chain, [\d.]+ s more/);
  world.holdProposals = true;
  t.true(world.settle(3_000, () => proposalOf(world, 'B') !== undefined));
  t.is(textOf(world, 'B'), 'waits for ZooKeeper to take the chain of those that are back, epoch 4');
  world.holdProposals = false;
  t.true(world.settle(1_000, () => isChain(world, 'B', 'C')));
  world.settle(600);
  t.is(textOf(world, 'B'), '');
});

test('a returned member waits for the one before it to form the chain', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B');
  outage(world, 'A', 'B');
  world.holdProposals = true;
  world.start('A');
  world.start('B');
  world.settle(50);
  t.is(
    textOf(world, 'B'),
    'waits for A, earlier in the last chain, to form the chain of those that are back',
  );
});

test('a member that came back while the others live waits to be taken out and admitted', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B', 'C');
  world.holdProposals = true;
  world.crash('B');
  world.start('B');
  world.settle(100);
  t.is(textOf(world, 'B'), 'waits for A and C to take its former process out of the chain');
  world.holdProposals = false;
  t.true(world.settle(3_000, () => isChain(world, 'A', 'C', 'B')));
  t.is(textOf(world, 'B'), '');
});

test('a learner names the tail that is not there, and that nobody else is', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B');
  outage(world, 'A', 'B');
  world.start('C');
  world.settle(500);
  t.is(
    textOf(world, 'C'),
    'waits for B, the tail of epoch 2, which is not registered; no member of the last chain is there',
  );
  world.coordinator.cutOff.add('A');
  world.start('A');
  world.settle(100);
  t.is(
    textOf(world, 'C'),
    'waits for B, the tail of epoch 2, which is not registered; of the last chain A is there',
  );
});

test('a learner names the tail that is registered and does not answer', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B');
  world.network.block('B', 'C');
  world.start('C');
  world.settle(500);
  t.is(textOf(world, 'C'), 'waits for B, the tail of epoch 2, which does not answer');
  world.network.unblock();
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B', 'C')));
});

test('a learner that is fed says how far it is behind, then that it is being admitted', (t) => {
  const driver = new ReplicaDriver('B1');
  const text = (): string | undefined =>
    driver.replica.waiting({ monotonicMs: driver.nowMs, wallMs: driver.nowMs })?.text;
  driver.adopt(chainOf(1, 'A1'));
  driver.step({ kind: 'servers', servers: [{ ...memberOf('A1'), state: 'member' }] });
  driver.link(1, 'A1', true);
  t.is(text(), 'waits for A, the tail of epoch 1, to answer its join');
  driver.hear(1, { kind: 'catch-up', seq: 0 });
  driver.hear(1, { kind: 'append', entry: entryOf(1, 1, [1, 2]), commit: 12_347 });
  t.is(text(), 'catches up: 12,347 ops behind', 'on its disk is nothing yet');
  driver.durable();
  t.is(text(), 'catches up: 12,345 ops behind');
  driver.hear(1, { kind: 'gate', upNumber: 0 });
  t.is(text(), 'is being admitted by A, the tail: 12,345 ops behind');
  driver.hear(1, { kind: 'ungate' });
  t.is(text(), 'catches up: 12,345 ops behind');
  driver.step({ kind: 'snapshot-begun', link: 1, runs: [{ epoch: 1, lastSeq: 12_347 }] });
  t.is(text(), 'receives the table from A, the tail');
  driver.step({ kind: 'snapshot-installed', link: 1, runs: [{ epoch: 1, lastSeq: 12_347 }] });
  t.is(text(), 'has caught up; waits for A, the tail, to admit it');
});

test('a server beyond --replicas is a spare', (t) => {
  const world = quietWorld({ replicas: 2 });
  formed(world, 'A', 'B');
  world.start('C');
  world.settle(1_000);
  t.is(textOf(world, 'C'), 'is a spare: the chain has its 2 members (--replicas 2)');
});

test('a removed member that learns of it says when and why, and how it comes back', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B', 'C');
  world.at('C').stop();
  t.true(world.settle(3_000, () => membersOf(world) === 'A1 B1'));
  world.network.block('B', 'C');
  world.at('C').goOn();
  world.settle(500);
  t.regex(
    textOf(world, 'C'),
    /^waits for B, the tail of epoch 4, .* \(removed in epoch 4: C silent for \d+ ms\)$/,
  );
  world.network.unblock();
  t.true(world.settle(5_000, () => isChain(world, 'A', 'B', 'C')));
  t.is(textOf(world, 'C'), '');
});

test('a member that hears nobody has no lease, and says so', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B', 'C');
  isolate(world, 'C');
  world.settle(2_000);
  t.is(membersOf(world), 'A1 B1');
  t.is(textOf(world, 'C'), 'waits for signs of life of all other members (no lease)');
});

test('a member that was told of a newer epoch serves no more, and waits to read it', (t) => {
  const driver = new ReplicaDriver('B1');
  driver.adopt(chainOf(3, 'A1 B1'));
  driver.link(1, 'A1', false);
  driver.hear(1, { kind: 'ping' }, 4);
  t.is(
    driver.replica.waiting({ monotonicMs: 0, wallMs: 0 })?.text,
    'waits for ZooKeeper to show epoch 4, of which others told; knows epoch 3',
  );
});

test('a head that holds, and one with too few members, take no writes and say why', (t) => {
  const world = quietWorld({ minReplicas: 2 });
  world.start('A');
  t.true(world.settle(2_000, () => isChain(world, 'A')));
  t.is(textOf(world, 'A'), 'takes no writes: the chain has 1 member, --min-replicas asks for 2');
  world.start('B');
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B')));
  world.settle(600);
  t.is(textOf(world, 'A'), '');
  world.start('C');
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B', 'C')));
  world.settle(600);
  world.crash('C');
  t.true(world.settle(2_000, () => isChain(world, 'A', 'B')));
  t.regex(
    textOf(world, 'A'),
    /^takes no writes for 0\.\d s more: a former member may still have a lease$/,
  );
});

test('an older /chain that is waited out is named with both epochs, and until when', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B');
  world.mayHalt.add('A');
  world.crash('A');
  const process = world.start('A');
  world.tellChain(process, 1);
  t.regex(
    textOf(world, 'A'),
    /^waits for ZooKeeper to catch up: a read of \/chain shows epoch 1, this disk is in epoch 2; refuses to start in 5\.0 s$/,
  );
});

test('garbage in /chain is a matter for an operator', (t) => {
  const world = quietWorld();
  const process = world.start('A');
  process.handle({ kind: 'chain', reading: { kind: 'garbage' } });
  t.is(
    textOf(world, 'A'),
    'waits for an operator: /chain in ZooKeeper holds no valid configuration',
  );
});

test('one that leaves says so until it has left', (t) => {
  const world = quietWorld();
  formed(world, 'A', 'B');
  world.holdProposals = true;
  world.leave('B');
  world.settle(50);
  t.is(textOf(world, 'B'), 'leaves the chain');
});

test('one whose disk is full waits for room', (t) => {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(1, 'A1 B1'));
  driver.step({ kind: 'disk-full' });
  t.is(
    driver.replica.waiting({ monotonicMs: 0, wallMs: 0 })?.text,
    'waits for room on its disk; leaves the chain meanwhile',
  );
});
