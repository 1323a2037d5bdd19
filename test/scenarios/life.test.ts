/** A chain's life: starts, joins, work, departures. */
import type { ChainWorld } from '../support/chain.js';
import { formed, isChain, membersOf, quietly, scenario } from '../support/chain-scenario.js';

function writes(world: ChainWorld, server: string, count: number): () => boolean {
  const records = Array.from({ length: count }, (_, index) => world.write(server, index % 3)[0]);
  return () => records.every((record) => record?.state === 'done');
}

scenario(
  'life-start',
  'a first server, two that join one by one, a write and reads everywhere',
  (world, t) => {
    world.start('A');
    t.true(world.settle(2_000, () => isChain(world, 'A')));
    world.start('B');
    t.true(world.settle(2_000, () => isChain(world, 'A', 'B')));
    world.start('C');
    t.true(world.settle(2_000, () => isChain(world, 'A', 'B', 'C')));
    world.settle(500);
    const [write] = world.write('A', 1);
    world.flush();
    t.is(write?.state, 'done');
    const reads = ['A', 'B', 'C'].map((server) => world.read(server, 1));
    world.flush();
    t.deepEqual(
      reads.map(({ value }) => value),
      [1, 1, 1],
    );
    t.is(world.write('B', 1)[0]?.state, 'refused', 'not the head');
  },
);

scenario(
  'life-three-at-once',
  'three servers start at once: one creates /chain, the others join',
  (world, t) => {
    for (const server of ['A', 'B', 'C']) world.start(server);
    t.true(world.settle(5_000, () => membersOf(world).split(' ').length === 3));
    t.true(world.settle(1_000, () => isChain(world, 'A', 'B', 'C')));
  },
);

for (const [victim, rest] of [
  ['A', ['B', 'C']],
  ['B', ['A', 'C']],
  ['C', ['A', 'B']],
] as const) {
  scenario(
    `life-kill-${victim}`,
    `kill -9 of ${victim} in A B C, and it comes back`,
    (world, t) => {
      formed(world, 'A', 'B', 'C');
      const [before] = world.write('A', 1);
      world.crash(victim);
      const diedMs = world.nowMs;
      t.true(world.settle(1_000, () => isChain(world, ...rest)));
      const [write] = world.write(rest[0], 2);
      t.true(world.settle(1_000, () => write?.state === 'done'));
      t.true(world.nowMs - diedMs < 1_000, 'a failure costs less than a second');
      t.true(before?.state === 'done' || victim === 'A');
      world.start(victim);
      t.true(world.settle(2_000, () => isChain(world, ...rest, victim)));
    },
  );
}

for (const [index, order] of ['ABC', 'CBA', 'BAC', 'AB', 'BC', 'C', 'A'].entries()) {
  scenario(
    `life-outage-${index}-${order}`,
    `all die; back come ${order}, in this order`,
    (world, t) => {
      formed(world, 'A', 'B', 'C');
      quietly(world, () => {
        t.true(world.settle(1_000, writes(world, 'A', 5)));
      });
      world.slowDisks.add('A');
      const [open] = world.write('A', 0);
      world.flush();
      for (const server of ['A', 'B', 'C']) {
        world.crash(server);
        world.expire(server);
      }
      world.slowDisks.clear();
      for (const server of order) {
        world.start(server);
        world.settle(300);
      }
      const back = (): boolean => membersOf(world).split(' ').length === order.length;
      t.true(world.settle(10_000, () => back() && world.at(order[0] as string).leaseHolds));
      t.true(
        world.settle(3_000, () => order.split('').every((server) => world.at(server).leaseHolds)),
      );
      const head = world.coordinator.configuration?.members[0]?.serverId as string;
      const [write] = world.write(head, 1);
      t.true(world.settle(2_000, () => write?.state === 'done'));
      const read = world.read(head, 'all');
      world.flush();
      t.is(read.state, 'answered');
      t.true(['executed', 'never'].includes(world.verify(head, open!)));
    },
  );
}

for (const leaver of ['A', 'B', 'C']) {
  scenario(
    `life-leave-${leaver}`,
    `${leaver} leaves A B C by agreement: nobody waits`,
    (world, t) => {
      formed(world, 'A', 'B', 'C');
      const done = writes(world, 'A', 2);
      world.leave(leaver);
      t.true(world.settle(200, () => world.at(leaver).hasLeft));
      t.true(done());
      const head = leaver === 'A' ? 'B' : 'A';
      const [write] = world.write(head, 1);
      world.flush();
      t.is(write?.state, 'done', 'no hold');
    },
  );
}

