/**
 * What every Coordinator must do, as tests: run on the twin in memory (memory.test.ts) and on real ZooKeeper
 * (test/integration/coordination.test.ts). Waits for events, never for time to pass.
 */

import { randomUUID } from 'node:crypto';
import type { ExecutionContext, TestFn } from 'ava';
import type {
  ChainRead,
  Coordinator,
  CoordinatorListener,
  Registration,
  SessionState,
} from '../../src/coordination/coordinator.js';

/** One cluster of its own in a service, and an operator's hand on it. */
export interface ContractCluster {
  /** Not started yet. */
  coordinator(): Coordinator;
  /** Ends the session of the coordinator that announced this. */
  expire(coordinator: Coordinator): Promise<void>;
  overwriteChain(data: string): Promise<void>;
  deleteChain(): Promise<void>;
  addServerNode(data: string): Promise<void>;
  serverNodes(): Promise<readonly { name: string; data: string }[]>;
  /** Closes every coordinator it made. */
  close(): Promise<void>;
}

/** Keeps everything a coordinator told, and waits for what it has yet to tell. */
export class Recorder implements CoordinatorListener {
  readonly chains: ChainRead[] = [];
  readonly servers: (readonly Registration[])[] = [];
  readonly sessions: SessionState[] = [];
  #waiting: (() => void)[] = [];

  onChain(read: ChainRead): void {
    this.chains.push(read);
    this.#wake();
  }

  onServers(servers: readonly Registration[]): void {
    this.servers.push(servers);
    this.#wake();
  }

  onSession(state: SessionState): void {
    this.sessions.push(state);
    this.#wake();
  }

  /** The test's own timeout is the bound. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async untilChain(data: string): Promise<void> {
    await this.until(() => this.chainData() === data);
  }

  async untilSession(state: SessionState): Promise<void> {
    await this.until(() => this.sessions.at(-1) === state);
  }

  /** Waits until the newest list names exactly these incarnations, in this order. */
  async untilIncarnations(...incarnations: string[]): Promise<void> {
    await this.until(() => this.incarnations() === incarnations.join());
  }

  chainData(): string | undefined {
    const read = this.chains.at(-1);
    return read?.kind === 'found' ? read.data : undefined;
  }

