/** `statuses`: everybody who is known is asked, also those whom an answer names; and nobody holds up the rest. */
import test, { type ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.js';
import { KvClient } from '../../src/client/kv-client.js';
import { UnavailableError } from '../../src/errors.js';
import { FakeChain } from './fake-chain.js';

/** As `connect` makes one that is told by ZooKeeper. */
function toldClient(t: ExecutionContext, chain: FakeChain, timeoutMs: number) {
  const client = new KvClient({
    cluster: 'c',
    seeds: [],
    source: () => 'ZooKeeper at z:1 knows no chain of this name',
    timeoutMs,
    dial: chain.dial,
    onView: () => {},
  });
  t.teardown(() => client.close());
  return { client, news: client.attach(async () => {}) };
}

test('from one seed outside the chain to all its members', async (t) => {
  const chain = new FakeChain(['h:1', 'h:2', 'h:3', 'h:4']);
  chain.view = chain.viewOf(['h:2', 'h:3', 'h:4'], 3);
  chain.server('h:4').isUp = false;
  const client = await connect({ servers: ['h:1'], dial: chain.dial, lazy: true });
  t.teardown(() => client.close());
  const outcomes = await client.statuses();
  t.deepEqual(
    outcomes.map((each) => [each.address, 'status' in each ? each.status.role : 'no answer']),
    [
      ['h:2', 'head'],
      ['h:3', 'tail'],
      ['h:4', 'no answer'],
      ['h:1', 'learner'],
    ],
  );
});

test('servers that ZooKeeper lists are asked, though there is no chain', async (t) => {
  const chain = new FakeChain(['h:1', 'h:2']);
  for (const server of chain.servers) {
    server.opened = () => ({ serverId: server.address, incarnation: '1', clusterId: '' });
  }
  const { client, news } = toldClient(t, chain, 60_000);
  const asked = client.statuses();
  news.onServers([]);
  news.onServers(['h:1', 'h:2']);
  t.deepEqual(
    (await asked).map(({ address }) => address),
    ['h:1', 'h:2'],
  );
});

test('the list of who is up is waited for, though the members are known and answer before it', async (t) => {
  const chain = new FakeChain(['h:1', 'h:2']);
  chain.view = chain.viewOf(['h:1'], 3);
  const client = await connect({ servers: ['h:1'], dial: chain.dial, timeoutMs: 60_000 });
  t.teardown(() => client.close());
  const news = client.attach(async () => {}, true);
  const asked = client.statuses();
  await client.get('the members answer');
  news.onServers(['h:1', 'h:2']);
  t.deepEqual(
    (await asked).map(({ address }) => address),
    ['h:1', 'h:2'],
  );
});

test('nobody to ask: it fails by its deadline, and says where was looked', async (t) => {
  const { client } = toldClient(t, new FakeChain([]), 100);
  await t.throwsAsync(client.statuses(), {
    instanceOf: UnavailableError,
    message:
      "not done within 100 ms: no chain of cluster 'c' was found: ZooKeeper at z:1 knows no chain of this name",
  });
});

test('one that hangs is listed with the reason, the others with what they say', async (t) => {
  const chain = new FakeChain(['h:1', 'h:2']);
  chain.server('h:2').script = () => {};
  const client = await connect({ servers: ['h:1', 'h:2'], dial: chain.dial, timeoutMs: 300 });
  t.teardown(() => client.close());
  const [one, two] = await client.statuses();
  t.true(one !== undefined && 'status' in one);
  t.true(two !== undefined && 'error' in two && two.error.message.includes('h:2'));
});

test('a server of another cluster is no part of the picture', async (t) => {
  const chain = new FakeChain(['h:1']);
  const other = new FakeChain(['h:2']);
  other.view = { ...other.viewOf(['h:2', 'h:3'], 9), clusterId: 'another' };
  const client = await connect({
    servers: ['h:1'],
    dial: (address) => (address === 'h:2' ? other : chain).dial(address),
  });
  t.teardown(() => client.close());
  client.attach(async () => {}).onServers(['h:2']);
  const outcomes = await client.statuses({ timeoutMs: 300 });
  t.true(outcomes[0] !== undefined && 'status' in outcomes[0]);
  t.is(outcomes.length, 2, 'its members are not asked');
  t.true(outcomes[1] !== undefined && 'error' in outcomes[1]);
  t.regex((outcomes[1] as { error: Error }).error.message, /cluster another/);
  t.is(client.currentView?.clusterId, 'fake');
});
