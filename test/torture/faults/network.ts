/** Faults of links: FAULTS N1 to N7. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, randomFrom, shuffled } from '../../support/random.js';
import type { Harm, LaneCondition } from '../network/lane.js';
import { serverNode } from '../network/network.js';
import { claimOf, leaseMs, type Place } from '../world.js';
import {
  between,
  bothWays,
  claimed,
  type End,
  type Fault,
  type FaultMaker,
  heldWithin,
  nodesAt,
  onWays,
  oneOf,
  places,
  waysFrom,
  within,
} from './fault.js';

/** A harm waits for bytes to harm; on a chain that is idle at the moment there may be none. */
const harmWaitMs = 5_000;

const isBetweenServers = (ends: readonly End[]): boolean =>
  ends.every((end) => end !== 'clients' && end !== 'zookeeper');

/** 'chain link', 'client link', 'ZooKeeper link' */
function linkName(ends: readonly End[]): string {
  if (isBetweenServers(ends)) return 'chain link';
  return ends.includes('clients') ? 'client link' : 'ZooKeeper link';
}

/** Whoever is not heard for so long is removed, and the others go on. */
const removalMs = 3 * leaseMs;

/** N1: what `from` sends does not arrive at `to`; what comes back does. */
export function stalled(from: End, to: End, ms: number): Fault {
  return {
    kind: `${linkName([from, to])} stalled in one direction`,
    rows: ['N1'],
    ...(linkName([from, to]) === 'ZooKeeper link' || ms >= removalMs
      ? { goesOn: linkName([from, to]) === 'client link' ? ['reads'] : ['reads', 'writes'] }
      : {}),
    inject: (world, hold) =>
      onWays(
        world,
        waysFrom(nodesAt(world, from), nodesAt(world, to)),
        'heldBytes',
        async (lanes) => {
          for (const lane of lanes) lane.condition = { stalled: true };
          await hold(ms);
          return `${from} to ${to} for ${ms} ms`;
        },
      ),
  };
}

/** From whom a node is cut. */
export type CutFrom = 'all' | 'its peers' | 'ZooKeeper' | 'its peers and ZooKeeper';

/** N2: nothing goes either way. */
export function cutOff(place: Place, cutFrom: CutFrom, ms: number): Fault {
  return {
    kind: `cut from ${cutFrom}`,
    rows: ['N2'],
    goesOn: ['reads', 'writes'],
    inject(world, hold) {
      const self = nodesAt(world, place);
      const peers = world.chain.newest.members.flatMap((member) => {
        const number = world.numberOf(member);
        return number === undefined ? [] : [serverNode(number)];
      });
      const others = {
        all: [...peers, ...nodesAt(world, 'zookeeper'), ...nodesAt(world, 'clients')],
        'its peers': peers,
        ZooKeeper: nodesAt(world, 'zookeeper'),
        'its peers and ZooKeeper': [...peers, ...nodesAt(world, 'zookeeper')],
      }[cutFrom];
      return onWays(world, bothWays(waysFrom(self, others)), 'heldBytes', async (lanes) => {
        for (const lane of lanes) lane.condition = { stalled: true };
        await hold(ms);
        return `the ${place} for ${ms} ms`;
      });
    },
  };
}

/** N2: overlapping rings: two neighbours do not hear each other, all others hear both. */
export function pairCut(one: Place, other: Place, ms: number): Fault {
  return {
    kind: 'two neighbours cut from each other',
    rows: ['N2'],
    goesOn: ['reads'],
    inject(world, hold) {
      const ways = bothWays(waysFrom(nodesAt(world, one), nodesAt(world, other)));
      return onWays(world, ways, 'heldBytes', async (lanes) => {
        for (const lane of lanes) lane.condition = { stalled: true };
        await hold(ms);
        return `${one} and ${other} for ${ms} ms`;
      });
    },
  };
}

const slownesses = {
  delayed: 'delayedBytes',
  'limited to 8 kB/s': 'limitedBytes',
  'one byte at a time': 'pieces',
  'glued together': 'gluedChunks',
} as const;

export type Slowness = keyof typeof slownesses;

function conditionOf(slowness: Slowness, delayMs: number): LaneCondition {
  const conditions: Record<Slowness, LaneCondition> = {
    delayed: { delayMs },
    'limited to 8 kB/s': { bytesPerSecond: 8_000 },
    'one byte at a time': { pieceBytes: 1 },
    'glued together': { glueMs: 30 },
  };
  return conditions[slowness];
}

/** N3: both directions. */
export function slow(one: End, other: End, slowness: Slowness, ms: number, delayMs = 50): Fault {
  return {
    kind: `link ${slowness}`,
    rows: ['N3'],
    goesOn: ['reads'],
    inject(world, hold) {
      const ways = bothWays(waysFrom(nodesAt(world, one), nodesAt(world, other)));
      return onWays(world, ways, slownesses[slowness], async (lanes) => {
        for (const lane of lanes) lane.condition = conditionOf(slowness, delayMs);
        await hold(ms);
        const how = slowness === 'delayed' ? ` ${delayMs} ms` : '';
        return `${one} and ${other}${how} for ${ms} ms`;
      });
    },
  };
}

const harmKinds: Record<Harm, string> = {
  cut: 'connection reset inside of a frame',
  drop: 'connection reset before an answer',
  corrupt: 'bytes corrupted',
};

