/**
 * The one order of the writes, as far as it is known: from a member's log, or else from the op ids of the answers. Each
 * op of the order is matched to the call that asked for it: an answered one must be there, as it was asked for; an
 * unknown one once or not at all; a refused one never; and what nobody asked for is not there.
 *
 * Without a log an unknown write is placed when a read shows its value and version. The others stay loose: whether and
 * where they were executed, no op id tells.
 */
import {
  type Finding,
  findingsMax,
  identityOf,
  isSameOperation,
  showId,
  showLogged,
  showOp,
} from './finding.js';
import {
  type Answer,
  type HistoryOp,
  isRead,
  type KeyOperation,
  keyOf,
  type LoggedOp,
  type OpId,
} from './history.js';

/** A write in its place. */
export interface Placed {
  readonly seq: number;
  /** 0: not known. */
  readonly epoch: number;
  readonly op: KeyOperation;
  /** Who asked for it; undefined if nobody is known to have. */
  readonly by: HistoryOp | undefined;
  /** What is known of its answer: undefined if that may have been any; of what was read later, that it was not refused. */
  readonly seen: Answer | undefined;
}

export interface Placement {
  /** By seq, ascending. */
  readonly order: readonly Placed[];
  /** Unknown writes of each key that have no place, in the order of their starts. */
  readonly loose: ReadonlyMap<string, Write[]>;
  /** Keys whose state these cannot tell, since unknown conditional writes, or ones of lists and counters, have no place. */
  readonly vague: ReadonlySet<string>;
  readonly findings: readonly Finding[];
}

export type Write = Exclude<
  HistoryOp,
  { readonly kind: 'get' | 'range' | 'length' | 'size' | 'scan' }
>;

export function isWrite(op: HistoryOp): op is Write {
  return !isRead(op);
}

/** The order is the log's. Ops on keys that the history does not name are others'. */
export function placeByLog(
  history: readonly HistoryOp[],
  log: readonly LoggedOp[],
  hasOthers: boolean,
): Placement {
  const findings: Finding[] = [...checkLog(log)];
  const asked = new Map<number, Write>();
  const unplaced: Write[] = [];
  const failed: Write[] = [];
  const indexOf = (at: OpId): number => at.seq - (log[0]?.at.seq ?? 1);
  for (const op of history) {
    if (!isWrite(op)) continue;
    if (op.outcome === 'failed') failed.push(op);
    else if (op.at === undefined) {
      if (op.outcome === 'ok') findings.push(nameless(op));
      else unplaced.push(op);
    } else {
      const logged = log[indexOf(op.at)];
      const found = logged !== undefined && logged.at.epoch === op.at.epoch ? logged : undefined;
      const problem = problemOf(op, found, asked.get(op.at.seq));
      if (problem !== undefined) findings.push(problem);
      else if (found !== undefined) asked.set(op.at.seq, op);
    }
  }
  const waiting = byIdentity(unplaced);
  const refused = byIdentity(failed);
  const keys = hasOthers ? new Set(history.map(keyOf)) : undefined;
  const order: Placed[] = [];
  for (const logged of log) {
    const { at, op } = logged;
    if (op.kind === 'epoch' || keys?.has(op.key) === false) continue;
    let by = asked.get(at.seq);
    if (by === undefined) {
      const identity = identityOf(op);
      by = waiting.get(identity)?.shift();
      if (by === undefined && findings.length < findingsMax) {
        findings.push(unasked(logged, refused.get(identity)?.[0], order));
      }
    }
    const seen = by?.outcome === 'ok' ? (by.answer ?? {}) : undefined;
    order.push({ seq: at.seq, epoch: at.epoch, op, by, seen });
  }
  return { order, loose: new Map(), vague: new Set(), findings };
}

/** Seqs without a gap from 1, epochs that never fall. */
function checkLog(log: readonly LoggedOp[]): Finding[] {
  let previous: OpId = { epoch: 0, seq: 0 };
  for (const logged of log) {
    const { epoch, seq } = logged.at;
    if (seq !== previous.seq + 1 || epoch < previous.epoch) {
      const line = `in the log ${showLogged(logged)} follows ${showId(previous)}`;
      return [{ line, ops: [] }];
    }
    previous = logged.at;
  }
  return [];
}

