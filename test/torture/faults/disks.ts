/** Faults of disks: FAULTS D4 to D7. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskFault } from '../../support/faulty-disk.js';
import type { Place } from '../world.js';
import {
  between,
  type Fault,
  type FaultMaker,
  heldWithin,
  oneOf,
  places,
  toServer,
  within,
} from './fault.js';

const endWaitMs = 20_000;
const MiB = 1024 * 1024;

type Fatal = 'sync' | 'write';

/** D5, D7: the log fails once; the server ends over it, and is started again. */
export function failsOnce(place: Place, operation: Fatal): Fault {
  return {
    kind: operation === 'sync' ? 'fsync fails once' : 'a write fails with EIO',
    rows: [operation === 'sync' ? 'D5' : 'D7'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        const before = world.injected(number).length;
        const process = world.process(number);
        world.mayEnd(process);
        const fault: DiskFault = { operation, path: '/log/', error: 'EIO', times: 1 };
        await world.setFaults(number, [fault]).catch(() => undefined);
        const ended = await within(endWaitMs, process.ended);
        const { lastLine } = ended ? await process.ended : { lastLine: '' };
        const saidWhy = /^kv-server: STORAGE: .*EIO/.test(lastLine);
        if (!ended) await world.kill(number);
        void world.restart(number);
        const failures = world.injected(number).length - before;
        return { what: `at the ${place}`, evidence: { failures, endsWithReason: Number(saidWhy) } };
      }),
  };
}

/** D6, D7: for so long its disk is like that; it lives. */
function suffers(kind: string, row: string, place: Place, fault: DiskFault, ms: number): Fault {
  return {
    kind,
    rows: [row],
    inject: (world) =>
      toServer(world, place, async (number) => {
        const before = world.injected(number).length;
        await world.setFaults(number, [fault]).catch(() => undefined);
        await sleep(ms);
        await world.setFaults(number, []).catch(() => undefined);
        const injected = world.injected(number).length - before;
        return { what: `at the ${place} for ${ms} ms`, evidence: { injected } };
      }),
  };
}

export function slowSync(place: Place, delayMs: number, ms: number): Fault {
  return suffers('fsync is slow', 'D6', place, { operation: 'sync', path: '/log/', delayMs }, ms);
}

export function shortWrites(place: Place, ms: number): Fault {
  return suffers('short writes', 'D7', place, { operation: 'write', bytes: 40 }, ms);
}

/** D4: no room for as much as it takes until it says so; then there is. */
function diskFull(place: Place): Fault {
  return {
    kind: 'disk full',
    rows: ['D4'],
    inject: (world) =>
      toServer(world, place, async (number) => {
        const { lines } = world.process(number);
        const from = lines.length;
        await world.setRoom(number, 0).catch(() => undefined);
        const isFull = (): boolean =>
          lines.slice(from).some((line) => line.includes('waits for room'));
        const waited = await heldWithin(endWaitMs, isFull);
        await world.setRoom(number, 1_000 * MiB).catch(() => undefined);
        return { what: `at the ${place}`, evidence: { waitsForRoom: Number(waited) } };
      }),
  };
}

export const diskFaults: readonly FaultMaker[] = [
  (random) => failsOnce(oneOf(random, places), 'sync'),
  (random) => failsOnce(oneOf(random, places), 'write'),
  (random) =>
    slowSync(oneOf(random, places), between(random, 100, 2_000), between(random, 1_000, 4_000)),
  (random) => shortWrites(oneOf(random, places), between(random, 1_000, 4_000)),
  (random) => diskFull(oneOf(random, places)),
];