/** N4, N6: a few times in a row, what goes from one to the other. */
export function harmed(from: End, to: End, harm: Harm, times = 3): Fault {
  return {
    kind: harmKinds[harm],
    rows: [harm === 'corrupt' ? 'N6' : 'N4'],
    inject(world) {
      const ways = waysFrom(nodesAt(world, from), nodesAt(world, to));
      return onWays(world, ways, 'harms', async (lanes) => {
        for (let time = 0; time < times; time++) {
          // Whatever has bytes first.
          const harms = lanes.map((lane) => lane.harmNext(harm, harmBytesMin));
          await within(harmWaitMs, Promise.any(harms));
        }
        return `${from} to ${to}, ${times} times`;
      });
    },
  };
}

/** Longer than a header, so that a cut is inside of a frame and a changed byte is one of a payload. */
const harmBytesMin = 12;

/** N4: every connection of a link at once, whatever was under way. */
export function connectionsReset(one: End, other: End): Fault {
  return {
    kind: 'all connections reset',
    rows: ['N4'],
    async inject(world) {
      const links = waysFrom(nodesAt(world, one), nodesAt(world, other)).flatMap(([from, to]) => [
        world.network.link(from, to),
        world.network.link(to, from),
      ]);
      const resets = links.reduce((sum, link) => sum + link.reset(), 0);
      return { what: `${one} and ${other}`, evidence: { resets } };
    },
  };
}

/**
 * N5: what the one sent is held up, it loses that connection and dials anew; once the new connection is in use, the
 * old one's bytes arrive.
 */
export function lateBytes(from: Place, to: Place): Fault {
  return {
    kind: 'bytes of an old connection arrive late',
    rows: ['N5'],
    async inject(world) {
      const [[source, target] = []] = waysFrom(nodesAt(world, from), nodesAt(world, to));
      if (source === undefined || target === undefined) return undefined;
      const link = world.network.link(source, target);
      return claimed(world, [claimOf.way(source, target)], async () => {
        const held = link.holdOld();
        await heldWithin(harmWaitMs, () => held.bytes > 0);
        const bytes = held.bytes;
        const passedBefore = link.out.counts.passedBytes;
        held.abandon();
        await heldWithin(harmWaitMs, () => link.out.counts.passedBytes > passedBefore);
        const newerBytes = link.out.counts.passedBytes - passedBefore;
        const lateBefore = link.out.counts.lateBytes;
        held.release();
        const late = link.out.counts.lateBytes - lateBefore;
        return { what: `${from} to ${to}, ${bytes} bytes`, evidence: { newerBytes, late } };
      });
    },
  };
}

/** N7: the links of the chain are clogged one after the other, and freed in another order. */
export function clogged(random: Random, betweenMs: number): Fault {
  return {
    kind: 'links clogged one by one, freed in another order',
    rows: ['N7'],
    inject(world) {
      const numbers = world.chain.newest.members.map((each) => world.numberOf(each) as number);
      const nodes = numbers.map(serverNode);
      const ways = shuffled(random, waysFrom(nodes, nodes));
      return onWays(world, ways, 'heldBytes', async () => {
        for (const [from, to] of ways) {
          for (const lane of world.network.lanes(from, to)) lane.condition = { stalled: true };
          await sleep(betweenMs);
        }
        for (const [from, to] of shuffled(random, ways)) {
          for (const lane of world.network.lanes(from, to)) lane.heal();
          await sleep(betweenMs);
        }
        return `${ways.length} ways, ${betweenMs} ms apart`;
      });
    },
  };
}

/** Neighbours, in the direction in which they dial, or against it. */
const neighbours: readonly (readonly [Place, Place])[] = [
  ['head', 'middle'],
  ['middle', 'tail'],
  ['middle', 'head'],
  ['tail', 'middle'],
];

function anyEnds(random: Random): readonly [End, End] {
  const ends = [
    ...neighbours,
    ...places.map((place) => ['clients', place] as const),
    ...places.map((place) => [place, 'zookeeper'] as const),
  ];
  const [one, other] = oneOf(random, ends);
  return random(2) === 0 ? [one, other] : [other, one];
}

/** A session of ZooKeeper is silent for more than a second at a time. */
const leastMs = (from: CutFrom): number => (from === 'ZooKeeper' ? 2_000 : 300);
const seedsMax = 1_000_000_000;
const cuts: readonly CutFrom[] = ['all', 'its peers', 'ZooKeeper', 'its peers and ZooKeeper'];

export const networkFaults: readonly FaultMaker[] = [
  (random) => stalled(...oneOf(random, neighbours), between(random, 200, 4_000)),
  (random) => stalled('clients', oneOf(random, places), between(random, 200, 4_000)),
  (random) => stalled(oneOf(random, places), 'clients', between(random, 200, 4_000)),
  (random) => stalled(oneOf(random, places), 'zookeeper', between(random, 2_000, 8_000)),
  (random) => stalled('zookeeper', oneOf(random, places), between(random, 2_000, 8_000)),
  ...cuts.map(
    (from): FaultMaker =>
      (random) =>
        cutOff(oneOf(random, places), from, between(random, leastMs(from), 6_000)),
  ),
  (random) => pairCut(...oneOf(random, neighbours), between(random, 300, 4_000)),
  ...(Object.keys(slownesses) as Slowness[]).map(
    (slowness): FaultMaker =>
      (random) =>
        slow(...anyEnds(random), slowness, between(random, 500, 4_000), between(random, 10, 500)),
  ),
  (random) => harmed(...anyEnds(random), 'cut'),
  (random) => harmed(oneOf(random, places), 'clients', 'drop'),
  (random) => harmed(...oneOf(random, neighbours), 'corrupt'),
  (random) => connectionsReset(...anyEnds(random)),
  (random) => lateBytes(...oneOf(random, neighbours.slice(0, 2))),
  (random) => clogged(randomFrom(random(seedsMax)), between(random, 20, 400)),
];