scenario('life-leave-alone', 'the last one leaves when its writes are done', (world, t) => {
  formed(world, 'A');
  world.slowDisks.add('A');
  const [write] = world.write('A', 1);
  world.leave('A');
  world.flush();
  t.false(world.at('A').hasLeft);
  world.slowDisks.clear();
  world.settle(100, () => world.at('A').hasLeft);
  t.true(world.at('A').hasLeft);
  t.is(write?.state, 'done');
});

scenario(
  'life-diverged',
  'a former head comes back with a suffix that nobody has: it is cut',
  (world, t) => {
    formed(world, 'A', 'B');
    world.network.block('A', 'B');
    const [lost] = world.write('A', 1);
    world.flush();
    world.crash('A');
    t.true(world.settle(2_000, () => membersOf(world) === 'B1'));
    const [write] = world.write('B', 2);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    world.network.unblock();
    world.start('A');
    t.true(world.settle(2_000, () => isChain(world, 'B', 'A')));
    t.is(world.verify('B', lost!), 'never');
    t.is(world.at('A').disk.text, world.at('B').disk.text);
  },
);

scenario('life-learn-log', 'a server that was away catches up from the log', (world, t) => {
  formed(world, 'A', 'B');
  world.crash('B');
  world.settle(2_000, () => membersOf(world) === 'A1');
  t.true(world.settle(2_000, writes(world, 'A', 6)));
  world.start('B');
  t.true(world.settle(3_000, () => isChain(world, 'A', 'B')));
  t.is(world.at('B').lastApplied, world.at('A').lastApplied);
});

scenario(
  'life-learn-snapshot',
  'a new server catches up from a snapshot, writes go on meanwhile',
  (world, t) => {
    formed(world, 'A');
    t.true(world.settle(2_000, writes(world, 'A', 6)));
    const head = world.at('A');
    head.disk.compact(head.table, head.replica.status(head.now).commitSeq);
    world.start('B');
    world.settle(100, () => world.lines.some((line) => line.includes('snapshot from A1 begins')));
    const done = writes(world, 'A', 2);
    t.true(world.settle(3_000, () => isChain(world, 'A', 'B')));
    t.true(world.settle(1_000, done));
    t.is(world.at('B').lastApplied, world.at('A').lastApplied);
  },
);

scenario(
  'life-min-replicas',
  'with too few members writes are refused, reads go on',
  (world, t) => {
    formed(world, 'A', 'B');
    world.crash('B');
    t.true(world.settle(2_000, () => isChain(world, 'A')));
    t.is(world.write('A', 0)[0]?.state, 'refused');
    const read = world.read('A', 0);
    world.flush();
    world.settle(600);
    t.is(read.state, 'answered');
  },
  { minReplicas: 2 },
);

scenario('life-away', 'ZooKeeper is away: an intact chain reads and writes on', (world, t) => {
  formed(world, 'A', 'B', 'C');
  world.coordinator.away = true;
  world.say('ZooKeeper is away');
  for (let round = 0; round < 5; round++) {
    const [write] = world.write('A', 1);
    const read = world.read('B', 1);
    t.true(world.settle(50, () => write?.state === 'done' && read.state === 'answered'));
    quietly(world, () => world.settle(2_000));
  }
  world.coordinator.away = false;
  t.true(isChain(world, 'A', 'B', 'C'));
});

scenario(
  'life-sessions',
  'all sessions expire at once: an intact chain removes nobody',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    const { epoch } = world.coordinator.configuration!;
    for (const server of ['A', 'B', 'C']) world.expire(server);
    world.settle(5_000);
    const [write] = world.write('A', 1);
    world.flush();
    t.is(write?.state, 'done');
    for (const server of ['A', 'B', 'C']) {
      world.coordinator.register({ ...world.at(server).member, state: 'member' });
    }
    world.settle(1_000);
    t.is(world.coordinator.configuration?.epoch, epoch);
  },
);

scenario(
  'life-sessions-leave',
  'while all sessions are gone, one who leaves removes nobody else',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    for (const server of ['A', 'B', 'C']) world.expire(server);
    world.settle(1_000);
    world.leave('B');
    world.settle(1_000, () => world.at('B').hasLeft);
    t.is(membersOf(world), 'A1 C1');
  },
);
