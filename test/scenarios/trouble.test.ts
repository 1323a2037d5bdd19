/** Trouble of all kinds, and the bugs that the random walk and reading found, each as a schedule. */
import {
  configurationOf,
  decide,
  formed,
  hold,
  isChain,
  isolate,
  membersOf,
  proposalOf,
  quietly,
  refused,
  scenario,
} from '../support/chain-scenario.js';

for (const lands of [true, false]) {
  const name = `trouble-admission-${lands ? 'lands' : 'is-lost'}`;
  scenario(
    name,
    `the answer to an admission is lost; it ${lands ? 'landed' : 'never arrived'}`,
    (world, t) => {
      formed(world, 'A', 'B');
      world.holdProposals = true;
      world.start('C');
      world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
      const proposal = proposalOf(world, 'B')!;
      if (lands) world.land(proposal);
      world.answer(proposal, true);
      if (!lands) world.coordinator.lose(proposal);
      world.crash('C');
      world.settle(
        1_000,
        () => proposalOf(world, 'B') !== undefined || membersOf(world) === 'A1 B1 C1',
      );
      world.holdProposals = false;
      t.true(
        world.settle(3_000, () => isChain(world, 'A', 'B')),
        'C, which died, is out',
      );
      const [write] = world.write('A', 0);
      t.true(world.settle(1_000, () => write?.state === 'done'));
      const kinds = world.lines.join('\n');
      t.is(kinds.includes('fence done'), !lands);
    },
  );
}

scenario(
  'trouble-suspended',
  'a machine that was suspended does not answer from before its sleep',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.at('C').stop(true);
    t.true(world.settle(3_000, () => membersOf(world) === 'A1 B1'));
    const [write] = world.write('A', 0);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    world.at('C').goOn();
    t.false(world.at('C').leaseHolds, 'its monotonic clock stood still, the wall clock did not');
    const read = world.read('C', 0);
    world.at('C').handle({ kind: 'tick' });
    t.not(read.state, 'answered');
    t.true(world.settle(5_000, () => isChain(world, 'A', 'B', 'C')));
  },
);

for (const victim of ['A', 'B', 'C']) {
  scenario(`trouble-stopped-${victim}`, `SIGSTOP of ${victim} across its removal`, (world, t) => {
    formed(world, 'A', 'B', 'C');
    world.at(victim).stop();
    t.true(world.settle(3_000, () => membersOf(world).split(' ').length === 2));
    const head = configurationOf(world).members[0]?.serverId as string;
    const [write] = world.write(head, 0);
    t.true(world.settle(2_000, () => write?.state === 'done'));
    world.at(victim).goOn();
    world.at(victim).handle({ kind: 'tick' });
    t.is(proposalOf(world, victim), undefined, 'what it did not hear while it slept is no silence');
    t.true(world.settle(5_000, () => membersOf(world).split(' ').length === 3));
    t.is(membersOf(world).split(' ')[2], `${victim}1`, 'the same process, as the new tail');
  });
}

scenario(
  'trouble-mutual-eviction',
  'two members remove each other: the first compare-and-set wins',
  (world, t) => {
    formed(world, 'A', 'B');
    world.holdProposals = true;
    refused(world, 'A', 'B');
    refused(world, 'B', 'A');
    world.settle(
      50,
      () => proposalOf(world, 'A') !== undefined && proposalOf(world, 'B') !== undefined,
    );
    decide(world, 'B');
    decide(world, 'A');
    world.holdProposals = false;
    t.true(world.settle(3_000, () => isChain(world, 'B', 'A')));
  },
);

scenario(
  'trouble-two-dead',
  'two of four die at once',
  (world, t) => {
    formed(world, 'A', 'B', 'C', 'D');
    world.crash('B');
    world.crash('C');
    t.true(world.settle(2_000, () => isChain(world, 'A', 'D')));
  },
  { replicas: 4 },
);

scenario('trouble-only-tail-left', 'head and middle die at once', (world, t) => {
  formed(world, 'A', 'B', 'C');
  world.crash('A');
  world.crash('B');
  t.true(world.settle(3_000, () => isChain(world, 'C')));
});