  incarnations(): string | undefined {
    return this.servers
      .at(-1)
      ?.map(({ incarnation }) => incarnation)
      .join();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

export function started(coordinator: Coordinator): Recorder {
  const recorder = new Recorder();
  coordinator.start(recorder);
  return recorder;
}

export function registration(
  serverId: string,
  incarnation: string,
  state: Registration['state'] = 'learner',
): Registration {
  return { serverId, incarnation, address: 'localhost:7000', state };
}

export type MakeCluster = (
  t: ExecutionContext,
  name: string,
) => Promise<ContractCluster | undefined>;

/** `makeCluster` answers undefined where there is no service to test with. */
export function testContract(test: TestFn, makeCluster: MakeCluster): void {
  const testCluster = (
    title: string,
    body: (t: ExecutionContext, cluster: ContractCluster) => Promise<void>,
  ): void => {
    test(`contract: ${title}`, async (t) => {
      const cluster = await makeCluster(t, randomUUID());
      if (cluster === undefined) return;
      t.teardown(() => cluster.close());
      await body(t, cluster);
    });
  };
  testChain(testCluster);
  testServers(testCluster);
  testEnds(testCluster);
}

type TestCluster = (
  title: string,
  body: (t: ExecutionContext, cluster: ContractCluster) => Promise<void>,
) => void;

function testChain(testCluster: TestCluster): void {
  testCluster(
    'an absent chain is reported as absent, and its creation to all',
    async (t, cluster) => {
      const [one, two] = [cluster.coordinator(), cluster.coordinator()];
      const [oneSees, twoSees] = [started(one), started(two)];
      await Promise.all([oneSees, twoSees].map((sees) => sees.until(() => sees.chains.length > 0)));
      t.deepEqual(oneSees.chains, [{ kind: 'absent' }]);
      t.is(await one.createChain('first'), 'done');
      t.is(await two.createChain('second'), 'conflict');
      await Promise.all([oneSees, twoSees].map((sees) => sees.untilChain('first')));
      t.deepEqual(twoSees.chains, [
        { kind: 'absent' },
        { kind: 'found', data: 'first', version: 0 },
      ]);
    },
  );

  testCluster('of two creates at once one is done', async (t, cluster) => {
    const both = [cluster.coordinator(), cluster.coordinator()];
    const sees = both.map((coordinator) => started(coordinator));
    await Promise.all(sees.map((recorder) => recorder.untilSession('connected')));
    const outcomes = await Promise.all(both.map((each, index) => each.createChain(String(index))));
    t.deepEqual([...outcomes].sort(), ['conflict', 'done']);
    await sees[0]?.untilChain(String(outcomes.indexOf('done')));
  });

  testCluster('a set is done on the version that was read, else a conflict', async (t, cluster) => {
    const one = cluster.coordinator();
    await started(one).untilSession('connected');
    t.is(await one.setChain('too early', 0), 'conflict');
    t.is(await one.createChain('0'), 'done');
    t.is(await one.setChain('1', 0), 'done');
    t.is(await one.setChain('again', 0), 'conflict');
    t.is(await one.setChain('ahead', 2), 'conflict');
    t.deepEqual(await one.readChain(), { kind: 'found', data: '1', version: 1 });
  });

  testCluster('readChain right after start waits for the first connection', async (t, cluster) => {
    const one = cluster.coordinator();
    started(one);
    t.deepEqual(await one.readChain(), { kind: 'absent' });
  });

  testCluster(
    'whatever stands in the chain node is reported, its deletion too',
    async (t, cluster) => {
      const one = cluster.coordinator();
      const sees = started(one);
      await sees.untilSession('connected');
      await one.createChain('good');
      await sees.untilChain('good');
      await cluster.overwriteChain('garbage {');
      await sees.untilChain('garbage {');
      await cluster.deleteChain();
      await sees.until(() => sees.chains.at(-1)?.kind === 'absent');
      const texts = sees.chains.map((read) => JSON.stringify(read));
      t.true(texts.every((text, index) => index === 0 || text !== texts[index - 1]));
    },
  );
}

function testServers(testCluster: TestCluster): void {
  testCluster(
    'servers are listed oldest first, a change of state keeps the node',
    async (t, cluster) => {
      const [one, two] = [cluster.coordinator(), cluster.coordinator()];
      const sees = started(one);
      one.announce(registration('z', 'z1'));
      await sees.untilIncarnations('z1');
      started(two);
      two.announce(registration('a', 'a1'));
      await sees.untilIncarnations('z1', 'a1');
      const before = (await cluster.serverNodes()).map(({ name }) => name).sort();
      one.announce(registration('z', 'z1', 'member'));
      await sees.until(() => sees.servers.at(-1)?.[0]?.state === 'member');
      t.deepEqual((await cluster.serverNodes()).map(({ name }) => name).sort(), before);
      t.is(before.length, 2);
    },
  );

  testCluster('close takes the registration away', async (t, cluster) => {
    const [watcher, leaver] = [cluster.coordinator(), cluster.coordinator()];
    const sees = started(watcher);
    started(leaver);
    leaver.announce(registration('a', 'a1'));
    await sees.untilIncarnations('a1');
    await leaver.close();
    await sees.untilIncarnations();
    t.deepEqual(await cluster.serverNodes(), []);
  });

  testCluster('a restarted server deletes the node of its last life', async (t, cluster) => {
    const [watcher, restarted] = [cluster.coordinator(), cluster.coordinator()];
    const sees = started(watcher);
    await cluster.addServerNode(JSON.stringify(registration('a', 'a1')));
    await sees.untilIncarnations('a1');
    started(restarted);
    restarted.announce(registration('a', 'a2'));
    await sees.untilIncarnations('a2');
    t.is((await cluster.serverNodes()).length, 1);
  });

  testCluster(
    'of two copies of a server the later one stays, without a fight',
    async (t, cluster) => {
      const [first, copy] = [cluster.coordinator(), cluster.coordinator()];
      const sees = started(first);
      first.announce(registration('a', 'a1'));
      await sees.untilIncarnations('a1');
      started(copy);
      copy.announce(registration('a', 'a2'));
      await sees.untilIncarnations('a2');
      first.announce(registration('a', 'a1', 'member'));
      await first.readChain();
      t.is((await cluster.serverNodes()).length, 1);
      // It was no more than a late create of a dead process: ours comes back.
      await copy.close();
      await sees.untilIncarnations('a1');
    },
  );

  testCluster(
    'beside a process of its server at another address none appears, until that one is gone (O4)',
    async (t, cluster) => {
      const [original, copy] = [cluster.coordinator(), cluster.coordinator()];
      started(original);
      const sees = started(copy);
      original.announce(registration('a', 'a1'));
      await sees.untilIncarnations('a1');
      copy.announce({ ...registration('a', 'a2'), address: 'elsewhere:7000' });
      await copy.readChain();
      original.announce(registration('a', 'a1', 'member'));
      await sees.until(() => sees.servers.at(-1)?.[0]?.state === 'member');
      t.deepEqual(
        sees.servers.map((servers) => servers.map(({ incarnation }) => incarnation).join()),
        sees.servers.map((_, index) => (index === 0 && sees.servers[0]?.length === 0 ? '' : 'a1')),
      );
      t.is((await cluster.serverNodes()).length, 1);
      await original.close();
      await sees.untilIncarnations('a2');
      t.is((await cluster.serverNodes()).length, 1);
    },
  );

  testCluster('nodes that are no registration are left out', async (t, cluster) => {
    await cluster.addServerNode('garbage');
    await cluster.addServerNode('{"serverId":"a"}');
    const one = cluster.coordinator();
    const sees = started(one);
    one.announce(registration('b', 'b1'));
    await sees.untilIncarnations('b1');
    t.is((await cluster.serverNodes()).length, 3);
  });
}

function testEnds(testCluster: TestCluster): void {
  testCluster('after an expiry it announces itself again, once', async (t, cluster) => {
    const [watcher, one] = [cluster.coordinator(), cluster.coordinator()];
    const [watcherSees, sees] = [started(watcher), started(one)];
    one.announce(registration('a', 'a1'));
    await watcherSees.untilIncarnations('a1');
    const lists = watcherSees.servers.length;
    await cluster.expire(one);
    await sees.until(() => sees.sessions.includes('expired'));
    await sees.untilSession('connected');
    await watcherSees.until(() => watcherSees.servers.length > lists);
    await watcherSees.untilIncarnations('a1');
    t.is((await cluster.serverNodes()).length, 1);
    t.is(await one.createChain('still works'), 'done');
    await watcherSees.untilChain('still works');
  });

  testCluster('before start and after close nothing is written or read', async (t, cluster) => {
    const one = cluster.coordinator();
    t.is(await one.createChain('x'), 'unavailable');
    await t.throwsAsync(one.readChain(), { code: 'COORDINATION' });
    const sees = started(one);
    await sees.untilSession('connected');
    await one.close();
    await one.close();
    const told = sees.sessions.length;
    t.is(await one.createChain('x'), 'unavailable');
    t.is(await one.setChain('x', 0), 'unavailable');
    await t.throwsAsync(one.readChain(), { code: 'COORDINATION' });
    t.is(sees.sessions.length, told);
  });
}
