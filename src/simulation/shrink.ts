/**
 * Finds a shorter run that fails: fewer faults (delta debugging, Zeller & Hildebrandt 2002: whole halves are left out
 * first, then smaller parts), then fewer ticks. Any failure counts as the failure.
 */
import { Simulation, SimulationFailure, type SimulationOptions } from './simulation.js';

export interface Shrunk {
  readonly options: SimulationOptions;
  readonly failure: SimulationFailure;
  readonly runs: number;
}

/** `runsMax`: so many runs are tried at most. */
export async function shrink(
  options: SimulationOptions,
  failure: SimulationFailure,
  runsMax: number,
): Promise<Shrunk> {
  let best: Shrunk = { options, failure, runs: 0 };
  let runs = 0;
  const mayTry = (): boolean => runs < runsMax;
  const fails = async (tried: SimulationOptions): Promise<boolean> => {
    runs += 1;
    const found = await failureOf(tried);
    if (found !== undefined) best = { options: tried, failure: found, runs };
    return found !== undefined;
  };
  let strikes = failure.strikes.map(({ number }) => number);
  for (let parts = 2; strikes.length > 0 && mayTry(); ) {
    const size = Math.ceil(strikes.length / parts);
    let isSmaller = false;
    for (let from = 0; from < strikes.length && mayTry(); from += size) {
      const rest = [...strikes.slice(0, from), ...strikes.slice(from + size)];
      if (!(await fails({ ...best.options, strikes: new Set(rest) }))) continue;
      strikes = rest;
      isSmaller = true;
      break;
    }
    if (isSmaller) parts = Math.max(2, parts - 1);
    else if (size === 1) break;
    else parts = Math.min(strikes.length, parts * 2);
  }
  for (let step = best.options.ticks / 2; step >= 100 && mayTry(); step /= 2) {
    const ticks = Math.round(best.options.ticks - step);
    if (ticks > 0) await fails({ ...best.options, ticks });
  }
  return { ...best, runs };
}

/** Undefined: the run passes. */
async function failureOf(options: SimulationOptions): Promise<SimulationFailure | undefined> {
  try {
    await new Simulation(options).run();
    return undefined;
  } catch (error) {
    if (error instanceof SimulationFailure) return error;
    throw error;
  }
}
