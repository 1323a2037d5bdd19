/**
 * The black box: are the answers of each key linearizable, whatever the op ids say? A search for an order of the calls
 * that respects real time and in which the model gives every answer.
 *
 * Wing & Gong, "Testing and Verifying Concurrent Objects" (1993); configurations are remembered as in Lowe, "Testing for
 * Linearizability" (2017); key by key, since a history is linearizable if and only if that of each object is (Herlihy &
 * Wing 1990; P-compositionality: Horn & Kroening 2015). Scans are judged as a read of each key.
 *
 * An answered call must be placed between its start and its end. An unknown write may be placed anywhere after its
 * start, or nowhere. The search counts the configurations that it visits; past the budget it gives up, which is no ok.
 */
import { type Finding, showOp } from './finding.js';
import { type Answer, type HistoryOp, isRead, type KeyOperation, keyOf } from './history.js';
import { type Call, searchKey } from './search.js';

interface BlackBoxOptions {
  /** Configurations of all keys together. */
  readonly configurationsMax?: number;
}

interface BlackBoxResult {
  readonly findings: readonly Finding[];
  /** Keys that the budget did not suffice for. */
  readonly gaveUp: readonly string[];
  readonly configurations: number;
}

/** Some seconds, and some hundred MB. */
const configurationsMaxDefault = 1_000_000;

export function checkBlackBox(
  history: readonly HistoryOp[],
  { configurationsMax = configurationsMaxDefault }: BlackBoxOptions = {},
): BlackBoxResult {
  const findings: Finding[] = [];
  const gaveUp: string[] = [];
  let configurations = 0;
  for (const [key, calls] of callsByKey(history)) {
    const outcome = searchKey(calls, configurationsMax - configurations);
    configurations += outcome.configurations;
    if (outcome.result === 'gave up') gaveUp.push(key);
    else if (outcome.result === 'violated') {
      const { placed, blocked, expected } = outcome;
      const [first] = blocked;
      const instead = expected === undefined ? '' : `, there it would answer ${expected}`;
      const line =
        `key ${key}: no order explains all answers; the best one explains ${placed} of ` +
        `${calls.length}, not ${first === undefined ? '' : showOp(first)}${instead}`;
      findings.push({ line, ops: blocked });
    }
  }
  return { findings, gaveUp, configurations };
}

function callsByKey(history: readonly HistoryOp[]): Map<string, Call[]> {
  const byKey = new Map<string, Call[]>();
  const scans: HistoryOp[] = [];
  const add = (key: string, call: Call): void => {
    const calls = byKey.get(key);
    if (calls === undefined) byKey.set(key, [call]);
    else calls.push(call);
  };
  for (const by of history) {
    if (by.kind === 'scan') scans.push(by);
    if (by.kind === 'scan' || by.kind === 'size') continue;
    if (by.outcome === 'failed' || (by.outcome === 'unknown' && isRead(by))) continue;
    const answer = by.outcome === 'ok' ? (by.answer ?? {}) : undefined;
    add(by.key, { op: by, answer, by });
  }
  const keys = new Set(history.map(keyOf));
  for (const by of scans) {
    if (by.outcome !== 'ok' || by.answer?.entries === undefined) continue;
    const shown = new Map(by.answer.entries.map((entry) => [entry.key, entry]));
    for (const key of keys) {
      if (key === undefined) continue;
      const call = readOf(key, shown.get(key));
      if (call !== undefined) add(key, { ...call, by });
    }
  }
  return byKey;
}

/** What a scan shows of one key; undefined if it says no more than that there is something. */
function readOf(
  key: string,
  entry: { readonly value?: string; readonly version?: number } | undefined,
): { op: KeyOperation; answer: Answer } | undefined {
  const op: KeyOperation = { kind: 'get', key };
  if (entry === undefined) return { op, answer: { found: null } };
  const { value, version } = entry;
  if (value === undefined) return undefined;
  return { op, answer: { found: version === undefined ? { value } : { value, version } } };
}
