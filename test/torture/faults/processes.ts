/** Faults of processes and of servers that come and go: FAULTS P1 to P3, P5, P6, C1, D2, O1, O2. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, randomFrom, shuffled } from '../../support/random.js';
import { claimOf, leaseMs, type Place, type World } from '../world.js';
import {
  between,
  claimed,
  type Fault,
  type FaultMaker,
  heldWithin,
  type Injection,
  oneOf,
  places,
  toServer,
  within,
} from './fault.js';

/** A change of the chain that must come; where ZooKeeper is away it may come later than one waits here. */
const changeWaitMs = 20_000;
const minuteMs = 60_000;

function hasMember(world: World, number: number): boolean {
  return world.chain.newest.members.includes(world.address(number));
}

/** P1: kill -9, and what was not synced is lost. */
export function killed(place: Place, downMs: number): Fault {
  return {
    kind: `kill -9 of the ${place}`,
    rows: ['P1', 'D2'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        await world.kill(number);
        await sleep(downMs);
        void world.restart(number);
        return { what: `back after ${downMs} ms`, evidence: { kills: 1 } };
      }),
  };
}

/** P1, D1, D2: kill -9 while a write is half on the disk. */
export function killedWhileWriting(place: Place, downMs: number): Fault {
  return {
    kind: 'kill -9 that tears a write',
    rows: ['P1', 'D1', 'D2'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        // A slow disk: so that the kill meets a write that is under way.
        await world.setFlush(number, writeMs);
        await heldWithin(changeWaitMs, () => (world.unsynced(number).torn ?? 0) > 0);
        await world.kill(number);
        const { bytes, torn = 0 } = world.unsynced(number);
        await sleep(downMs);
        void world.restart(number);
        return {
          what: `the ${place}, ${bytes} bytes lost`,
          evidence: { tornWrites: torn, lostBytes: bytes },
        };
      }),
  };
}

const writeMs = 200;

/** P1, P5: all at once; they come back one after the other. */
export function allKilled(random: Random, apartMs: number): Fault {
  return {
    kind: 'kill -9 of all',
    rows: ['P1', 'P5', 'D2'],
    async inject(world) {
      const numbers = [...world.running];
      if (numbers.length < world.options.servers) return undefined;
      return claimed(world, numbers.map(claimOf.server), async () => {
        await Promise.all(numbers.map((number) => world.kill(number)));
        const order = shuffled(random, numbers);
        for (const number of order) {
          await sleep(apartMs);
          void world.restart(number);
        }
        return {
          what: `back as ${order.join()}, ${apartMs} ms apart`,
          evidence: { kills: numbers.length },
        };
      });
    },
  };
}

/** P6: killed again as soon as it is started, and again while it rejoins. */
export function crashLoop(place: Place): Fault {
  return {
    kind: 'crash loop',
    rows: ['P6'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        let kills = 0;
        for (const livesMs of [50, 300, 700]) {
          await world.kill(number);
          kills += 1;
          void world.restart(number);
          await sleep(livesMs);
        }
        return { what: `the ${place}`, evidence: { kills } };
      }),
  };
}

/** P2: SIGSTOP, SIGCONT. */
export function stopped(place: Place, leases: number): Fault {
  return {
    kind: `stopped for ${leases} ${leases === 1 ? 'lease' : 'leases'}`,
    rows: ['P2'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        await world.pause(number);
        await sleep(leases * leaseMs);
        await world.resume(number);
        return { what: `the ${place}`, evidence: { stops: 1 } };
      }),
  };
}

/** P2: it wakes up in a chain that went on without it. */
export function stoppedAcross(place: Place): Fault {
  return {
    kind: 'stopped until the chain went on without it',
    rows: ['P2'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        await world.pause(number);
        const removed = await heldWithin(changeWaitMs, () => !hasMember(world, number));
        await world.resume(number);
        return { what: `the ${place}`, evidence: { removals: Number(removed) } };
      }),
  };
}

