/**
 * FAULTS Z1, Z2: an ensemble of three loses its leader, the member that holds a server's session, its quorum for a
 * minute. An intact chain goes on; a server that dies in that minute waits for the quorum.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { KvClient } from '../../src/index.js';
import { type Ensemble, runEnsemble } from '../../scripts/zookeeper-ensemble.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { deployTroubled, eventually, type Troubled } from '../support/troubled.js';
import { fourLetterWord, type LocalZooKeeper } from '../support/zookeeper.js';
import { connectedSessions } from '../support/zookeeper-operator.js';
import { checkEveryMember, judge, startChain } from './scenarios.js';

const minuteMs = 60_000;
const load = { clients: 4, keys: 50, pauseMs: 10 };

export async function ensembleInTrouble(t: ExecutionContext): Promise<void> {
  const ensemble = await runEnsemble(3);
  const deployment = await deployTroubled({ service: ensemble });
  try {
    await startChain(deployment, 3);
    const seen = [
      ...(await membersLost(t, deployment, ensemble)),
      ...(await quorumLost(t, deployment, ensemble)),
    ];
    judge(t, seen);
    await checkEveryMember(t, deployment, seen);
  } catch (error) {
    t.log(deployment.chain.lines.slice(-40).join('\n'));
    throw error;
  } finally {
    await deployment.remove();
  }
}

/** Z1: writes and reads are acknowledged all the while, and the chain stays as it is. */
async function membersLost(
  t: ExecutionContext,
  deployment: Troubled,
  ensemble: Ensemble,
): Promise<HistoryOp[]> {
  const before = deployment.chain.newest;
  const over = new AbortController();
  const loads = (async () => {
    const histories: HistoryOp[][] = [];
    while (!over.signal.aborted) {
      const label = `member-${histories.length}`;
      histories.push(await deployment.workload({ ...load, label, durationMs: 4_000 }));
    }
    return histories.flat();
  })();

  loads.catch(() => over.abort());
  try {
    await loseMembers(t, deployment, ensemble);
  } finally {
    over.abort();
  }
  const seen = await loads;
  const unanswered = seen.filter(({ outcome }) => outcome !== 'ok');
  t.deepEqual(unanswered, [], 'every op is answered');
  t.deepEqual(deployment.chain.newest, before, 'the chain is as it was');
  return seen;
}

/** First its leader is killed and comes back, then whichever member holds the session of server 1 is paused. */
async function loseMembers(
  t: ExecutionContext,
  deployment: Troubled,
  ensemble: Ensemble,
): Promise<void> {
  const leader = await ensemble.leader();
  await leader.stop();
  let next: LocalZooKeeper | undefined;
  await eventually(async () => {
    next = await ensemble.leader().catch(() => undefined);
    return next !== undefined;
  });
  t.not(next, leader, 'another member leads');
  await leader.start();

  const [holder, session] = await holderOf(deployment, ensemble, 1);
  await holder.pause();
  t.is(await fourLetterWord(holder.port, 'srvr'), '', 'it answers nothing');
  let elsewhere = holder;
  await eventually(async () => {
    [elsewhere] = await holderOf(deployment, ensemble, 1, holder);
    return elsewhere !== holder;
  });
  await holder.resume();
  const after = await deployment.sessionOf(1, elsewhere.port);
  t.log(`its session was ${after.id === session ? 'taken along' : 'replaced by another'}`);
}

/** The member of the ensemble to which this server's session is connected, other than `lost`. */
async function holderOf(
  deployment: Troubled,
  ensemble: Ensemble,
  number: number,
  lost?: LocalZooKeeper,
): Promise<[LocalZooKeeper, bigint]> {
  const members = ensemble.members.filter((member) => member !== lost);
  for (;;) {
    const { id } = await deployment.sessionOf(number, members[0]?.port as number);
    for (const member of members) {
      if ((await connectedSessions(member.port)).has(id)) return [member, id];
    }
  }
}

/** Z2. */
async function quorumLost(
  t: ExecutionContext,
  deployment: Troubled,
  ensemble: Ensemble,
): Promise<HistoryOp[]> {
  const before = deployment.chain.newest;
  const [first, second, left] = ensemble.members as [
    LocalZooKeeper,
    LocalZooKeeper,
    LocalZooKeeper,
  ];
  await Promise.all([first.stop(), second.stop()]);
  const lostAtMs = Date.now();
  await eventually(async () => !(await fourLetterWord(left.port, 'srvr')).includes('Mode:'));

  const intact = await deployment.workload({ ...load, label: 'intact', durationMs: minuteMs / 2 });
  t.deepEqual(
    intact.filter(({ outcome }) => outcome !== 'ok'),
    [],
    'an intact chain answers every op without a quorum',
  );
  t.deepEqual(deployment.chain.newest, before);

  const client = await deployment.connectClient();
  await client.put('clean', 'no write to it is under way');
  const rest = deployment.workload({ ...load, label: 'rest', durationMs: minuteMs / 2 + 12_000 });
  rest.catch(() => {});
  await sleep(2_000);
  const killedAtMs = Date.now();
  await deployment.kill(3);
  const reads = await readsUntilRefused(client, deployment.address(1));
  t.true(reads > 0, 'reads go on for the rest of the leases');
  await sleep(Math.max(0, lostAtMs + minuteMs - Date.now()));
  t.deepEqual(deployment.chain.newest, before, 'nobody can be removed without a quorum');
  t.false((await fourLetterWord(left.port, 'srvr')).includes('Mode:'), 'it was away all the time');
  const backAtMs = Date.now();
  t.true(backAtMs - lostAtMs >= minuteMs);
  await Promise.all([first.start(), second.start()]);
  await deployment.chain.until('server 3 removed', ({ members }) => members.length === 2);
  const seen = await rest;

  const answered = seen.filter(({ outcome }) => outcome === 'ok');
  const isBetween = ({ startMs, endMs }: HistoryOp): boolean =>
    startMs > killedAtMs + 100 && endMs < backAtMs;
  t.deepEqual(
    answered.filter((op) => op.kind === 'put' && isBetween(op)),
    [],
    'no write is acknowledged without the killed member, until it is removed',
  );
  const later = answered.filter(({ kind, startMs }) => kind === 'put' && startMs > backAtMs);
  t.true(later.length > 100, `only ${later.length} writes after the quorum was back`);
  t.log(
    `${intact.length} ops without a quorum, ${reads} reads after the kill, writes again ` +
      `${Math.round(Math.min(...later.map(({ endMs }) => endMs)) - backAtMs)} ms after the quorum was started`,
  );
  await deployment.start(3);
  await deployment.chain.untilMembers(3);
  return [...intact, ...seen];
}

/** How many reads one member answers until its lease is over. */
async function readsUntilRefused(client: KvClient, at: string): Promise<number> {
  for (let count = 0; ; count += 1) {
    try {
      await client.get('clean', { at, timeoutMs: 1_000 });
    } catch {
      return count;
    }
  }
}
