/** The schedules L1-L7 of the model's report: stale reads that a careless reading of R8-R10 allows. */
import { withoutMembers } from '../../src/coordination/membership.js';
import { must } from '../support/chain-checks.js';
import {
  configurationOf,
  decide,
  formed,
  hold,
  isolate,
  membersOf,
  pass,
  proposalOf,
  refused,
  scenario,
} from '../support/chain-scenario.js';

const by = { configId: 'test', by: 'test', reason: 'test' };

scenario(
  'L1',
  'a chain of one that gates stops answering when its admission took its place',
  (world, t) => {
    formed(world, 'A');
    world.holdProposals = true;
    world.start('B');
    world.settle(1_000, () => proposalOf(world, 'A') !== undefined);
    const gatedAtMs = world.nowMs;
    world.land(proposalOf(world, 'A')!);
    isolate(world, 'A');
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    decide(world, 'B');
    t.is(membersOf(world), 'B1');
    const early = world.read('A', 0);
    world.flush();
    t.is(early.state, world.nowMs - gatedAtMs < 450 ? 'answered' : 'sent');
    const [write] = world.write('B', 0);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    const late = world.read('A', 0);
    world.settle(3_000);
    t.is(late.state, 'sent', 'A does not answer, it waits for a lease that it cannot get');
    t.false(world.at('A').leaseHolds);
  },
);

scenario(
  'L2',
  'the tail that gates a learner needs its proof too, and so do those above',
  (world, t) => {
    formed(world, 'A', 'B');
    world.holdProposals = true;
    world.start('C');
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    world.land(proposalOf(world, 'B')!);
    world.say('A and B reach each other, but neither C nor the coordinator');
    world.coordinator.cutOff.add('A').add('B');
    world.network.block('A', 'C');
    world.network.block('B', 'C');
    world.settle(1_000, () => proposalOf(world, 'C') !== undefined);
    decide(world, 'C');
    world.settle(1_000, () => proposalOf(world, 'C') !== undefined);
    decide(world, 'C');
    t.is(membersOf(world), 'C1');
    const [write] = world.write('C', 0);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    const reads = [world.read('A', 0), world.read('B', 0)];
    world.settle(2_000);
    t.deepEqual(
      reads.map(({ state }) => state),
      ['sent', 'sent'],
    );
  },
);

scenario('L3', 'a restart does not forget that a removed member may hold a lease', (world, t) => {
  formed(world, 'A', 'B');
  isolate(world, 'B');
  refused(world, 'A', 'B');
  world.settle(50, () => membersOf(world) === 'A1');
  world.crash('A');
  world.start('A');
  world.settle(100, () => membersOf(world) === 'A2');
  const [write] = world.write('A', 0);
  world.flush();
  t.true(world.at('B').leaseHolds);
  t.is(write?.state, 'assigned', 'held');
  const read = world.read('B', 0);
  world.flush();
  t.is(read.state, 'answered', 'and right: the write is not acknowledged');
  t.true(world.settle(1_000, () => write?.state === 'done'));
  t.false(world.at('B').leaseHolds);
});

scenario(
  'L4',
  'who joins after a removal waits as well, should it become head',
  (world, t) => {
    formed(world, 'A', 'B');
    world.say('C has run for long, but has read nothing of the chain that lists A');
    world.coordinator.cutOff.add('C');
    world.start('C');
    world.settle(2_000);
    isolate(world, 'A');
    refused(world, 'B', 'A');
    world.settle(50, () => membersOf(world) === 'B1');
    world.coordinator.cutOff.delete('C');
    world.settle(50, () => membersOf(world) === 'B1 C1');
    world.flush();
    const { member } = world.at('B');
    world.crash('B');
    world.start('B');
    world.at('C').handle({ kind: 'dial-failed', target: member, why: 'replaced' });
    world.settle(50, () => membersOf(world) === 'C1');
    t.is(membersOf(world), 'C1');
    world.flush();
    const [write] = world.write('C', 0);
    world.flush();
    t.true(world.at('A').leaseHolds);
    t.is(write?.state, 'assigned');
    t.true(world.settle(1_000, () => write?.state === 'done'));
    t.false(world.at('A').leaseHolds);
  },
  { replicas: 2 },
);

