/**
 * What a fault is: it claims what it breaks, breaks it, mends it, and tells how often or how much it happened. What
 * several faults do is here too.
 *
 * Invariant: once `inject` is settled nothing of it is left but what a server makes of it, which the chain mends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random } from '../../support/random.js';
import type { Lane, LaneCounts } from '../network/lane.js';
import { type Node, serverNode, zookeeperNode } from '../network/network.js';
import { claimOf, type Place, type World } from '../world.js';

export interface Injection {
  /** To whom, for how long. */
  readonly what: string;
  /** What must have happened, and how much of it did: with a 0 among them the fault did not happen. */
  readonly evidence: Readonly<Record<string, number>>;
}

export interface Fault {
  /** What the report counts it as. */
  readonly kind: string;
  /** The rows of FAULTS that it is there for. */
  readonly rows: readonly string[];
  /** What must go on meanwhile, by the design. */
  readonly goesOn?: readonly ('reads' | 'writes')[];
  /** Undefined: what it would break is broken or gone already. */
  inject(world: World, hold: Hold): Promise<Injection | undefined>;
}

/** Lets a fault last for so long, or longer if its run has not seen enough of it. */
export type Hold = (ms: number) => Promise<unknown>;

/** A fault for a random mix: everything about it that may differ is drawn. */
export type FaultMaker = (random: Random) => Fault;

export function happened({ evidence }: Injection): boolean {
  return Object.values(evidence).every((count) => count > 0);
}

export const places: readonly Place[] = ['head', 'middle', 'tail'];

export function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  return items[random(items.length)] as Item;
}

/** Whole ms from `least` to below `limit`. */
export function between(random: Random, least: number, limit: number): number {
  return least + random(limit - least);
}

/** Does it if all that it breaks is free, and gives that back. */
export async function claimed(
  world: World,
  names: readonly string[],
  act: () => Promise<Injection | undefined>,
): Promise<Injection | undefined> {
  if (!world.claim(names)) return undefined;
  try {
    return await act();
  } finally {
    world.release(names);
  }
}

/** To the server at a place, if it runs and its process is free. */
export async function toServer(
  world: World,
  place: Place,
  act: (number: number) => Promise<Injection | undefined>,
): Promise<Injection | undefined> {
  const number = world.numberAt(place);
  if (number === undefined || !world.running.has(number)) return undefined;
  return claimed(world, [claimOf.server(number)], () => act(number));
}

/** An end of a link: the server at a place, the clients, or all of ZooKeeper. */
export type End = Place | 'clients' | 'zookeeper';
export type Way = readonly [from: Node, to: Node];

export function nodesAt(world: World, end: End): Node[] {
  if (end === 'clients') return ['clients'];
  if (end === 'zookeeper')
    return world.ensemble.members.map((_, index) => zookeeperNode(index + 1));
  const number = world.numberAt(end);
  return number === undefined ? [] : [serverNode(number)];
}

/** From each node of the one to each of the other. */
export function waysFrom(from: readonly Node[], to: readonly Node[]): Way[] {
  return from.flatMap((source) => {
    return to.filter((target) => target !== source).map((target): Way => [source, target]);
  });
}

export function bothWays(ways: readonly Way[]): Way[] {
  return ways.flatMap(([from, to]): Way[] => [
    [from, to],
    [to, from],
  ]);
}

function lanesOf(world: World, ways: readonly Way[]): Lane[] {
  return ways.flatMap(([from, to]) => world.network.lanes(from, to));
}

/** What all of these lanes have done of it. */
function total(lanes: readonly Lane[], count: keyof LaneCounts): number {
  return lanes.reduce((sum, { counts }) => sum + counts[count], 0);
}

/** With all these ways free: does it, and answers how much of it the lanes have done meanwhile. */
export async function onWays(
  world: World,
  ways: readonly Way[],
  count: keyof LaneCounts,
  act: (lanes: readonly Lane[]) => Promise<string>,
): Promise<Injection | undefined> {
  if (ways.length === 0) return undefined;
  const names = ways.map(([from, to]) => claimOf.way(from, to));
  return claimed(world, names, async () => {
    const lanes = lanesOf(world, ways);
    const before = total(lanes, count);
    try {
      const what = await act(lanes);
      return { what, evidence: { [count]: total(lanes, count) - before } };
    } finally {
      for (const lane of lanes) lane.heal();
    }
  });
}

/** Whether it came in this time. It goes on, unheard, if it did not. */
export async function within(ms: number, awaited: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController();
  const inTime = awaited.then(
    () => true,
    () => false,
  );
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false);
  try {
    return await Promise.race([inTime, late]);
  } finally {
    timer.abort();
  }
}

/** Whether it held in this time; for what sends no event. */
export async function heldWithin(ms: number, holds: () => boolean): Promise<boolean> {
  const giveUpMs = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > giveUpMs) return false;
    await sleep(pollMs);
  }
  return true;
}

const pollMs = 10;
