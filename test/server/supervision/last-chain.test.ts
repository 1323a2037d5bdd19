/** Whether others of the last chain live, as coordination shows it to a server with damaged data (FAULTS D3). */
import test from 'ava';
import {
  type Configuration,
  formatConfiguration,
  type Member,
} from '../../../src/coordination/configuration.js';
import { MemoryCoordination } from '../../../src/coordination/memory.js';
import { type Itself, lastChain } from '../../../src/server/supervision/last-chain.js';

const memberOf = (name: string): Member => ({
  serverId: name,
  incarnation: `${name}1`,
  address: `${name}:1`,
});

function chainOf(...names: string[]): string {
  const configuration: Configuration = {
    clusterId: 'cluster',
    generation: 1,
    epoch: 3,
    configId: 'x',
    members: names.map(memberOf),
    left: [],
    change: { kind: 'removal', reason: 'r', by: 'b' },
    restartEpoch: 0,
  };
  return formatConfiguration(configuration);
}

async function turns(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** A server at a:1 asks; nobody is waited for any longer when `giveUp` is called. */
function ask(itself: Partial<Itself> = {}, chain: string | undefined = chainOf('a', 'b', 'c')) {
  const coordination = new MemoryCoordination();
  if (chain !== undefined) coordination.overwriteChain(chain);
  let giveUp!: () => void;
  const timeout = new Promise<void>((resolve) => {
    giveUp = resolve;
  });
  const answer = lastChain({
    coordinator: coordination.coordinator(),
    itself: { address: 'a:1', ...itself },
    timeout,
  });
  let isAnswered = false;
  void answer.then(() => {
    isAnswered = true;
  });
  /** Another server comes, maybe as another process than the one that is listed. */
  const come = (member: Member, state: 'learner' | 'member' | 'leaving' = 'learner'): void => {
    const other = coordination.coordinator();
    other.start({ onChain: () => {}, onServers: () => {}, onSession: () => {} });
    other.announce({ ...member, state });
  };
  const isWaiting = async (): Promise<boolean> => {
    await turns();
    return !isAnswered;
  };
  return { coordination, answer, come, giveUp, isWaiting };
}

test('a member that is there is enough, also as another process than the one listed', async (t) => {
  const { answer, come, isWaiting } = ask({ serverId: 'a' });
  t.true(await isWaiting(), 'nobody is there yet: in a full outage all come at once');
  come({ ...memberOf('c'), incarnation: 'c2' });
  t.deepEqual((await answer).others, ['c:1']);
});

test('at the timeout the answer is no, and names whom it waited for', async (t) => {
  const { answer, giveUp, isWaiting } = ask({ serverId: 'a' });
  t.true(await isWaiting());
  giveUp();
  const { others, reason } = await answer;
  t.deepEqual(others, []);
  t.regex(reason, /b:1, c:1.*none is there/);
});

test('this server itself never counts: by name, and by address when its name is lost', async (t) => {
  for (const [itself, own] of [
    [{ serverId: 'a', address: 'elsewhere:1' }, memberOf('a')],
    [{}, { ...memberOf('a'), incarnation: 'a0' }],
  ] as const) {
    const { answer, come, giveUp, isWaiting } = ask(itself);
    come(own);
    t.true(await isWaiting(), 'what is left of its last process is no other');
    giveUp();
    t.deepEqual((await answer).others, []);
  }
});

test('neither a learner that was no member, nor one that leaves', async (t) => {
  const { answer, come, giveUp, isWaiting } = ask();
  come(memberOf('d'));
  come(memberOf('b'), 'leaving');
  t.true(await isWaiting());
  giveUp();
  t.deepEqual((await answer).others, []);
});

test('the only member: no at once, whoever else is there', async (t) => {
  const { answer, come } = ask({ serverId: 'a' }, chainOf('a'));
  come(memberOf('b'));
  const { others, reason } = await answer;
  t.deepEqual(others, []);
  t.regex(reason, /only member/);
});

test("another cluster's chain says nothing about this data", async (t) => {
  const { answer, come } = ask({ clusterId: 'other' });
  come(memberOf('b'));
  const { others, reason } = await answer;
  t.deepEqual(others, []);
  t.regex(reason, /belongs to cluster cluster, this data to other/);
});

for (const [what, chain, reason] of [
  ['no /chain', undefined, /no \/chain/],
  ['garbage in /chain', 'garbage', /cannot be read/],
] as const) {
  test(`${what}: nobody is known; a chain that comes meanwhile counts`, async (t) => {
    const first = ask({}, chain);
    if (chain === undefined) first.coordination.deleteChain();
    first.come(memberOf('b'));
    t.true(await first.isWaiting());
    first.giveUp();
    const found = await first.answer;
    t.deepEqual(found.others, []);
    t.regex(found.reason, reason);

    const second = ask({}, chain);
    if (chain === undefined) second.coordination.deleteChain();
    second.come(memberOf('b'));
    t.true(await second.isWaiting());
    second.coordination.overwriteChain(chainOf('a', 'b'));
    t.deepEqual((await second.answer).others, ['b:1']);
  });
}

test('coordination that is away: no, with that reason', async (t) => {
  const { coordination, answer, giveUp, isWaiting } = ask();
  coordination.stop();
  t.true(await isWaiting());
  giveUp();
  t.regex((await answer).reason, /does not answer/);
});
