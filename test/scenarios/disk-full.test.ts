/** A member whose disk takes nothing more (FAULTS D4, R10): it leaves without it, and nothing is lost by that. */
import type { ExecutionContext } from 'ava';
import { fenced } from '../../src/coordination/membership.js';
import type { ChainWorld } from '../support/chain.js';
import {
  configurationOf,
  decide,
  formed,
  isChain,
  membersOf,
  proposalOf,
  quietly,
  refused,
  scenario,
} from '../support/chain-scenario.js';

/** A write at `head` is done without any time passing: nobody waits for the leases of who left. */
function nobodyHolds(world: ChainWorld, t: ExecutionContext, head: string): void {
  const [write] = world.write(head, 1);
  const startMs = world.nowMs;
  world.flush();
  t.is(write?.state, 'done', 'no hold');
  t.is(world.nowMs, startMs);
}

for (const leaver of ['A', 'B', 'C']) {
  scenario(
    `full-${leaver}`,
    `D4: the disk of ${leaver} in A B C is full with a write under way: it leaves, nobody waits, the write stays`,
    (world, t) => {
      formed(world, 'A', 'B', 'C');
      world.slowDisks.add(leaver);
      const [write] = world.write('A', 1);
      quietly(world, () => world.flush());
      t.is(write?.state, 'assigned', `not without the disk of ${leaver}`);
      const { lastKnown } = world.at(leaver).disk;
      world.fillDisk(leaver);
      t.is(write?.state, leaver === 'A' ? 'unknown' : 'assigned', 'given up by who cannot tell');
      t.true(world.settle(200, () => world.at(leaver).hasLeft));
      t.deepEqual(configurationOf(world).left, [world.at(leaver).member]);
      t.is(world.at(leaver).disk.lastKnown, lastKnown, 'nothing went to the full disk');
      const head = leaver === 'A' ? 'B' : 'A';
      nobodyHolds(world, t, head);
      t.is(world.verify(head, write!), 'executed');
      world.crash(leaver);
      world.slowDisks.clear();
      world.say('there is room again');
      world.start(leaver);
      t.true(world.settle(3_000, () => configurationOf(world).members.length === 3));
      t.is(configurationOf(world).members[2]?.serverId, leaver);
      t.true(
        world.settle(1_000, () => world.at(leaver).lastApplied === world.at(head).lastApplied),
      );
    },
  );
}

scenario(
  'full-durable',
  'D4: what the full disk took before is still acked and answered; only then the head leaves',
  (world, t) => {
    formed(world, 'A', 'B');
    world.slowDisks.add('B');
    const [whole] = world.write('A', 1);
    world.at('A').sync();
    const [lost] = world.write('A', 2);
    world.fillDisk('A');
    world.flush();
    t.is(whole?.state, 'assigned');
    t.is(lost?.state, 'unknown');
    world.settle(100);
    t.is(membersOf(world), 'A1 B1', 'it waits for the ack of B');
    world.slowDisks.clear();
    t.true(world.settle(100, () => world.at('A').hasLeft));
    t.is(whole?.state, 'done');
    nobodyHolds(world, t, 'B');
  },
);

scenario(
  'full-refuses',
  'D4: with a full disk nothing is acknowledged or read, also before /chain has changed',
  (world, t) => {
    formed(world, 'A', 'B');
    world.coordinator.away = true;
    world.fillDisk('A');
    const [write] = world.write('A', 1);
    const read = world.read('A', 0);
    world.settle(1_000);
    t.is(write?.state, 'refused');
    t.is(read.state, 'refused');
    t.false(world.at('A').hasLeft, 'it does not know');
    world.say('ZooKeeper is back');
    world.coordinator.away = false;
    t.true(world.settle(1_000, () => world.at('A').hasLeft));
    nobodyHolds(world, t, 'B');
  },
);

scenario('full-alone', 'D4: alone there is nothing to leave: it stops', (world, t) => {
  formed(world, 'A');
  world.slowDisks.add('A');
  const [write] = world.write('A', 1);
  world.fillDisk('A');
  t.true(world.at('A').hasLeft);
  t.is(write?.state, 'unknown');
  t.is(membersOf(world), 'A1', 'it stays the one that has everything');
  world.crash('A');
  world.slowDisks.clear();
  world.start('A');
  t.true(world.settle(3_000, () => isChain(world, 'A')));
  t.true(world.settle(1_000, () => world.verify('A', write!) === 'never'));
});

scenario(
  'full-adopting',
  'D4: a configuration does not get on the full disk: the leave follows from the one in /chain',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.slowDisks.add('B');
    world.crash('C');
    quietly(world, () => world.settle(300, () => membersOf(world) === 'A1 B1'));
    world.flush();
    t.not(world.at('B').disk.persisting, undefined);
    world.fillDisk('B');
    t.true(world.settle(500, () => world.at('B').hasLeft));
    t.is(membersOf(world), 'A1');
    t.is(world.at('B').replica.configuration?.epoch, 3, 'never adopted');
    const [write] = world.write('A', 1);
    t.true(world.settle(1_000, () => write?.state === 'done'));
  },
);