function problemOf(
  op: Write,
  logged: LoggedOp | undefined,
  other: Write | undefined,
): Finding | undefined {
  if (logged === undefined) {
    if (op.outcome === 'unknown') return undefined;
    return { line: `acknowledged, but not in the log: ${showOp(op)}`, ops: [op] };
  }
  if (logged.op.kind === 'epoch' || !isSameOperation(logged.op, op)) {
    return { line: `the log has ${showLogged(logged)} for ${showOp(op)}`, ops: [op] };
  }
  if (other === undefined) return undefined;
  return { line: `two writes have one op id: ${showOp(other)}, ${showOp(op)}`, ops: [other, op] };
}

function unasked(
  logged: LoggedOp,
  refused: Write | undefined,
  executed: readonly Placed[],
): Finding {
  if (refused !== undefined) {
    const line = `a refused write was executed, as ${showLogged(logged)}: ${showOp(refused)}`;
    return { line, ops: [refused] };
  }
  const { op } = logged;
  const before =
    op.kind === 'epoch' ? undefined : executed.find((each) => isSameOperation(each.op, op));
  if (before === undefined) return { line: `nobody asked for ${showLogged(logged)}`, ops: [] };
  const ops = before.by === undefined ? [] : [before.by];
  return { line: `executed twice: as ${showId(before)} and as ${showLogged(logged)}`, ops };
}

/** Equal ops are told apart by nothing but their starts: the earlier one takes the earlier place. */
function byIdentity(
  ops: readonly Write[],
  textOf: (op: Write) => string = identityOf,
): Map<string, Write[]> {
  const found = new Map<string, Write[]>();
  for (const op of [...ops].sort((a, b) => a.startMs - b.startMs)) {
    const identity = textOf(op);
    const same = found.get(identity);
    if (same === undefined) found.set(identity, [op]);
    else same.push(op);
  }
  return found;
}

function isPlain(op: Write): boolean {
  return (op.kind === 'put' || op.kind === 'delete') && op.version === undefined;
}

/** A put that was executed looks the same whatever its condition was. */
function effectOf(op: KeyOperation): string {
  return op.kind === 'put'
    ? identityOf({ kind: 'put', key: op.key, value: op.value })
    : identityOf(op);
}

/** The order is what the answers say of it. */
export function placeByAnswers(history: readonly HistoryOp[], hasOthers: boolean): Placement {
  const findings: Finding[] = [];
  const answered: Placed[] = [];
  const unknown: Write[] = [];
  const failed: Write[] = [];
  for (const op of history) {
    if (!isWrite(op)) continue;
    if (op.outcome === 'failed') failed.push(op);
    else if (op.outcome === 'unknown') unknown.push(op);
    else if (op.at === undefined) findings.push(nameless(op));
    else {
      const { seq, epoch } = op.at;
      answered.push({ seq, epoch, op, by: op, seen: op.answer ?? {} });
    }
  }
  const order = bySeq(answered);
  for (let index = 1; index < order.length; index++) {
    const [one, other] = [order[index - 1] as Placed, order[index] as Placed];
    if (one.seq === other.seq) findings.push(twice(one.by as Write, other.by as Write));
  }
  const vague = new Set(unknown.filter((op) => !isPlain(op)).map(({ key }) => key));
  const keys = hasOthers ? new Set(history.map(keyOf)) : undefined;
  const evidence = shownVersions(history, order).filter(
    ([, { op }]) => !vague.has(op.key) && keys?.has(op.key) !== false,
  );
  const waiting = byIdentity(unknown, effectOf);
  const refused = byIdentity(failed, effectOf);
  const executed = new Map<number, Placed>();
  for (const [seq, { op, reader }] of evidence) {
    const waitingHere = waiting.get(effectOf(op));
    const index = (waitingHere ?? []).findIndex(({ at }) => at === undefined || at.seq === seq);
    const [by] = index === -1 ? [] : (waitingHere as Write[]).splice(index, 1);
    if (by !== undefined) {
      executed.set(seq, { seq, epoch: by.at?.epoch ?? 0, op, by, seen: {} });
    } else if (findings.length < findingsMax) {
      findings.push(unwritten(reader, op, refused, order));
    }
  }
  const placed = new Set([...executed.values()].map(({ by }) => by));
  const loose = new Map<string, Write[]>();
  for (const op of [...unknown].sort((a, b) => a.startMs - b.startMs)) {
    if (placed.has(op)) continue;
    const seq = op.at?.seq;
    // One whose place was taken in the end by another op was never executed.
    if (seq !== undefined && (executed.has(seq) || isTaken(order, seq))) continue;
    const ofKey = loose.get(op.key);
    if (ofKey === undefined) loose.set(op.key, [op]);
    else ofKey.push(op);
  }
  const all = executed.size === 0 ? order : bySeq([...order, ...executed.values()]);
  return { order: all, loose, vague, findings };
}

