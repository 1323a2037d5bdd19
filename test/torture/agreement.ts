/**
 * The end of a torture run: all is quiet, and every member must hold the same, down to the byte, with everything in it
 * that was ever acknowledged.
 */
import type { KvClient } from '../../src/index.js';
import type { HistoryOp, Shown } from '../../src/simulation/checkers/history.js';
import { equallyFar } from '../support/agreement.js';
import { withoutFiller } from '../support/workload.js';
import { monotonicMs } from './clock.js';
import { violationsOf } from '../support/verdict.js';
import type { World } from './world.js';

/** Ends the load. What is wrong, a line each; none if all is as it should be. */
export async function checkTheEnd(
  world: World,
  title: string,
): Promise<{ history: readonly HistoryOp[]; violations: readonly string[] }> {
  await world.heal();
  await world.untilWhole();
  const history = await world.load.end();
  const { members } = world.chain.newest;
  const statuses = await equallyFar(world.observer, members);
  const violations: string[] = [];
  for (const { address, stateHash } of statuses) {
    if (stateHash === statuses[0]?.stateHash) continue;
    violations.push(`${address} has another state hash than the head`);
  }
  const tables = await Promise.all(members.map((address) => readTable(world.observer, address)));
  const texts = tables.map((table) => JSON.stringify(table.entries));
  for (const [index, text] of texts.entries()) {
    if (text !== texts[0]) violations.push(`${members[index]} has another table than the head`);
  }
  world.checkNobodyHalted();
  // The tables as reads after everything else.
  const all = [...history, ...tables.map(({ op }) => op)];
  return { history, violations: [...violations, ...violationsOf(all, { title })] };
}

interface Table {
  /** Byte for byte, by key. */
  readonly entries: readonly (readonly [key: string, value: string, version: number])[];
  readonly op: HistoryOp;
}

async function readTable(client: KvClient, address: string): Promise<Table> {
  const startMs = monotonicMs();
  const snapshot = await client.snapshot({ at: address, timeoutMs: snapshotMsMax });
  const entries: (readonly [string, string, number])[] = [];
  for await (const { key, value, version } of snapshot) {
    entries.push([Buffer.from(key).toString(), Buffer.from(value).toString(), version]);
  }
  entries.sort(([one], [other]) => (one < other ? -1 : 1));
  const shown = entries.map(([key, value, version]): Shown => {
    return { key, value: withoutFiller(value), version };
  });
  const [epoch, seq] = snapshot.opId.split('-').map(Number) as [number, number];
  const op: HistoryOp = {
    kind: 'scan',
    client: observerNumber,
    startMs,
    endMs: monotonicMs(),
    outcome: 'ok',
    at: { epoch, seq },
    answer: { entries: shown },
  };
  return { entries, op };
}

const snapshotMsMax = 30_000;
const observerNumber = -1;
