/** A server that is asked to leave: what it answers, when, and that it ends after that and not before. */
import test, { type ExecutionContext } from 'ava';
import { parseConfiguration } from '../../src/coordination/configuration.js';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { silentLogger } from '../../src/logger.js';
import { CatenaServer } from '../../src/server/server.js';
import { cluster, freePorts, putOf, RawClient, temporaryDirectory, until } from './support.js';

const leaveOf = (force = false) => ({ kind: 'leave', force }) as const;

async function startServers(t: ExecutionContext, count: number, replicas = count) {
  const coordination = new MemoryCoordination();
  const operator = coordination.coordinator();
  operator.start({ onChain: () => {}, onServers: () => {}, onSession: () => {} });
  const port = await freePorts(count);
  const servers: CatenaServer[] = [];
  for (let index = 0; index < count; index++) {
    const server = await CatenaServer.start({
      listen: { host: '127.0.0.1', port: port + index },
      dataPath: await temporaryDirectory(t),
      cluster,
      coordinator: coordination.coordinator(),
      replicas,
      leaseMs: 2_000,
      logger: silentLogger,
      onLine: () => {},
    });
    t.teardown(() => server.kill());
    servers.push(server);
    await until(() => server.role !== 'learner' || index >= replicas);
  }
  const clients = await Promise.all(servers.map((_, index) => RawClient.open(port + index)));
  for (const client of clients) t.teardown(() => client.close());
  /** The chain as it is written, head first. */
  const chain = async (): Promise<string[]> => {
    const read = await operator.readChain();
    const configuration = read.kind === 'found' ? parseConfiguration(read.data) : undefined;
    return configuration?.members.map(({ serverId }) => serverId) ?? [];
  };
  return { coordination, servers, clients, chain };
}

test('when it says `left` the chain is without it, and what was acknowledged is there', async (t) => {
  const { servers, clients, chain } = await startServers(t, 3);
  const ids = servers.map(({ serverId }) => serverId);
  t.deepEqual(await chain(), ids);
  const [first, second, third] = clients as [RawClient, RawClient, RawClient];
  const written = new Set<number>();
  const refused = new Set<string>();
  let onWritten = (): void => {};
  let isLeaving = false;
  const write = async (from: number): Promise<void> => {
    for (let n = from; ; n += 50) {
      const answer = await first.request(putOf(`k${n}`, `${n}`));
      // While the chain grows a write may be refused as well.
      if (answer.kind === 'failure' && isLeaving) return void refused.add(answer.code);
      if (answer.kind === 'written') written.add(n);
      onWritten();
    }
  };
  const writing = Promise.allSettled(Array.from({ length: 50 }, (_, from) => write(from)));
  while (written.size < 500) {
    await new Promise<void>((resolve) => {
      onWritten = resolve;
    });
  }
  // The head leaves with writes under way.
  isLeaving = true;
  t.deepEqual(await first.request(leaveOf()), { kind: 'left' });
  t.deepEqual(await chain(), ids.slice(1));
  t.is(await servers[0]?.ended, undefined);
  t.is(await first.closed, undefined);
  await writing;
  t.true(refused.size > 0, 'there were writes when it left');
  await until(() => servers[1]?.role === 'head');
  for (const n of written) t.is(await second.get(`k${n}`), `${n}`);
  t.deepEqual(await third.request(leaveOf()), { kind: 'left' });
  t.deepEqual(await chain(), ids.slice(1, 2));
});

test('the only member refuses and goes on; forced, it leaves', async (t) => {
  const { servers, clients } = await startServers(t, 1);
  const [client] = clients as [RawClient];
  t.is((await client.put('k', 'v')).kind, 'written');
  t.like(await client.request(leaveOf()), { kind: 'failure', code: 'LAST_MEMBER' });
  t.is(servers[0]?.role, 'single');
  t.is((await client.put('k', 'w')).kind, 'written');
  t.deepEqual(await client.request(leaveOf(true)), { kind: 'left' });
  t.is(await servers[0]?.ended, undefined);
});

test('a spare just ends, and the chain stays as it is', async (t) => {
  const { servers, clients, chain } = await startServers(t, 2, 1);
  const [, spare] = clients as [RawClient, RawClient];
  t.is(servers[1]?.role, 'learner');
  t.deepEqual(await spare.request(leaveOf()), { kind: 'left' });
  t.is(await servers[1]?.ended, undefined);
  t.deepEqual(await chain(), [servers[0]?.serverId]);
});

test("without the chain's agreement it ends all the same, and does not say `left`", async (t) => {
  const { coordination, servers, clients } = await startServers(t, 2);
  const [, client] = clients as [RawClient, RawClient];
  coordination.stop();
  const asked = client.request(leaveOf());
  // Asked again meanwhile: it is the same leave.
  const again = client.request(leaveOf());
  for (const answer of [asked, again]) {
    t.like(await answer, { kind: 'failure', code: 'OUTCOME_UNKNOWN' });
  }
  t.is(await servers[1]?.ended, undefined);
});