function bySeq(placed: Placed[]): Placed[] {
  return placed.sort((one, other) => one.seq - other.seq);
}

/** Whether some op of the order has this seq. There are few gaps in it, so it is near where it would be without. */
function isTaken(order: readonly Placed[], seq: number): boolean {
  const first = order[0]?.seq ?? 0;
  let high = Math.min(order.length - 1, seq - first);
  let step = 1;
  let low = high;
  while (low >= 0 && (order[low] as Placed).seq > seq) {
    high = low;
    low -= step;
    step *= 2;
  }
  low = Math.max(low, 0);
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((order[middle] as Placed).seq < seq) low = middle + 1;
    else high = middle;
  }
  return order[low]?.seq === seq;
}

function nameless(op: HistoryOp): Finding {
  return { line: `acknowledged without an op id: ${showOp(op)}`, ops: [op] };
}

function twice(other: HistoryOp, op: HistoryOp): Finding {
  return { line: `two writes have one seq: ${showOp(other)}, ${showOp(op)}`, ops: [other, op] };
}

interface Evidence {
  readonly op: KeyOperation & { readonly kind: 'put' };
  readonly reader: HistoryOp;
}

/** Values that were read with a version that no answered write has: somebody wrote them, at that seq. */
function shownVersions(
  history: readonly HistoryOp[],
  order: readonly Placed[],
): [number, Evidence][] {
  const evidence = new Map<number, Evidence>();
  const note = (key: string, reader: HistoryOp, value?: string, version?: number): void => {
    if (value === undefined || version === undefined) return;
    if (isTaken(order, version) || evidence.has(version)) return;
    evidence.set(version, { op: { kind: 'put', key, value }, reader });
  };
  for (const op of history) {
    if (op.outcome !== 'ok') continue;
    if (op.kind === 'get') {
      const found = op.answer?.found;
      if (found !== undefined && found !== null) note(op.key, op, found.value, found.version);
    } else if (op.kind === 'scan') {
      for (const { key, value, version } of op.answer?.entries ?? []) {
        note(key, op, value, version);
      }
    }
  }
  return [...evidence].sort(([one], [other]) => one - other);
}

function unwritten(
  reader: HistoryOp,
  op: Evidence['op'],
  refused: ReadonlyMap<string, Write[]>,
  order: readonly Placed[],
): Finding {
  const failed = refused.get(effectOf(op))?.[0];
  if (failed !== undefined) {
    const line = `a refused write was read: ${showOp(failed)} by ${showOp(reader)}`;
    return { line, ops: [failed, reader] };
  }
  const effect = effectOf(op);
  for (const { op: other, by } of order) {
    if (by === undefined || effectOf(other) !== effect) continue;
    return { line: `${showOp(by)}, but ${showOp(reader)}`, ops: [by, reader] };
  }
  return { line: `nobody wrote what was read: ${showOp(reader)}`, ops: [reader] };
}
