/**
 * What clients saw, and a judge of it that shares no code with the servers. Every answer names the seq
 * of the op that it reflects, so the order that must explain everything is given: the check is whether
 * that order respects real time and the values (linearizability of a register a key, in linear time).
 */

export interface HistoryOp {
  readonly client: number;
  readonly kind: 'put' | 'get';
  readonly key: string;
  /** Written, or read; absent for a read that found nothing. Values are unique over the run. */
  readonly value?: string;
  /** One clock for all clients, in ms. */
  readonly startMs: number;
  readonly endMs: number;
  /** ok: answered. failed: certainly not done. unknown: sent, and no answer seen. */
  readonly outcome: 'ok' | 'failed' | 'unknown';
  /** Of the write, or of the write that the read saw; 0 for a read that found nothing. */
  readonly seq?: number;
}

/** Every way in which the history cannot be explained; none if it is linearizable. */
export function checkHistory(history: readonly HistoryOp[]): string[] {
  const byKey = new Map<string, HistoryOp[]>();
  for (const op of history) {
    const ops = byKey.get(op.key);
    if (ops === undefined) byKey.set(op.key, [op]);
    else ops.push(op);
  }
  return [...byKey.values()].flatMap((ops) => [...checkValues(ops), ...checkOrder(ops)]);
}

/** Each seq belongs to one write, and what was read under it is what was written. */
function checkValues(ops: readonly HistoryOp[]): string[] {
  const violations: string[] = [];
  const writes = new Map<string, HistoryOp>();
  const valueOfSeq = new Map<number, string>();
  for (const op of ops) {
    if (op.kind !== 'put') continue;
    writes.set(op.value as string, op);
    if (op.outcome !== 'ok') continue;
    const other = valueOfSeq.get(op.seq as number);
    if (other !== undefined)
      violations.push(`two writes have seq ${op.seq}: ${other}, ${show(op)}`);
    valueOfSeq.set(op.seq as number, op.value as string);
  }
  for (const op of ops) {
    if (op.kind !== 'get' || op.outcome !== 'ok' || op.value === undefined) continue;
    const write = writes.get(op.value);
    const expected = valueOfSeq.get(op.seq as number);
    valueOfSeq.set(op.seq as number, op.value);
    if (write === undefined) violations.push(`nobody wrote what was read: ${show(op)}`);
    else if (write.outcome === 'failed') violations.push(`a refused write was read: ${show(op)}`);
    else if (write.startMs > op.endMs) violations.push(`read before it was written: ${show(op)}`);
    else if (write.outcome === 'ok' && write.seq !== op.seq) {
      violations.push(`written as seq ${write.seq}, but ${show(op)}`);
    } else if (expected !== undefined && expected !== op.value) {
      violations.push(`seq ${op.seq} is ${expected} elsewhere: ${show(op)}`);
    }
  }
  return violations;
}

/**
 * Whatever was answered before an op began is a floor for what it may reflect: a read may not see less,
 * a write must come after it.
 */
function checkOrder(ops: readonly HistoryOp[]): string[] {
  const violations: string[] = [];
  const answered = ops.filter(({ outcome }) => outcome === 'ok');
  const byEnd = [...answered].sort((a, b) => a.endMs - b.endMs);
  const byStart = [...answered].sort((a, b) => a.startMs - b.startMs);
  let floor: HistoryOp | undefined;
  let next = 0;
  for (const op of byStart) {
    for (let ended = byEnd[next]; ended !== undefined && ended.endMs < op.startMs; ) {
      if ((ended.seq as number) > (floor?.seq ?? 0)) floor = ended;
      next += 1;
      ended = byEnd[next];
    }
    const least = floor?.seq ?? 0;
    const seq = op.seq as number;
    const late = op.kind === 'put' ? seq <= least && least > 0 : seq < least;
    if (late) violations.push(`${show(op)} although before it began: ${show(floor as HistoryOp)}`);
  }
  return violations;
}

function show(op: HistoryOp): string {
  const { client, kind, key, value, startMs, endMs, seq } = op;
  const span = `${startMs.toFixed(1)}..${endMs.toFixed(1)}`;
  return `[client ${client} ${kind} ${key}=${value ?? '(absent)'} seq ${seq ?? '?'} at ${span}]`;
}
