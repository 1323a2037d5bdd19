/**
 * One fault, one run: traffic, the fault, traffic until the chain is whole again, a verdict on what clients saw. Void,
 * and that is a failure, where the fault did not happen or the traffic was too low to show anything.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from './clock.js';
import { type Fault, happened, type Injection } from './faults/fault.js';
import { violationsOf } from '../support/verdict.js';
import type { Traffic } from './load.js';
import type { World } from './world.js';

/** Answered before the fault, and again once the chain is whole: with less a run proves nothing. */
const trafficMin: Traffic = { reads: 60, writes: 60 };
/** Answered while the fault is there, of what is to go on then. */
const goesOnMin = 40;

export interface ShortRun {
  readonly injection: Injection;
  readonly before: Traffic;
  readonly during: Traffic;
  readonly faultMs: number;
  /** From the end of the fault until the chain was whole. */
  readonly recoveryMs: number;
  readonly violations: readonly string[];
}

/** Throws where the run is void or the chain does not come back. */
export async function shortRun(world: World, fault: Fault, prefix: string): Promise<ShortRun> {
  const { load } = world;
  const beginMs = monotonicMs();
  load.setPrefix(prefix);
  await load.until(trafficMin, beginMs, 'before the fault');
  const faultAtMs = monotonicMs();
  const before = load.answered(beginMs, faultAtMs);
  const { goesOn = [] } = fault;
  const meanwhile = {
    reads: goesOn.includes('reads') ? goesOnMin : 0,
    writes: goesOn.includes('writes') ? goesOnMin : 0,
  };
  const injection = await fault.inject(world, async (ms) => {
    await sleep(ms);
    // However slow the machine is: it ends once they were seen, and fails without them.
    await load.until(meanwhile, faultAtMs, 'during the fault');
  });
  const healedAtMs = monotonicMs();
  if (injection === undefined) throw new Error('void: there was nothing to do it to');
  await world.untilWhole();
  const wholeAtMs = monotonicMs();
  await load.until(trafficMin, wholeAtMs, 'after the fault');
  world.checkNobodyHalted();
  if (!happened(injection)) {
    throw new Error(`void: it did not happen: ${JSON.stringify(injection)}`);
  }
  const faultMs = healedAtMs - faultAtMs;
  const during = load.answered(faultAtMs, healedAtMs);
  const own = load.ops.filter((op) => 'key' in op && op.key.startsWith(`${prefix}.`));
  const violations = violationsOf(own, { title: fault.kind, isPart: true });
  const recoveryMs = wholeAtMs - healedAtMs;
  return { injection, before, during, faultMs, recoveryMs, violations };
}
