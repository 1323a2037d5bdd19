/**
 * Failover, as users meet it: load on a running cluster while members die, stop and return. Each
 * scenario is written once, for whatever deployment it is given.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { type HistoryOp, keyOf } from '../../src/simulation/checkers/history.js';
import type { Deployment } from '../support/deployment.js';
import { judgeHistory } from '../support/verdict.js';
import { withoutFiller } from '../support/workload.js';

/** A workload that ends sooner than this many answered ops proves nothing. */
const answeredMin = 500;

/** Starts servers 1..count one after the other, so that they stand in the chain in this order. */
export async function startChain(deployment: Deployment, count: number): Promise<void> {
  for (let number = 1; number <= count; number++) {
    await deployment.start(number);
    await deployment.chain.untilMembers(number);
  }
}

export interface KillsInTurn {
  readonly clients: number;
  readonly keys: number;
  readonly durationMs: number;
  readonly pauseMs: number;
}

/**
 * Head, middle and tail are killed with -9 and restarted in turn, under load. No acknowledged write is
 * missing anywhere, no read is stale, and each killed server comes back into the chain by itself.
 */
export async function killsInTurn(
  t: ExecutionContext,
  deployment: Deployment,
  load: KillsInTurn,
): Promise<void> {
  await startChain(deployment, 3);
  const numberOf = new Map([1, 2, 3].map((number) => [deployment.address(number), number]));
  const history = deployment.workload(load);
  const killedAtMs: number[] = [];
  const places = ['head', 'middle', 'tail'];
  const endMs = Date.now() + load.durationMs - 3_000;
  for (let turn = 0; Date.now() < endMs; turn++) {
    const place = turn % places.length;
    const { members } = await deployment.chain.untilMembers(3);
    const number = numberOf.get(members[place] as string) as number;
    await undisturbed(endMs);
    killedAtMs.push(Date.now());
    await deployment.kill(number);
    await deployment.chain.until(`server ${number} removed`, (chain) => {
      return !chain.members.includes(deployment.address(number));
    });
    await deployment.start(number);
  }
  await deployment.chain.untilMembers(3);
  const seen = await history;
  t.true(killedAtMs.length >= places.length, `only ${killedAtMs.length} kills happened`);
  judge(t, seen);
  reportPauses(t, seen, killedAtMs);
  await checkEveryMember(t, deployment, seen);
}

/** ZooKeeper goes away: reads and writes go on; it comes back: nothing breaks. */
export async function withoutZooKeeper(t: ExecutionContext, deployment: Deployment): Promise<void> {
  await startChain(deployment, 3);
  const before = deployment.chain.newest;
  await deployment.stopZooKeeper();
  const load = { clients: 4, keys: 50, pauseMs: 2 };
  const seen = await deployment.workload({ ...load, label: 'away', durationMs: 6_000 });
  t.deepEqual(
    seen.filter(({ outcome }) => outcome !== 'ok'),
    [],
    'every op is answered while ZooKeeper is away',
  );
  await deployment.startZooKeeper();
  const after = await deployment.workload({ ...load, label: 'back', durationMs: 3_000 });
  judge(t, [...seen, ...after]);
  t.deepEqual(deployment.chain.newest.members, before.members, 'no member was lost over it');
  await deployment.kill(1);
  await deployment.chain.untilMembers(2);
  t.is((await deployment.client(['put', 'after', 'all'])).code, 0);
}

/** A member is stopped for three seconds and goes on: it may neither answer stale nor ack. */
export async function pausedMember(t: ExecutionContext, deployment: Deployment): Promise<void> {
  await startChain(deployment, 3);
  const history = deployment.workload({ clients: 6, keys: 20, durationMs: 18_000, pauseMs: 2 });
  for (const number of [3, 2, 1]) {
    await sleep(1_000);
    const address = deployment.address(number);
    const { epoch } = deployment.chain.newest;
    await deployment.pause(number);
    await sleep(3_000);
    t.true(deployment.chain.newest.epoch > epoch, 'the others went on without it');
    await deployment.resume(number);
    await deployment.chain.until(`${address} back`, ({ members }) => members.length === 3);
  }
  const seen = await history;
  judge(t, seen);
  await checkEveryMember(t, deployment, seen);
}

/** All members are killed at once; started again in any order, they have every acknowledged write. */
export async function fullOutage(
  t: ExecutionContext,
  deployment: Deployment,
  orders: readonly (readonly number[])[],
): Promise<void> {
  await startChain(deployment, 3);
  let seen: HistoryOp[] = [];
  for (const order of orders) {
    const history = deployment.workload({
      label: order.join(''),
      clients: 4,
      keys: 30,
      // Long enough for traffic after the outage, on a slow machine too.
      durationMs: 14_000,
      pauseMs: 1,
    });
    await sleep(2_500);
    await Promise.all([1, 2, 3].map((number) => deployment.kill(number)));
    for (const number of order) await deployment.start(number);
    await deployment.chain.untilMembers(3);
    seen = [...seen, ...(await history)];
    judge(t, seen);
  }
  await checkEveryMember(t, deployment, seen);
}

