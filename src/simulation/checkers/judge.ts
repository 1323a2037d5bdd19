/**
 * The verdict on a history, by both checkers: the one order of op ids must explain every answer (replay), and the
 * answers alone, without op ids, must be linearizable key by key (black box). Whoever runs something and has its
 * history calls `judge` and nothing else:
 *
 *     const { result, lines, html } = judge(history, { log, title: 'seed 42' });
 *     if (result !== 'ok') { write html to a file, print lines and the file's name }
 *
 * A history is complete for its keys: nobody else wrote those. It may hold ops whose outcome is unknown, and reads
 * without an op id (a get counts from its version then; other reads are the black box's alone).
 */
import { checkBlackBox } from './black-box.js';
import { type Finding, findingsMax, showOp } from './finding.js';
import { type Answer, type HistoryOp, isRead, type LoggedOp } from './history.js';
import { replay } from './replay.js';
import { timelineOf } from './timeline.js';

export interface JudgeOptions {
  /** The committed order from a surviving member's log, from op 1 on. Without it the answers' op ids tell it. */
  readonly log?: readonly LoggedOp[];
  /** Others wrote as well, keys that the history does not name (default: false). */
  readonly hasOthers?: boolean;
  /** Configurations that the black box may visit; beyond: 'gave up', which is a failure. */
  readonly configurationsMax?: number;
  /** Of the page: which run this was. */
  readonly title?: string;
}

export interface Verdict {
  /** 'gave up': neither found right nor wrong within the budget. Only 'ok' is good. */
  readonly result: 'ok' | 'violated' | 'gave up';
  /** What is wrong, a readable line each; empty if nothing is. */
  readonly lines: readonly string[];
  /** A self-contained page that shows what is wrong; undefined if nothing is. */
  readonly html: string | undefined;
}

export function judge(history: readonly HistoryOp[], options: JudgeOptions = {}): Verdict {
  const blackBox = checkBlackBox(history, options);
  const findings: Finding[] = [
    ...checkNotes(history),
    ...replay(history, options),
    ...blackBox.findings,
  ].slice(0, findingsMax);
  const gaveUp = blackBox.gaveUp.map((key) => gaveUpOn(key, history, blackBox.configurations));
  if (findings.length === 0 && gaveUp.length === 0)
    return { result: 'ok', lines: [], html: undefined };
  const all = [...findings, ...gaveUp];
  const { title = 'History' } = options;
  return {
    result: findings.length > 0 ? 'violated' : 'gave up',
    lines: all.map(({ line }) => line),
    html: timelineOf(history, all, { title }),
  };
}

/** What is noted wrongly, or not at all, would pass every check. */
function checkNotes(history: readonly HistoryOp[]): Finding[] {
  const backward = history.find(({ startMs, endMs }) => !(startMs <= endMs));
  const unnoted = history.find((op) => op.outcome === 'ok' && isRead(op) && !isNoted(op.answer));
  return [
    ...(backward === undefined ? [] : [aboutNote('an op ends before it starts', backward)]),
    ...(unnoted === undefined ? [] : [aboutNote('a read without what it read', unnoted)]),
  ];
}

function isNoted(answer: Answer | undefined): boolean {
  return answer !== undefined && Object.values(answer).some((value) => value !== undefined);
}

function aboutNote(what: string, op: HistoryOp): Finding {
  return { line: `${what}: ${showOp(op)}`, ops: [op] };
}

function gaveUpOn(key: string, history: readonly HistoryOp[], configurations: number): Finding {
  const ops = history.filter((op) => 'key' in op && op.key === key);
  const line =
    `gave up on key ${key} (${ops.length} ops): neither right nor wrong ` +
    `after ${configurations} configurations of all keys`;
  return { line, ops: ops.slice(0, 1) };
}
