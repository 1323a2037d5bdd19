/**
 * Torture: for some minutes one to three faults at a time, dealt by a seed from a deck in which every kind lies, so
 * that each comes before any comes again too often. After most rounds all is mended and the chain must be whole within a
 * bound; the next round then begins. Some rounds begin before that, and meet servers that still come back.
 *
 * The seed repeats which faults come, with whom, for how long; what the machine makes of them it does not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, randomFrom, shuffled } from '../support/random.js';
import { checkTheEnd } from './agreement.js';
import { monotonicMs } from './clock.js';
import { diskFaults } from './faults/disks.js';
import { type Fault, type FaultMaker, happened, type Injection } from './faults/fault.js';
import { networkFaults } from './faults/network.js';
import { processFaults } from './faults/processes.js';
import { zookeeperFaults } from './faults/zookeeper.js';
import type { Traffic } from './load.js';
import { type KindTally, type MixReport, tallyOf } from './mix-report.js';
import type { World } from './world.js';

export interface MixOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** Ends it early, as a run that is over. */
  readonly signal: AbortSignal;
}

/** Between two rounds, so that each meets a chain at work. */
const trafficMin: Traffic = { reads: 50, writes: 50 };
const faultsMax = 3;
/** Those of one round begin within this. */
const roundSpreadMs = 1_500;
/** One round in so many is followed by the next before the chain is whole. */
const hurryEvery = 5;

interface Round {
  readonly number: number;
  readonly faults: readonly { readonly fault: Fault; readonly afterMs: number }[];
  readonly isHurried: boolean;
}

export async function torture(world: World, options: MixOptions): Promise<MixReport> {
  const { minutes, seed, say, signal } = options;
  const startMs = monotonicMs();
  const endMs = startMs + minutes * 60_000;
  const tallies = new Map<string, KindTally>();
  const rounds: { readonly fromMs: number; readonly text: string }[] = [];
  for (const round of roundsOf(randomFrom(seed), makersFor(world))) {
    if (monotonicMs() >= endMs || signal.aborted) break;
    for (const { fault } of round.faults) tallyOf(tallies, fault);
    world.load.setPrefix(`round-${round.number}`);
    const fromMs = monotonicMs();
    rounds.push({ fromMs, text: round.faults.map(({ fault }) => fault.kind).join(' + ') });
    const outcomes = await Promise.all(
      round.faults.map(async ({ fault, afterMs }) => {
        await sleep(afterMs);
        const injection = await fault.inject(world, sleep);
        const isMissed = injection === undefined || !happened(injection);
        tallyOf(tallies, fault)[isMissed ? 'missed' : 'happened'] += 1;
        return { fault, isMissed, said: `${fault.kind}: ${textOf(injection)}` };
      }),
    );
    world.checkNobodyHalted();
    const said = `${secondsSince(startMs)} s, round ${round.number}: ${outcomes.map((each) => each.said).join('; ')}`;
    if (round.isHurried) {
      say(`${said}; on without a pause`);
      continue;
    }
    const recoveryMs = await recover(world);
    const met = outcomes.filter(({ isMissed }) => !isMissed).map(({ fault }) => fault);
    for (const fault of met) {
      const tally = tallyOf(tallies, fault);
      if (recoveryMs <= tally.slowestMs) continue;
      tally.slowestMs = recoveryMs;
      tally.slowestWith = met.map(({ kind }) => kind).join(' + ');
    }
    say(`${said}; whole ${Math.round(recoveryMs)} ms later`);
  }
  const runMs = monotonicMs() - startMs;
  const { history, violations } = await checkTheEnd(world, `torture-${seed}`);
  return { seed, runMs, startMs, history, violations, tallies, rounds, silences: world.silences };
}

/** Mends everything; answers after how long the chain was whole. */
async function recover(world: World): Promise<number> {
  const mendedMs = monotonicMs();
  await world.heal();
  await world.untilWhole();
  const wholeMs = monotonicMs();
  await world.load.until(trafficMin, wholeMs, 'once the chain was whole');
  world.checkNobodyHalted();
  return wholeMs - mendedMs;
}

export function makersFor(world: Pick<World, 'options'>): readonly FaultMaker[] {
  return [
    ...networkFaults,
    ...processFaults(world.options.servers),
    ...diskFaults,
    ...zookeeperFaults,
  ];
}

/** Endless. All that is random about a round is drawn before it begins. */
export function* roundsOf(random: Random, makers: readonly FaultMaker[]): Generator<Round> {
  let deck: FaultMaker[] = [];
  for (let number = 1; ; number++) {
    const count = 1 + random(faultsMax);
    if (deck.length < count) deck = [...deck, ...shuffled(random, makers)];
    const faults = deck.splice(0, count).map((make) => {
      return { fault: make(random), afterMs: random(roundSpreadMs) };
    });
    yield { number, faults, isHurried: random(hurryEvery) === 0 };
  }
}

function textOf(injection: Injection | undefined): string {
  if (injection === undefined) return 'not now';
  const counts = Object.entries(injection.evidence);
  const evidence = counts.map(([name, count]) => `${name} ${Math.round(count)}`).join(', ');
  return `${injection.what} (${evidence})`;
}

function secondsSince(startMs: number): string {
  return ((monotonicMs() - startMs) / 1_000).toFixed(0);
}
