/** The schedules T1-T8 of the model's report: acknowledged writes that a careless reading of R3-R7 loses. */
import {
  configurationOf,
  decide,
  formed,
  hold,
  membersOf,
  proposalOf,
  quietly,
  refused,
  scenario,
} from '../support/chain-scenario.js';

scenario(
  'T1',
  'an old read of /chain does not open a gate: the admission lands late',
  (world, t) => {
    formed(world, 'A', 'B');
    world.holdProposals = true;
    world.start('C');
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    const late = proposalOf(world, 'B')!;
    world.say('the request is under way, its answer will never come; C does not answer either');
    world.network.block('B', 'C');
    world.answer(late, true);
    world.flush();
    const [write] = world.write('A', 0);
    world.settle(200);
    t.is(write?.state, 'assigned', 'B has read the old epoch, and still proves nothing without C');
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    world.land(late);
    decide(world, 'B');
    t.is(membersOf(world), 'A1 B1 C1');
    world.holdProposals = false;
    world.network.unblock();
    t.true(world.settle(3_000, () => write?.state === 'done'));
  },
);

scenario(
  'T2',
  'a learner must have the whole log of the tail, whatever epoch acked it',
  (world, t) => {
    formed(world, 'A', 'B');
    refused(world, 'A', 'B');
    world.crash('B');
    world.settle(1_000, () => world.at('A').replica.role === 'single');
    world.slowDisks.add('C');
    world.start('C');
    world.flush();
    world.at('C').persist();
    world.settle(300);
    t.is(world.at('A').replica.status(world.at('A').now).learners[0]?.state, 'gated');
    t.is(membersOf(world), 'A1', 'C has acked nothing yet');
    world.at('C').sync(2);
    world.settle(50);
    t.is(membersOf(world), 'A1', 'C has acked a part only');
    world.slowDisks.delete('C');
    world.settle(100, () => membersOf(world) === 'A1 C1');
    t.is(membersOf(world), 'A1 C1');
  },
);

scenario(
  'T3',
  'a successor that is ahead after a power cut is cut, and nothing stands still',
  (world, t) => {
    formed(world, 'A', 'B');
    world.slowDisks.add('A');
    const [lost] = world.write('A', 0);
    world.flush();
    t.is(lost?.state, 'assigned');
    world.crash('A');
    world.crash('B');
    world.slowDisks.clear();
    world.start('A');
    world.start('B');
    t.true(world.settle(5_000, () => membersOf(world) === 'A2 B2'));
    world.flush();
    const [write] = world.write('A', 1);
    t.true(world.settle(1_000, () => write?.state === 'done'));
    t.is(world.verify('A', lost!), 'never');
  },
);

scenario(
  'T4',
  'after a full outage Hello goes strictly down: nobody passes on what will be cut',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.slowDisks.add('A');
    world.write('A', 0);
    world.flush();
    for (const server of ['A', 'B', 'C']) world.crash(server);
    world.slowDisks.clear();
    world.network.block('A', 'B');
    for (const server of ['A', 'B', 'C']) world.start(server);
    world.settle(100, () => membersOf(world) === 'A2 B2 C2');
    world.settle(200);
    world.say('C has a connection from B, and was asked nothing yet');
    t.false(world.lines.some((line) => line.includes('B2 says hello')));
    world.network.unblock();
    t.true(world.settle(200, () => world.at('C').leaseHolds));
    t.true(world.lines.some((line) => line.includes('C2 tail: B2 says settle')));
    t.is(world.at('C').disk.text, world.at('A').disk.text);
  },
);

scenario(
  'T5',
  'a learner whose stream breaks keeps its log, and asks once a connection',
  (world, t) => {
    formed(world, 'A');
    world.holdProposals = true;
    world.start('B');
    world.settle(100, () => proposalOf(world, 'A') !== undefined);
    world.answer(proposalOf(world, 'A')!, true);
    world.say('the acks of the first stream stay under way');
    hold(world, 'A', 'B');
    const [write] = world.write('A', 0);
    world.settle(50);
    world.breakLinks('A', 'B');
    world.settle(100);
    t.false(world.lines.some((line) => line.includes('cut after')));
    t.is(world.lines.filter((line) => line.includes('B1: catch-up')).length, 2);
    t.true(
      world.settle(1_000, () => write?.state === 'done'),
      'its acks count again',
    );
  },
);

scenario('T6', 'verify says never only of what was committed otherwise', (world, t) => {
  formed(world, 'A', 'B');
  world.network.block('A', 'B');
  world.crash('B');
  world.settle(1_000, () => world.at('A').replica.role === 'single');
  const [write] = world.write('A', 0);
  world.settle(30);
  t.is(write?.state, 'assigned', 'A holds');
  const { replica } = world.at('A');
  const { id } = write!;
  t.is(replica.verify(id!.epoch, id!.seq), 'pending');
  t.is(replica.verify(id!.epoch - 1, id!.seq), 'pending', 'its own entry is not committed yet');
  t.is(replica.verify(id!.epoch + 1, id!.seq), 'unknown');
  t.true(world.settle(1_000, () => write?.state === 'done'));
  t.is(replica.verify(id!.epoch - 1, id!.seq), 'never');
  t.is(replica.verify(id!.epoch, id!.seq), 'executed');
});

scenario(
  'T7',
  'ZooKeeper restored from a backup: one epoch with two configurations halts',
  (world, t) => {
    formed(world, 'A', 'B');
    const backup = configurationOf(world);
    world.network.block('A', 'B');
    world.coordinator.cutOff.add('B');
    refused(world, 'A', 'B');
    world.settle(2_000, () => world.at('A').replica.role === 'single');
    const [write] = world.write('A', 0);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    world.say('ZooKeeper goes back to a backup; B, which knows no better, takes A out');
    world.coordinator.cutOff.add('A');
    world.coordinator.cutOff.delete('B');
    quietly(world, () => {
      // The check that members have all writes is about /chain as it really was: it cannot hold here.
      world.check = () => undefined;
    });
    world.coordinator.force(backup);
    world.mayHalt.add('A');
    world.settle(1_000, () => membersOf(world) === 'B1');
    t.is(world.at('A').configuration?.epoch, configurationOf(world).epoch);
    world.coordinator.cutOff.clear();
    world.settle(1_000, () => world.at('A').haltedBy !== undefined);
    t.regex(world.at('A').haltedBy ?? '', /ZooKeeper went back/);
  },
);

scenario(
  'T8',
  'a server that lost its log does not keep its name, so it cannot lead',
  (world, t) => {
    formed(world, 'A', 'B');
    world.crash('A');
    world.expire('A');
    world.crash('B');
    world.say('the disk of A is gone: what starts there is another server, E');
    world.start('E');
    world.settle(5_000);
    t.is(membersOf(world), 'A1 B1');
    t.is(world.at('E').replica.role, 'learner');
    world.start('B');
    t.true(world.settle(10_000, () => membersOf(world) === 'B2 E1'));
  },
);