scenario(
  'trouble-reconnect',
  'a connection breaks inside an epoch: what is missing is sent again',
  (world, t) => {
    formed(world, 'A', 'B', 'C');
    const { epoch } = configurationOf(world);
    hold(world, 'A', 'B');
    const [write] = world.write('A', 0);
    world.flush();
    world.breakLinks('A', 'B');
    t.true(world.settle(200, () => write?.state === 'done'));
    t.is(configurationOf(world).epoch, epoch);
  },
);

scenario(
  'trouble-duplicate-hello',
  'a second Hello on one connection is answered, and changes nothing',
  (world, t) => {
    formed(world, 'A', 'B');
    world.breakLinks('A', 'B');
    world.settle(20, () => world.network.connections.length > 0);
    hold(world, 'A', 'B');
    for (let round = 0; round < 12; round++) world.advance(10);
    hold(world, 'A', 'B', false);
    const [write] = world.write('A', 0);
    t.true(world.settle(200, () => write?.state === 'done'));
    t.true(isChain(world, 'A', 'B'));
  },
);

scenario(
  'trouble-late-hello',
  'a Hello of an old connection after that of the new one',
  (world, t) => {
    formed(world, 'A', 'B');
    world.say('the new connection of A is up first; an old one follows, and says Hello late');
    const [link] = world.network.connections;
    const { configId, epoch } = configurationOf(world);
    const peer = world.at('A').member;
    const b = world.at('B');
    b.handle({ kind: 'link-up', link: 9_001, peer, dialed: false });
    b.handle({
      kind: 'message',
      link: 9_001,
      message: { epoch, configId, body: { kind: 'hello' } },
    });
    b.handle({ kind: 'link-down', link: 9_001 });
    t.true(link!.acceptor.open);
    const [write] = world.write('A', 0);
    t.true(
      world.settle(500, () => write?.state === 'done'),
      'B drops the connection that has no place, A dials anew',
    );
    t.true(isChain(world, 'A', 'B'));
  },
);

scenario('trouble-new-tail', 'a new tail suspects its predecessor at once', (world, t) => {
  formed(world, 'A');
  world.start('B');
  world.settle(2_000, () => isChain(world, 'A', 'B'));
  world.crash('A');
  t.true(world.settle(1_500, () => isChain(world, 'B')));
});

scenario(
  'trouble-old-registry',
  'an old registry read is no proof that a member restarted',
  (world, t) => {
    formed(world, 'A', 'B');
    const { member } = world.at('B');
    world.at('A').handle({
      kind: 'servers',
      servers: [{ ...member, incarnation: 'B0', state: 'member' }],
    });
    world.settle(2_000);
    t.is(membersOf(world), 'A1 B1', 'the lease shows that B is there');
    isolate(world, 'B');
    refused(world, 'A', 'B');
    world.settle(50, () => membersOf(world) === 'A1');
    const [write] = world.write('A', 0);
    world.flush();
    t.is(write?.state, 'assigned', 'and its lease is waited for');
  },
);

scenario(
  'trouble-twice-listed',
  'an incarnation is not admitted while an earlier one is listed',
  (world, t) => {
    formed(world, 'A', 'B');
    quietly(world, () => {
      world.crash('A');
      world.coordinator.cutOff.add('B');
      world.start('A');
      world.network.block('A', 'B');
      world.flush();
      world.network.unblock();
    });
    world.coordinator.cutOff.clear();
    t.true(world.settle(5_000, () => isChain(world, 'B', 'A')));
  },
);

scenario(
  'trouble-gated-learner-hangs',
  'ZooKeeper is away and the gated learner hangs: the gate opens',
  (world, t) => {
    formed(world, 'A', 'B');
    world.start('C');
    world.coordinator.cutOff.add('B');
    world.settle(300);
    world.at('C').stop();
    const [write] = world.write('A', 0);
    t.true(world.settle(1_000, () => write?.state === 'done'));
    t.is(membersOf(world), 'A1 B1');
  },
);

