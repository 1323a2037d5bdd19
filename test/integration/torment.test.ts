/**
 * P1, P5, P6, D2: for two minutes random servers are killed with -9 at random moments under load, all of them at
 * once every 20 s, and whatever was not synced is gone each time. Afterwards nothing acknowledged is missing.
 *
 * `CATENA_SEED=N` repeats the moments and the victims of a run (not what the machine makes of them);
 * `CATENA_TORMENT_SECONDS=N` is for trying it out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { logRetainBytesMin } from '../../src/limits.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { checkEveryMember } from '../failover/scenarios.js';
import { checkStateHashes } from '../support/agreement.js';
import { deployFaulty, type FaultyDeployment } from '../support/faulty-deployment.js';
import { type Random, randomFrom, shuffled } from '../support/random.js';
import { serialTestUnless } from '../support/requirement.js';
import { judgeHistory } from '../support/verdict.js';
import { missingZooKeeper } from '../support/zookeeper.js';

const seconds = Number(process.env['CATENA_TORMENT_SECONDS'] ?? 120);
const seed = Number(process.env['CATENA_SEED'] ?? Date.now() % 1_000_000_000);

const numbers = [1, 2, 3];
const load = { clients: 8, keys: 400, pauseMs: 4, valueBytes: 2_000 };
const outageEveryMs = 20_000;
/** Long enough for a write to be under way at most moments, short enough for some hundred a second. */
const flushMs = 1;

/** A run with less than this proves nothing. */
const minimum = {
  kills: seconds / 4,
  acknowledged: seconds * 20,
  outages: Math.floor(seconds / 30),
};

interface Kills {
  count: number;
  outages: number;
  /** With bytes, or names, of files that were not synced. */
  losingBytes: number;
  losingNames: number;
  lostBytes: number;
}

const test = serialTestUnless(await missingZooKeeper());

test('P1 P5 P6 D2: kill -9 at random for two minutes, of all every 20 s, losing what was not synced', async (t) => {
  t.timeout((seconds + 120) * 1_000);
  t.log(`to repeat: CATENA_SEED=${seed}`);
  const deployment = await deployFaulty({
    serverOptions: ['--revive-grace', '500', '--log-retain', String(logRetainBytesMin)],
    writeBack: { flushMs },
  });
  try {
    await torment(t, deployment);
  } catch (error) {
    t.log(deployment.chain.lines.slice(-60).join('\n'));
    throw error;
  } finally {
    await deployment.remove();
  }
});

async function torment(t: ExecutionContext, deployment: FaultyDeployment): Promise<void> {
  for (const number of numbers) await deployment.start(number);
  await deployment.chain.untilMembers(3);
  const endMs = Date.now() + seconds * 1_000;
  const history = deployment.workload({ ...load, durationMs: seconds * 1_000 + 2_000 });
  const kills = await killUntil(endMs, deployment, randomFrom(seed));
  await nobodyHalted(deployment);
  await deployment.chain.untilMembers(3);
  const seen = await history;

  report(t, kills, seen);
  t.true(kills.count >= minimum.kills, `only ${kills.count} kills`);
  t.true(kills.outages >= minimum.outages, `only ${kills.outages} outages`);
  t.true(kills.losingBytes > 0, 'no kill discarded bytes that were not synced');
  t.true(kills.losingNames > 0, 'no kill discarded a name that was not synced');
  const acknowledged = seen.filter(({ kind, outcome }) => kind === 'put' && outcome === 'ok');
  t.true(acknowledged.length >= minimum.acknowledged, `only ${acknowledged.length} writes`);

  judgeHistory(t, seen);
  await checkEveryMember(t, deployment, seen);
  const statuses = await checkStateHashes(t, deployment);
  for (const { address, disk } of statuses) {
    t.true(disk.snapshotSeq > 0 && disk.logFirstSeq > 1, `${address} took no snapshot, cut no log`);
  }
  await nobodyHalted(deployment);
}

/** Until then; afterwards every server has been started and none is killed any more. */
async function killUntil(
  endMs: number,
  deployment: FaultyDeployment,
  random: Random,
): Promise<Kills> {
  const kills: Kills = { count: 0, outages: 0, losingBytes: 0, losingNames: 0, lostBytes: 0 };
  const kill = async (number: number): Promise<void> => {
    await deployment.kill(number);
    const { bytes, names } = deployment.unsynced(number);
    kills.count += 1;
    kills.losingBytes += bytes > 0 ? 1 : 0;
    kills.losingNames += names > 0 ? 1 : 0;
    kills.lostBytes += bytes;
  };
  const starting = new Map<number, Promise<void>>();
  const startLater = (number: number, delayMs: number): void => {
    const started = sleep(delayMs).then(() => {
      starting.delete(number);
      // It may be killed before it serves; an end of its own is found at the end.
      deployment.start(number).catch(() => undefined);
    });
    starting.set(number, started);
  };
  let outageAtMs = Date.now() + outageEveryMs;
  while (Date.now() < endMs) {
    await nobodyHalted(deployment);
    // Most kills let the chain recover; some come so soon that they meet a server that starts or rejoins.
    await sleep(Math.min(random(4) === 0 ? random(300) : 500 + random(2_500), endMs - Date.now()));
    const running = numbers.filter((number) => !starting.has(number));
    if (Date.now() >= outageAtMs) {
      outageAtMs += outageEveryMs;
      kills.outages += 1;
      await Promise.all(running.map(kill));
      const all = shuffled(random, numbers);
      await Promise.all(starting.values());
      for (const number of all.filter((each) => running.includes(each))) {
        startLater(number, random(1_000));
      }
      continue;
    }
    const victim = running[random(Math.max(1, running.length))];
    if (victim === undefined) continue;
    await kill(victim);
    startLater(victim, random(1_500));
  }
  await Promise.all(starting.values());
  return kills;
}

/** Nobody ended but by our hand, or found its data damaged: whoever halts has found somebody wrong. */
async function nobodyHalted({ processes }: FaultyDeployment): Promise<void> {
  for (const { child, ended, lines } of processes) {
    // It would heal that by itself, as long as others live: a lost sync must not pass as rot.
    const damage = lines.find((line) => line.includes('data damaged'));
    if (damage !== undefined) throw new Error(damage);
    if (child.exitCode === null) continue;
    const { code } = await ended;
    throw new Error(`a server ended by itself, with ${code}:\n${lines.slice(-10).join('\n')}`);
  }
}

function report(t: ExecutionContext, kills: Kills, seen: readonly HistoryOp[]): void {
  const puts = seen.filter(({ kind }) => kind === 'put');
  const count = (outcome: HistoryOp['outcome']): number =>
    puts.filter((put) => put.outcome === outcome).length;
  t.log(
    `${kills.count} kills, ${kills.outages} of all at once; ${kills.losingBytes} discarded bytes ` +
      `(${kills.lostBytes} in all), ${kills.losingNames} names; writes: ${count('ok')} acknowledged, ` +
      `${count('unknown')} unknown, ${count('failed')} refused; ${seen.length - puts.length} reads`,
  );
}