scenario(
  'L5a',
  'every member holds for the one that was removed, not only the head',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    isolate(world, 'A');
    refused(world, 'B', 'A');
    world.settle(50, () => membersOf(world) === 'B1 C1');
    world.flush();
    const { member } = world.at('B');
    world.crash('B');
    world.at('C').handle({ kind: 'dial-failed', target: member, why: 'replaced' });
    world.settle(50, () => membersOf(world) === 'C1');
    world.flush();
    const [write] = world.write('C', 0);
    world.flush();
    t.true(world.at('A').leaseHolds);
    t.is(write?.state, 'assigned');
    t.true(world.settle(1_000, () => write?.state === 'done'));
    t.false(world.at('A').leaseHolds);
  },
);

scenario('L5b', 'a later adoption does not shorten a hold', (world, t) => {
  formed(world, 'A', 'B', 'C');
  isolate(world, 'A');
  refused(world, 'B', 'A');
  world.settle(50, () => membersOf(world) === 'B1 C1');
  world.settle(100);
  world.leave('C');
  world.settle(100, () => membersOf(world) === 'B1');
  t.is(membersOf(world), 'B1');
  world.flush();
  const [write] = world.write('B', 0);
  world.flush();
  t.true(world.at('A').leaseHolds);
  t.is(write?.state, 'assigned');
  t.true(world.settle(1_000, () => write?.state === 'done'));
  t.false(world.at('A').leaseHolds);
});

scenario(
  'L5c',
  'who skips an epoch holds for those who left between its two configurations',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    isolate(world, 'B');
    world.coordinator.cutOff.add('A');
    world.network.block('A', 'C');
    refused(world, 'C', 'B');
    world.settle(50, () => membersOf(world) === 'A1 C1');
    const { member } = world.at('C');
    world.crash('C');
    world.say('C is taken out as well, before A has read anything');
    world.coordinator.force(withoutMembers(configurationOf(world), [member], by)!);
    world.at('A').handle({ kind: 'dial-failed', target: member, why: 'replaced' });
    world.coordinator.cutOff.delete('A');
    world.flush();
    t.is(membersOf(world), 'A1');
    const [write] = world.write('A', 0);
    world.flush();
    t.true(world.at('B').leaseHolds);
    t.is(write?.state, 'assigned', 'B was missing, though not in the newest step');
    t.true(world.settle(1_000, () => write?.state === 'done'));
    t.false(world.at('B').leaseHolds);
  },
);

scenario(
  'L6',
  'a beat that lay in a socket buffer does not start a lease when it arrives',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    hold(world, 'B', 'C');
    world.settle(300);
    world.coordinator.cutOff.add('C');
    refused(world, 'B', 'C');
    world.settle(100, () => membersOf(world) === 'A1 B1');
    const [write] = world.write('A', 0);
    world.settle(400);
    t.is(write?.state, 'assigned');
    hold(world, 'B', 'C', false);
    world.say('the old beats reach C only now');
    pass(world, 'B', 'C', 5);
    t.false(world.at('C').leaseHolds);
    const read = world.read('C', 0);
    t.true(world.settle(200, () => write?.state === 'done'));
    t.not(read.state, 'answered');
  },
);

scenario(
  'L7a',
  'a leaver does not serve again, whatever became of its compare-and-set',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.holdProposals = true;
    world.leave('B');
    world.flush();
    const proposal = proposalOf(world, 'B')!;
    world.say('the answer is lost, and the request is still under way');
    world.answer(proposal, true);
    world.coordinator.cutOff.add('B');
    world.flush();
    const read = world.read('B', 0);
    world.flush();
    t.is(read.state, 'refused');
    world.land(proposal);
    world.flush();
    const [write] = world.write('A', 0);
    world.flush();
    t.is(write?.state, 'done', 'nobody waits for the leaver');
    t.is(world.read('B', 0).state, 'refused');
    world.coordinator.cutOff.delete('B');
    t.true(world.settle(1_000, () => world.at('B').hasLeft));
  },
);

scenario('L7b', 'a leave excuses only its own epoch: who skipped one holds', (world, t) => {
  formed(world, 'A', 'B', 'C');
  isolate(world, 'B');
  world.coordinator.cutOff.add('A');
  world.network.block('A', 'C');
  refused(world, 'C', 'B');
  world.settle(50, () => membersOf(world) === 'A1 C1');
  world.leave('C');
  world.settle(50, () => membersOf(world) === 'A1');
  world.coordinator.cutOff.delete('A');
  world.flush();
  must(world.at('A').configuration?.epoch === 5, 'A is in the newest epoch');
  const [write] = world.write('A', 0);
  world.flush();
  t.true(world.at('B').leaseHolds);
  t.is(write?.state, 'assigned');
  t.true(world.settle(1_000, () => write?.state === 'done'));
  t.false(world.at('B').leaseHolds);
});