scenario(
  'full-in-doubt',
  'D4, R10: the answer to the leave is lost, it lands late: never served again, nobody waits',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.holdProposals = true;
    world.fillDisk('B');
    world.flush();
    const proposal = proposalOf(world, 'B')!;
    world.answer(proposal, true);
    world.coordinator.cutOff.add('B');
    world.flush();
    t.is(world.read('B', 0).state, 'refused');
    world.land(proposal);
    world.flush();
    nobodyHolds(world, t, 'A');
    t.is(world.read('B', 0).state, 'refused');
    t.false(world.at('B').hasLeft);
    world.coordinator.cutOff.delete('B');
    t.true(world.settle(1_000, () => world.at('B').hasLeft));
  },
);

scenario(
  'full-conflict',
  'D4: another change comes first: the leave is asked for again, on what /chain shows now',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.holdProposals = true;
    refused(world, 'A', 'B');
    world.crash('B');
    world.settle(50, () => proposalOf(world, 'A') !== undefined);
    world.fillDisk('C');
    world.flush();
    decide(world, 'A');
    decide(world, 'C');
    world.holdProposals = false;
    t.true(world.settle(1_000, () => world.at('C').hasLeft));
    t.is(membersOf(world), 'A1');
    t.deepEqual(configurationOf(world).left, [world.at('C').member]);
    const [write] = world.write('A', 1);
    t.true(
      world.settle(1_000, () => write?.state === 'done'),
      'after the hold for B',
    );
  },
);

scenario(
  'full-two',
  'D4: head and middle are full at once: the tail goes on alone, with all that was acknowledged',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    const [before] = world.write('A', 1);
    world.flush();
    world.slowDisks.add('A').add('B');
    const [open] = world.write('A', 2);
    world.fillDisk('A');
    world.fillDisk('B');
    t.true(world.settle(2_000, () => world.at('A').hasLeft && world.at('B').hasLeft));
    t.is(membersOf(world), 'C1');
    t.true(world.settle(1_000, () => isChain(world, 'C')));
    t.is(world.verify('C', before!), 'executed');
    t.is(open?.state, 'unknown');
    for (const server of ['A', 'B']) world.crash(server);
    world.slowDisks.clear();
    for (const server of ['A', 'B']) world.start(server);
    t.true(world.settle(5_000, () => configurationOf(world).members.length === 3));
  },
);

scenario(
  'full-dead-neighbour',
  'D4: the chain is not left to a member that is dead: with both listed, either may revive it',
  (world, t) => {
    formed(world, 'A', 'B');
    world.coordinator.away = true;
    world.crash('B');
    world.settle(600);
    const [write] = world.write('A', 1);
    world.fillDisk('A');
    t.true(world.at('A').hasLeft);
    t.is(write?.state, 'unknown');
    world.coordinator.away = false;
    t.is(membersOf(world), 'A1 B1');
    world.crash('A');
    world.say('B is back first');
    world.expire('A');
    world.start('B');
    t.true(world.settle(5_000, () => isChain(world, 'B')));
  },
);

scenario(
  'full-later-epoch',
  'D4: the others have gone on to an epoch that the full one cannot adopt: they are not silent for that',
  (world, t) => {
    formed(world, 'A', 'B');
    world.coordinator.cutOff.add('B');
    world.fillDisk('B');
    world.coordinator.force(
      fenced(configurationOf(world), { configId: 'later', by: 'test', reason: 'test' }),
    );
    world.flush();
    t.is(world.at('A').configuration?.epoch, 3);
    world.coordinator.cutOff.add('A');
    world.settle(600);
    t.false(world.at('B').hasLeft, 'A is heard, though in another epoch');
    world.coordinator.cutOff.delete('B');
    t.true(world.settle(500, () => world.at('B').hasLeft));
    t.is(membersOf(world), 'A1', 'left to A, which lives');
    t.deepEqual(configurationOf(world).left, [world.at('B').member]);
  },
);

scenario('full-learner', 'D4: a learner just goes', (world, t) => {
  formed(world, 'A');
  world.coordinator.cutOff.add('B');
  world.start('B');
  world.settle(100);
  world.fillDisk('B');
  t.true(world.at('B').hasLeft, 'it knows of no configuration at all');
  world.crash('B');
  world.coordinator.cutOff.clear();
  world.holdProposals = true;
  world.start('B');
  world.settle(1_000, () => proposalOf(world, 'A') !== undefined);
  world.fillDisk('B');
  t.true(world.at('B').hasLeft, 'the one that it knows does not list it');
});

scenario(
  'full-admitted',
  'D4: admitted at the moment when its disk is full: it leaves in order, without having been a member',
  (world, t) => {
    formed(world, 'A');
    world.holdProposals = true;
    world.start('B');
    world.settle(1_000, () => proposalOf(world, 'A') !== undefined);
    world.slowDisks.add('B');
    decide(world, 'A');
    t.is(membersOf(world), 'A1 B1');
    world.fillDisk('B');
    world.holdProposals = false;
    t.true(world.settle(500, () => world.at('B').hasLeft));
    t.is(membersOf(world), 'A1');
    t.is(world.at('B').replica.role, 'learner');
    t.true(world.settle(1_000, () => isChain(world, 'A')));
    const [write] = world.write('A', 1);
    t.true(world.settle(1_000, () => write?.state === 'done'));
  },
);
