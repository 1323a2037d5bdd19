/**
 * FAULTS Z5 and a lagging ensemble member, on whole servers in this process and the coordination twin in memory: what is
 * lost there is lost on command, and what is read is as old as the test wants.
 */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Configuration, parseConfiguration } from '../../src/coordination/configuration.js';
import type { Coordinator } from '../../src/coordination/coordinator.js';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { silentLogger } from '../../src/logger.js';
import { carryOutRecovery, planRecovery } from '../../src/server/operator-recovery.js';
import { CatenaServer } from '../../src/server/server.js';
import { cluster, freePorts, RawClient, temporaryDirectory, until } from './support.js';

class Trouble {
  readonly service = new MemoryCoordination();
  readonly coordinators: Coordinator[] = [];
  readonly servers: CatenaServer[] = [];
  readonly #t: ExecutionContext;
  readonly #basePort: number;
  readonly #path: string;

  static async make(t: ExecutionContext): Promise<Trouble> {
    return new Trouble(t, await freePorts(3), await temporaryDirectory(t));
  }

  private constructor(t: ExecutionContext, basePort: number, path: string) {
    this.#t = t;
    this.#basePort = basePort;
    this.#path = path;
  }

  /** Started, and nothing more; `before` may arm a fault of its coordinator. */
  async start(
    before: (coordinator: Coordinator) => void = () => {},
    number = this.servers.length,
  ): Promise<CatenaServer> {
    const coordinator = this.service.coordinator();
    before(coordinator);
    const server = await CatenaServer.start({
      listen: { host: '127.0.0.1', port: this.#basePort + number },
      dataPath: this.dataPath(number),
      cluster,
      coordinator,
      // All share one loop: a busy machine must not cost a member.
      leaseMs: 1_500,
      logger: silentLogger,
      onLine: () => {},
    });
    this.#t.teardown(() => server.kill());
    this.coordinators.push(coordinator);
    this.servers.push(server);
    return server;
  }

  dataPath(number: number): string {
    return join(this.#path, String(number));
  }

  get chain(): Configuration | undefined {
    return parseConfiguration(this.service.backup().chain?.data ?? '');
  }

  /** How often it was written. */
  get writes(): number {
    return (this.service.backup().chain?.version ?? -1) + 1;
  }

  get epoch(): number {
    return this.chain?.epoch ?? 0;
  }

  get members(): string[] {
    return this.chain?.members.map(({ address }) => address) ?? [];
  }

  async untilChain(...servers: CatenaServer[]): Promise<void> {
    const wanted = servers.map(({ address }) => address).join();
    const hasRole = ({ role }: CatenaServer): boolean => role !== 'learner';
    await until(() => this.members.join() === wanted && servers.every(hasRole));
  }

  /** At the head, whoever that is by now; resolves when it is acknowledged. */
  async put(key: string, value: string): Promise<void> {
    await until(async () => {
      const head = this.servers.findLast(({ address }) => address === this.members[0]);
      const client = head && (await this.client(head));
      return (await client?.put(key, value))?.kind === 'written';
    });
  }

  async client(server: CatenaServer): Promise<RawClient> {
    const client = await RawClient.open(Number(server.address.split(':')[1]));
    this.#t.teardown(() => client.close());
    return client;
  }
}

for (const fate of ['done', 'dropped'] as const) {
  test(`Z5: the answer to the create of /chain is lost, the write ${fate}: one configuration`, async (t) => {
    const trouble = await Trouble.make(t);
    const { service } = trouble;
    const one = await trouble.start((coordinator) => service.loseNextAnswer(coordinator, fate));
    await trouble.untilChain(one);
    t.is(trouble.writes, 1);
    t.is(service.serverNodes().length, 1);
    await trouble.put('k', 'v');
  });

  test(`Z5: the answer to an admission's set is lost, the write ${fate}: a member once`, async (t) => {
    const trouble = await Trouble.make(t);
    const { service } = trouble;
    const one = await trouble.start();
    await trouble.untilChain(one);
    service.loseNextAnswer(trouble.coordinators[0] as Coordinator, fate);
    const two = await trouble.start();
    await trouble.untilChain(one, two);
    t.is(trouble.writes, trouble.epoch, 'each write of it is one epoch');
    t.is(service.serverNodes().length, 2);
    await trouble.put('k', 'v');
  });
}

test('Z5: an admission that arrives after all is decided by the fence: one of the two is written', async (t) => {
  const trouble = await Trouble.make(t);
  const { service } = trouble;
  const one = await trouble.start();
  await trouble.untilChain(one);
  const arrive = service.delayNextWrite(trouble.coordinators[0] as Coordinator);
  const two = await trouble.start();
  await trouble.untilChain(one, two);
  const { configId } = trouble.chain as Configuration;
  arrive();
  t.is(trouble.chain?.configId, configId, 'the late one changes nothing');
  t.is(trouble.writes, trouble.epoch);
  await trouble.put('k', 'v');
});

test('a server whose ensemble member lags acts on nothing that it reads there, and catches up', async (t) => {
  const trouble = await Trouble.make(t);
  const { service } = trouble;
  const one = await trouble.start();
  await trouble.untilChain(one);
  const two = await trouble.start();
  await trouble.untilChain(one, two);
  const three = await trouble.start();
  await trouble.untilChain(one, two, three);
  const lagging = trouble.coordinators[2] as Coordinator;
  service.freezeReads(lagging);
  const old = await lagging.readChain();

  // It hears of the next epoch, and cannot read it: it stops serving, and is removed.
  await two.leave();
  await until(() => one.role === 'single');
  t.deepEqual(trouble.members, [one.address]);
  t.deepEqual(await lagging.readChain(), old, 'it still reads the chain of three');
  await trouble.put('k', 'new');
  const stale = await trouble.client(three);
  const status = await stale.request({ kind: 'status' });
  t.true(status.kind === 'status' && !status.lease, 'it has no lease to answer with');
  t.true(trouble.chain?.change.by !== three.address, 'it wrote nothing on what it read');

  service.thawReads(lagging);
  await trouble.untilChain(one, three);
  await until(async () => (await stale.get('k').catch(() => undefined)) === 'new');
  t.is(trouble.writes, trouble.epoch);
});

test('Z7: recover goes over garbage in /chain, by its version, and begins a generation that clients see', async (t) => {
  const trouble = await Trouble.make(t);
  const { service } = trouble;
  const one = await trouble.start();
  await trouble.untilChain(one);
  await trouble.put('k', 'kept');
  await one.kill();
  service.overwriteChain('garbage {');
  const { writes } = trouble;
  const operator = service.coordinator();
  operator.start({ onChain() {}, onServers() {}, onSession() {} });
  const plan = await planRecovery(trouble.dataPath(0), operator);
  t.is(plan.configuration.generation, 2);
  t.is(plan.lastSeq, 2, 'the no-op of the epoch, and the put');
  t.is(service.backup().chain?.data, 'garbage {', 'a plan changes nothing');
  await carryOutRecovery(plan, operator);
  t.is(trouble.writes, writes + 1, 'set, not deleted and created');

  const again = await trouble.start(undefined, 0);
  await trouble.untilChain(again);
  const client = await trouble.client(again);
  t.is(await client.get('k'), 'kept');
  const status = await client.request({ kind: 'status' });
  t.is(status.kind === 'status' ? status.view?.generation : undefined, 2);
});
