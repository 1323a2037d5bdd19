/**
 * Seeds that failed once, and what was wrong. Each runs in every CI; a seed that fails is added with the change that mends
 * it. A later change of the simulator may turn a seed into another run: then its bug is held by the test named beside it.
 */
export interface FailedSeed {
  readonly seed: number;
  readonly ticks: number;
  readonly bug: string;
}

export const failedSeeds: readonly FailedSeed[] = [];
