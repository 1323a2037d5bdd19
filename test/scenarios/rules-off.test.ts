/** The schedules that break a chain when one rule is switched off (REPORT section 3), on the real rules. */
import {
  decide,
  formed,
  hold,
  isolate,
  membersOf,
  pass,
  proposalOf,
  quietly,
  refused,
  scenario,
} from '../support/chain-scenario.js';

scenario(
  'off-R1-keep-one',
  'a server that is no member never writes the next configuration',
  (world, t) => {
    formed(world, 'A');
    world.start('B');
    world.settle(200);
    world.crash('A');
    world.expire('A');
    world.settle(5_000);
    t.is(membersOf(world), 'A1', 'B waits for a member, it does not help itself');
    t.is(world.at('B').replica.role, 'learner');
  },
  { replicas: 1 },
);

scenario(
  'off-R5-last-members',
  'only members of the last configuration revive a cluster',
  (world, t) => {
    formed(world, 'A', 'B');
    world.crash('B');
    world.settle(2_000, () => membersOf(world) === 'A1');
    const [write] = world.write('A', 0);
    world.settle(2_000, () => write?.state === 'done');
    world.crash('A');
    world.expire('A');
    world.say('B was a member once, and lacks the write');
    world.start('B');
    world.settle(10_000);
    t.is(membersOf(world), 'A1');
    world.start('A');
    t.true(world.settle(10_000, () => membersOf(world) === 'A2 B2'));
  },
);

scenario(
  'off-R3-gate',
  'a write that is acked while an admission is under way is on the new member',
  (world, t) => {
    formed(world, 'A', 'B');
    world.start('C');
    world.holdProposals = true;
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    world.network.block('B', 'C');
    const [write] = world.write('A', 0);
    world.settle(50);
    t.is(write?.state, 'assigned', 'B has it, and does not ack it without C');
    world.network.unblock();
    world.flush();
    t.is(write?.state, 'done');
    decide(world, 'B');
    t.is(membersOf(world), 'A1 B1 C1');
  },
);

scenario('off-R6', 'an append of an older epoch that arrives late is not logged', (world, t) => {
  formed(world, 'A', 'B');
  hold(world, 'A', 'B');
  world.slowDisks.add('A');
  const [old] = world.write('A', 0);
  world.flush();
  world.say('w is on its way to B, and not yet on the disk of A');
  world.crash('A');
  world.slowDisks.clear();
  world.coordinator.cutOff.add('B');
  world.start('A');
  world.expire('B');
  t.true(world.settle(5_000, () => membersOf(world) === 'A2'));
  world.settle(600);
  const [write] = world.write('A', 1);
  t.true(world.settle(2_000, () => write?.state === 'done'));
  world.coordinator.cutOff.clear();
  world.coordinator.register({ ...world.at('B').member, state: 'member' });
  world.coordinator.chainWatches.add('B1');
  world.flush();
  t.is(world.at('B').replica.role, 'learner');
  hold(world, 'A', 'B', false);
  world.say('the old append arrives');
  t.true(world.settle(2_000, () => membersOf(world) === 'A2 B1'));
  t.is(old?.state, 'assigned');
  t.is(world.verify('A', old!), 'never');
});

scenario('off-R11', 'a restart never gives an op id again', (world, t) => {
  formed(world, 'A');
  world.slowDisks.add('A');
  const [before] = world.write('A', 0);
  world.crash('A');
  world.slowDisks.clear();
  world.start('A');
  world.settle(2_000, () => world.at('A').replica.role === 'single');
  const [after] = world.write('A', 1);
  t.true(world.settle(2_000, () => after?.state === 'done'));
  t.not(before?.id?.epoch, after?.id?.epoch);
  t.is(world.verify('A', before!), 'never');
});

scenario('off-R9', 'nothing is committed while a removed member may answer reads', (world, t) => {
  formed(world, 'A', 'B');
  isolate(world, 'B');
  refused(world, 'A', 'B');
  world.settle(50, () => membersOf(world) === 'A1');
  world.flush();
  const [write] = world.write('A', 0);
  for (; world.at('B').leaseHolds; world.advance(10)) {
    world.flush();
    t.is(write?.state, 'assigned');
  }
  t.true(world.settle(200, () => write?.state === 'done'));
});

scenario(
  'off-persisted-epoch',
  'a restarted learner does not go back to an older epoch',
  (world, t) => {
    formed(world, 'A', 'B');
    world.say('C learns from B in the newest epoch, its admission is under way');
    world.holdProposals = true;
    quietly(world, () => {
      world.start('C');
      world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    });
    const { epoch } = world.at('C').disk.lastKnown!;
    world.crash('C');
    const again = world.start('C');
    world.coordinator.chainWatches.clear();
    world.tellChain(again, 1);
    again.persist();
    t.is(again.configuration, undefined, 'it does not adopt what is older than its disk');
    t.is(again.dialTarget, undefined);
    world.land(proposalOf(world, 'B')!);
    world.holdProposals = false;
    world.settle(5_000, () => membersOf(world) === 'A1 B1 C2');
    t.is(membersOf(world), 'A1 B1 C2');
    t.true(again.configuration!.epoch > epoch);
  },
);

scenario('off-ack-by-number', 'an ack of another connection is not counted', (world, t) => {
  formed(world, 'A', 'B');
  hold(world, 'A', 'B');
  const [write] = world.write('A', 0);
  world.flush();
  t.is(write?.state, 'assigned');
  hold(world, 'A', 'B', false);
  pass(world, 'A', 'B');
  world.at('B').sync();
  hold(world, 'A', 'B');
  world.say('the ack is under way on a connection that is replaced');
  world.breakLinks('A', 'B');
  world.flush();
  t.is(write?.state, 'assigned');
  t.true(
    world.settle(200, () => write?.state === 'done'),
    'the new one settles and acks anew',
  );
});
