/** What is told of a torture run at its end, and whether it was one: every kind of fault must have happened. */
import { type HistoryOp, isRead } from '../../src/simulation/checkers/history.js';
import type { Fault } from './faults/fault.js';
import type { Silence } from './world.js';

export interface KindTally {
  readonly rows: readonly string[];
  happened: number;
  /** Its server was taken, or nothing went where it was. */
  missed: number;
  /** Until the chain was whole again. */
  slowestMs: number;
  /** All that had been broken then. */
  slowestWith: string;
}

export interface MixReport {
  readonly seed: number;
  readonly runMs: number;
  readonly startMs: number;
  readonly history: readonly HistoryOp[];
  readonly violations: readonly string[];
  readonly tallies: ReadonlyMap<string, KindTally>;
  readonly rounds: readonly { readonly fromMs: number; readonly text: string }[];
  readonly silences: readonly Silence[];
}

/** A shorter run need not have met every kind. */
const allKindsMs = 10 * 60_000;

export function tallyOf(tallies: Map<string, KindTally>, { kind, rows }: Fault): KindTally {
  let tally = tallies.get(kind);
  if (tally === undefined) {
    tally = { rows, happened: 0, missed: 0, slowestMs: 0, slowestWith: '' };
    tallies.set(kind, tally);
  }
  return tally;
}

/** Why it does not count; none if it does. `kinds`: all that there are. */
export function shortcomings(report: MixReport, kinds: readonly string[]): string[] {
  const found = [...report.violations];
  if (report.runMs >= allKindsMs) {
    for (const kind of kinds) {
      const { happened } = report.tallies.get(kind) ?? { happened: 0 };
      if (happened === 0) found.push(`void: '${kind}' never happened`);
    }
  }
  const answered = report.history.filter(({ outcome }) => outcome === 'ok').length;
  const wanted = (report.runMs / 1_000) * answeredPerSecondMin;
  if (answered < wanted) found.push(`void: only ${answered} ops were answered`);
  return found;
}

const answeredPerSecondMin = 20;

export function reportLines(report: MixReport): string[] {
  const { history, runMs, rounds, tallies, seed } = report;
  const seconds = runMs / 1_000;
  const lines = [
    `seed ${seed}, ${(seconds / 60).toFixed(1)} minutes, ${rounds.length} rounds, ${history.length} ops`,
  ];
  for (const [name, ops] of [
    ['reads', history.filter(isRead)],
    ['writes', history.filter((op) => !isRead(op))],
  ] as const) {
    const count = (outcome: HistoryOp['outcome']): number =>
      ops.filter((op) => op.outcome === outcome).length;
    const ok = count('ok');
    lines.push(
      `${name}: ${ok} answered (${Math.round(ok / seconds)}/s), ${count('unknown')} unknown, ` +
        `${count('failed')} failed`,
    );
    const longest = longestGap(report, ops);
    lines.push(`longest time without an answered one while a server ran: ${gapText(longest)}`);
  }
  lines.push(
    'faults: how often, [how often in vain], the slowest return to a whole chain and in which round',
  );
  for (const [kind, tally] of [...tallies].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const { rows, happened, missed, slowestMs, slowestWith } = tally;
    const round = slowestWith === kind ? 'alone' : slowestWith;
    const slowest = slowestMs === 0 ? '' : `${Math.round(slowestMs)} ms (${round})`;
    lines.push(`  ${rows.join(' ').padEnd(9)} ${kind}: ${happened} [${missed}] ${slowest}`);
  }
  return lines;
}

interface Gap {
  readonly ms: number;
  readonly atMs: number;
  readonly round: string;
}

function gapText({ ms, atMs, round }: Gap): string {
  return `${Math.round(ms)} ms, ${Math.round(atMs / 1_000)} s from the start (${round})`;
}

/** Between two answers that follow each other, less the time at which no server ran. */
function longestGap(report: MixReport, ops: readonly HistoryOp[]): Gap {
  const { startMs, runMs, silences, rounds } = report;
  const answers = ops.filter(({ outcome }) => outcome === 'ok').map(({ endMs }) => endMs);
  const times = [startMs, ...answers.filter((at) => at > startMs).sort((a, b) => a - b)];
  let longest: Gap = { ms: 0, atMs: 0, round: 'none' };
  for (const [index, toMs] of times.entries()) {
    const fromMs = times[index - 1];
    if (fromMs === undefined || toMs > startMs + runMs) continue;
    if (toMs - fromMs <= longest.ms) continue;
    const silentMs = silences
      .map((silence) => Math.min(toMs, silence.toMs) - Math.max(fromMs, silence.fromMs))
      .reduce((sum, ms) => sum + Math.max(0, ms), 0);
    const ms = toMs - fromMs - silentMs;
    if (ms <= longest.ms) continue;
    const round = rounds.findLast((each) => each.fromMs <= toMs)?.text ?? 'before the first round';
    longest = { ms, atMs: fromMs - startMs, round };
  }
  return longest;
}
