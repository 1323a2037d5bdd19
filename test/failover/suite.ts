/** The failover scenarios as tests of one kind of deployment: listed once, run on processes and on containers. */
import type { ExecutionContext, TestFn } from 'ava';
import type { Deployment } from '../support/deployment.js';
import { playOn } from '../support/scenario.js';
import {
  fourthServer,
  fullOutage,
  killsInTurn,
  pausedMember,
  withoutZooKeeper,
} from './scenarios.js';

export interface FailoverSuite<D extends Deployment> {
  /** Made for each scenario anew, and removed after it. */
  deploy(): Promise<D>;
  /** Puts this many keys, fast. */
  fill(deployment: D, keys: number): Promise<void>;
  /** In which the members start again after each full outage. */
  readonly orders: readonly (readonly number[])[];
  /** Torture runs (test/torture) stop members of this kind of deployment: until the others went on, and for less. */
  readonly leavesStopsToTorture?: boolean;
}

/** `test` must be serial: how long writes are away after a kill means something only then. */
export function failoverTests<D extends Deployment>(test: TestFn, suite: FailoverSuite<D>): void {
  const scenario = (
    name: string,
    play: (t: ExecutionContext, deployment: D) => Promise<void>,
  ): void => {
    test(
      name,
      playOn(() => suite.deploy(), play),
    );
  };

  scenario('head, middle and tail killed in turn under load: nothing lost, nothing stale', (t, d) =>
    killsInTurn(t, d, { clients: 8, keys: 200, durationMs: 20_000, pauseMs: 1 }),
  );
  scenario('ZooKeeper killed and started: reads and writes go on', withoutZooKeeper);
  if (suite.leavesStopsToTorture !== true) {
    scenario('members stopped for three seconds: no stale read, nothing lost', pausedMember);
  }
  scenario('all killed at once, started in any order: every acknowledged write is there', (t, d) =>
    fullOutage(t, d, suite.orders),
  );
  scenario('a fourth server joins 100,000 keys while writes go on: tables are equal', (t, d) =>
    fourthServer(t, d, () => suite.fill(d, 100_000)),
  );
}