scenario(
  'trouble-gated-learner-reconnects',
  'the learner of a gate that may not open reconnects',
  (world, t) => {
    formed(world, 'A', 'B');
    world.holdProposals = true;
    world.start('C');
    world.settle(1_000, () => proposalOf(world, 'B') !== undefined);
    world.answer(proposalOf(world, 'B')!, true);
    world.coordinator.away = true;
    world.breakLinks('B', 'C');
    const [write] = world.write('A', 0);
    t.true(
      world.settle(1_000, () => write?.state === 'done'),
      'with its acks on the new connection',
    );
    world.settle(600);
    t.true(['A', 'B'].every((server) => world.at(server).leaseHolds));
  },
);

scenario(
  'trouble-early-ack',
  'the ack of a snapshot comes before the news that it was sent',
  (world, t) => {
    formed(world, 'A');
    const head = world.at('A');
    head.disk.compact(head.table, head.replica.status(head.now).commitSeq);
    world.start('B');
    quietly(world, () => world.flush());
    t.true(world.settle(2_000, () => isChain(world, 'A', 'B')));
  },
);

scenario(
  'trouble-leave-in-doubt',
  'alone, leaving, and an admission in doubt: decided first',
  (world, t) => {
    formed(world, 'A');
    world.holdProposals = true;
    world.start('B');
    world.settle(1_000, () => proposalOf(world, 'A') !== undefined);
    const proposal = proposalOf(world, 'A')!;
    world.answer(proposal, true);
    world.coordinator.lose(proposal);
    world.crash('B');
    world.leave('A');
    world.holdProposals = false;
    t.true(world.settle(2_000, () => world.at('A').hasLeft));
  },
);

scenario(
  'trouble-create-unknown',
  'the answer to the creation of /chain is lost, or ZooKeeper is away',
  (world, t) => {
    world.coordinator.away = true;
    world.start('A');
    world.at('A').handle({ kind: 'chain', reading: { kind: 'absent' } });
    world.tellServers(world.at('A'));
    world.settle(1_000);
    world.coordinator.away = false;
    world.coordinator.chainWatches.clear();
    world.holdProposals = true;
    t.true(
      world.settle(1_000, () => proposalOf(world, 'A') !== undefined),
      'it asks again by itself',
    );
    const proposal = proposalOf(world, 'A')!;
    world.land(proposal);
    world.answer(proposal, true);
    world.holdProposals = false;
    t.true(world.settle(2_000, () => isChain(world, 'A')));
  },
);

scenario(
  'trouble-stale-start',
  'a start waits before it refuses a /chain that is missing',
  (world, t) => {
    formed(world, 'A');
    world.crash('A');
    const again = world.start('A');
    world.coordinator.chainWatches.clear();
    again.handle({ kind: 'chain', reading: { kind: 'absent' } });
    t.is(again.haltedBy, undefined);
    t.true(world.settle(3_000, () => isChain(world, 'A')));
  },
);

scenario('trouble-no-chain', 'data but no /chain: refused, with the way out', (world, t) => {
  formed(world, 'A');
  world.crash('A');
  world.mayHalt.add('A');
  const again = world.start('A');
  for (let ms = 0; ms < 6_000; ms += 100) {
    again.handle({ kind: 'chain', reading: { kind: 'absent' } });
    world.advance(100);
  }
  t.regex(again.haltedBy ?? '', /no \/chain.*kv-server recover/);
});

scenario(
  'trouble-gate-never-sent',
  'the learner goes while its admission is out, which then was never sent: the gate opens',
  (world, t) => {
    formed(world, 'A');
    world.holdProposals = true;
    world.start('B');
    world.settle(1_000, () => proposalOf(world, 'A') !== undefined);
    world.crash('B');
    world.flush();
    world.coordinator.lose(proposalOf(world, 'A')!);
    world.coordinator.cutOff.add('A');
    world.at('A').handle({ kind: 'proposed', outcome: 'unavailable' });
    world.settle(300);
    const [write] = world.write('A', 0);
    t.true(world.settle(300, () => write?.state === 'done'));
    const read = world.read('A', 0);
    world.settle(600);
    t.is(read.state, 'answered');
  },
);