/** A fourth server joins a chain that holds many keys and is being written to; all tables are equal. */
export async function fourthServer(
  t: ExecutionContext,
  deployment: Deployment,
  fill: () => Promise<void>,
): Promise<void> {
  await startChain(deployment, 3);
  await fill();
  const history = deployment.workload({ clients: 4, keys: 100, durationMs: 8_000, pauseMs: 2 });
  await sleep(1_000);
  await deployment.start(4);
  const { members } = await deployment.chain.untilMembers(4);
  t.is(members.at(-1), deployment.address(4), 'it joined at the tail');
  const seen = await history;
  t.true(
    seen.some(({ outcome, startMs, kind }) => outcome === 'ok' && kind === 'put' && startMs > 0),
    'writes went on',
  );
  judge(t, seen);
  const keys = await checkEveryMember(t, deployment, seen);
  t.true(keys >= 100_000, `only ${keys} keys`);
}

/** One linear order explains the history, and enough happened for that to mean something. */
export function judge(t: ExecutionContext, history: readonly HistoryOp[]): void {
  const answered = history.filter(({ outcome }) => outcome === 'ok').length;
  t.true(answered >= answeredMin, `only ${answered} ops were answered`);
  judgeHistory(t, history);
}

/** Reads the whole table at each member: equal byte for byte, and nothing acknowledged is missing. */
export async function checkEveryMember(
  t: ExecutionContext,
  deployment: Deployment,
  history: readonly HistoryOp[],
): Promise<number> {
  const tables: string[] = [];
  for (const address of deployment.chain.newest.members) {
    const { code, stdout, stderr } = await deployment.client(['--at', address, 'table', '--json']);
    t.is(code, 0, stderr);
    tables.push(stdout.split('\n').sort().join('\n'));
  }
  for (const table of tables) t.true(table === tables[0], 'the tables of all members are equal');
  const lines = (tables[0] as string).split('\n').filter((line) => line !== '');
  judgeHistory(t, [...history, ...finalReads(history, lines.map(entryOf))]);
  return lines.length;
}

interface TableEntry {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

/** Bytes that are no text stand there as an object. */
type Printed = string | object;

function entryOf(line: string): TableEntry {
  const entry = JSON.parse(line) as { key: Printed; value: Printed; version: number };
  return {
    key: textOf(entry.key),
    value: withoutFiller(textOf(entry.value)),
    version: entry.version,
  };
}

function textOf(printed: Printed): string {
  return typeof printed === 'string' ? printed : JSON.stringify(printed);
}

/** The table as reads after everything else, of a state that has whatever was answered. */
function finalReads(history: readonly HistoryOp[], table: readonly TableEntry[]): HistoryOp[] {
  const endMs = history.reduce((last, op) => Math.max(last, op.endMs), 0) + 1;
  const answered = history.map(({ at }) => at?.seq ?? 0);
  const seq = [...answered, ...table.map(({ version }) => version)].reduce(
    (newest, each) => Math.max(newest, each),
    0,
  );
  const entries = new Map(table.map((entry) => [entry.key, entry]));
  return [...new Set(history.flatMap((op) => keyOf(op) ?? []))].map((key): HistoryOp => {
    const entry = entries.get(key);
    const found = entry === undefined ? null : { value: entry.value, version: entry.version };
    const noted = {
      client: -1,
      startMs: endMs,
      endMs,
      outcome: 'ok',
      at: { epoch: 0, seq },
    } as const;
    return { ...noted, kind: 'get', key, answer: { found } };
  });
}

/** For how long no write was answered around each kill: printed, not judged. */
function reportPauses(
  t: ExecutionContext,
  history: readonly HistoryOp[],
  killedAtMs: readonly number[],
): void {
  const answers = history
    .filter(({ kind, outcome }) => kind === 'put' && outcome === 'ok')
    .map(({ endMs }) => endMs)
    .sort((a, b) => a - b);
  const pauses = killedAtMs.map((killed) => {
    const last = answers.filter((at) => at <= killed).at(-1) ?? killed;
    let longest = 0;
    let previous = last;
    for (const at of answers) {
      if (at <= last || previous > killed + 3_000) continue;
      longest = Math.max(longest, at - previous);
      previous = at;
    }
    return Math.round(longest);
  });
  const sorted = [...pauses].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  t.log(
    `${killedAtMs.length} kills, ${history.length} ops; longest pause of writes after each, ms: ` +
      `${pauses.join(' ')} (median ${middle}, worst ${sorted.at(-1)})`,
  );
}

/** Lets the chain work for a moment between two kills. */
async function undisturbed(endMs: number): Promise<void> {
  await sleep(Math.max(0, Math.min(1_000, endMs - Date.now())));
}
