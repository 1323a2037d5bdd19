/** Faults of ZooKeeper: FAULTS Z1 to Z5. */
import { expireServers } from '../../support/troubled.js';
import type { LocalZooKeeper } from '../../support/zookeeper.js';
import type { Cut } from '../../support/zookeeper-proxy.js';
import { claimOf, type Place, type World } from '../world.js';
import { between, claimed, type Fault, type FaultMaker, oneOf, places, within } from './fault.js';

const requestWaitMs = 20_000;
const chainPath = '/catena/default/chain';
const nodePath = '/catena/default/servers/';

/** Z1. */
export function leaderKilled(ms: number): Fault {
  return {
    kind: "ZooKeeper's leader killed",
    rows: ['Z1'],
    goesOn: ['reads', 'writes'],
    inject: (world, hold) =>
      claimed(world, [claimOf.zookeeper], async () => {
        const leader = await world.ensemble.leader().catch(() => undefined);
        if (leader === undefined) return undefined;
        await withoutMembers(world, [leader], () => hold(ms));
        return { what: `for ${ms} ms`, evidence: { kills: 1 } };
      }),
  };
}

/** Z2. */
export function quorumLost(ms: number): Fault {
  return {
    kind: "ZooKeeper's quorum lost",
    rows: ['Z2'],
    goesOn: ['reads', 'writes'],
    inject: (world, hold) =>
      claimed(world, [claimOf.zookeeper], async () => {
        await withoutMembers(world, world.ensemble.members.slice(0, 2), () => hold(ms));
        return { what: `for ${ms} ms`, evidence: { kills: 2 } };
      }),
  };
}

async function withoutMembers(
  world: World,
  members: readonly LocalZooKeeper[],
  act: () => Promise<unknown>,
): Promise<void> {
  await Promise.all(members.map((member) => world.stopZooKeeperMember(member)));
  await act();
  await Promise.all(members.map((member) => world.startZooKeeperMember(member)));
}

/** Z4: of the server at a place; Z3 without one: of all at once. */
export function sessionsExpired(place?: Place): Fault {
  return {
    kind: place === undefined ? 'all ZooKeeper sessions expire' : 'one ZooKeeper session expires',
    rows: [place === undefined ? 'Z3' : 'Z4'],
    goesOn: ['reads', 'writes'],
    inject: (world) =>
      claimed(world, [claimOf.zookeeper], async () => {
        const running = [...world.running];
        const one = place === undefined ? undefined : world.numberAt(place);
        const numbers = place === undefined ? running : running.filter((number) => number === one);
        const names = numbers.map(claimOf.server);
        return claimed(world, names, async () => {
          const { port } = world.ensemble.members[0] as LocalZooKeeper;
          const expiring = expireServers(world, port, numbers);
          const expired = await within(requestWaitMs, expiring);
          return {
            what: place ?? 'all',
            evidence: { sessions: expired ? numbers.length : 0 },
          };
        });
      }),
  };
}

/** Z5: a request of this kind, or its answer, is lost with its connection while a member is removed and returns. */
export function answerLost(op: Cut['op'], on: 'chain' | 'servers', kind: Cut['kind']): Fault {
  const path = on === 'chain' ? chainPath : nodePath;
  return {
    kind: kind === 'lost' ? 'a request to ZooKeeper is lost' : 'an answer of ZooKeeper is lost',
    rows: ['Z5'],
    inject: (world) =>
      claimed(world, [claimOf.zookeeper], async () => {
        const number = world.numberAt('tail');
        if (number === undefined || !world.running.has(number)) return undefined;
        return claimed(world, [claimOf.server(number)], async () => {
          const cuts = world.zookeeperProxies.map((proxy) => proxy.cutAt({ op, path, kind }));
          await world.kill(number);
          void world.restart(number);
          const cut = await within(requestWaitMs, Promise.any(cuts));
          for (const proxy of world.zookeeperProxies) proxy.forgetCuts();
          return { what: `${op} of ${on}`, evidence: { cuts: Number(cut) } };
        });
      }),
  };
}

type Request = readonly [op: Cut['op'], on: 'chain' | 'servers'];

const requests: readonly Request[] = [
  ['set', 'chain'],
  ['create', 'servers'],
  ['set', 'servers'],
];

export const zookeeperFaults: readonly FaultMaker[] = [
  (random) => leaderKilled(between(random, 1_000, 6_000)),
  (random) => quorumLost(between(random, 1_000, 8_000)),
  () => sessionsExpired(),
  (random) => sessionsExpired(oneOf(random, places)),
  (random) => answerLost(...oneOf<Request>(random, requests), 'lost'),
  (random) => answerLost(...oneOf<Request>(random, requests), 'unanswered'),
];