/** P3: its process runs, and does nothing. */
export function blocked(place: Place, ms: number): Fault {
  return {
    kind: 'event loop blocked',
    rows: ['P3'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        const blockedMs = await world.block(number, ms).catch(() => 0);
        return { what: `the ${place} for ${ms} ms`, evidence: { blockedMs } };
      }),
  };
}

/** C1: there and back. */
export function clockJumped(place: Place, minutes: number): Fault {
  return {
    kind: 'wall clock jumps',
    rows: ['C1'],
    goesOn: ['reads', 'writes'],
    inject: (world, hold) =>
      toServer(world, place, async (number) => {
        await world.setClockAhead(number, minutes * minuteMs);
        await hold(jumpMs);
        const looks = await world.setClockAhead(number, 0).catch(() => 0);
        return { what: `the ${place} by ${minutes} minutes`, evidence: { looksAtTheClock: looks } };
      }),
  };
}

const jumpMs = 1_500;

/** O1: it leaves in good order, and comes back. */
export function leftAndReturned(place: Place): Fault {
  return {
    kind: 'left in good order and returned',
    rows: ['O1'],
    inject: (world) => toServer(world, place, (number) => leaveAndReturn(world, number)),
  };
}

/** O1: one after the other. */
function rollingRestart(): Fault {
  return {
    kind: 'rolling restart',
    rows: ['O1'],
    goesOn: ['reads', 'writes'],
    async inject(world) {
      const numbers = [...world.running];
      return claimed(world, numbers.map(claimOf.server), async () => {
        let leaves = 0;
        for (const number of numbers) {
          const { evidence } = await leaveAndReturn(world, number);
          leaves += evidence['leaves'] as number;
          if (!(await heldWithin(changeWaitMs, () => hasMember(world, number)))) break;
        }
        return { what: `of ${numbers.length}`, evidence: { leaves } };
      });
    },
  };
}

async function leaveAndReturn(world: World, number: number): Promise<Injection> {
  const leaving = world.stop(number);
  // Whoever cannot leave goes after some seconds anyway; a stopped or stuck one never.
  const isGone = await within(changeWaitMs, leaving);
  if (!isGone) await world.kill(number).catch(() => undefined);
  const left = isGone && (await leaving) === 0;
  void world.restart(number);
  return { what: `server ${number}`, evidence: { leaves: Number(left) } };
}

/** O2: a further server joins, and leaves again. */
export function joinedAndLeft(number: number, staysMs: number): Fault {
  return {
    kind: 'another server joins and leaves',
    rows: ['O2'],
    goesOn: ['reads', 'writes'],
    inject: (world, hold) =>
      claimed(world, [claimOf.server(number)], async () => {
        void world.restart(number);
        const joined = await heldWithin(2 * changeWaitMs, () => hasMember(world, number));
        await hold(staysMs);
        const leaving = world.stop(number);
        const left = await within(changeWaitMs, leaving);
        if (!left) await world.kill(number).catch(() => undefined);
        return {
          what: `server ${number}`,
          evidence: { joins: Number(joined), leaves: Number(left) },
        };
      }),
  };
}

const seedsMax = 1_000_000_000;
const stops = [0.5, 1, 3] as const;
const minutesOfJumps = [-60, -10, 10, 60] as const;

export function processFaults(servers: number): readonly FaultMaker[] {
  return [
    ...places.map(
      (place): FaultMaker =>
        (random) =>
          killed(place, random(2_000)),
    ),
    (random) => killedWhileWriting(oneOf(random, places), random(1_000)),
    (random) => allKilled(randomFrom(random(seedsMax)), random(800)),
    (random) => crashLoop(oneOf(random, places)),
    ...stops.map(
      (leases): FaultMaker =>
        (random) =>
          stopped(oneOf(random, places), leases),
    ),
    (random) => stoppedAcross(oneOf(random, places)),
    (random) => blocked(oneOf(random, places), between(random, 300, 3_000)),
    (random) => clockJumped(oneOf(random, places), oneOf(random, minutesOfJumps)),
    (random) => leftAndReturned(oneOf(random, places)),
    () => rollingRestart(),
    (random) => joinedAndLeft(servers + 1 + random(2), random(2_000)),
  ];
}
