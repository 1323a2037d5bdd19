/** Histories in few words, for the tests of the checkers. Times are in ms, seqs are op ids of epoch 1. */
import type {
  Answer,
  HistoryOp,
  KeyOperation,
  OpId,
} from '../../../src/simulation/checkers/history.js';

/** [start, end] */
export type Span = readonly [number, number];

let client = 0;

export function id(seq: number, epoch = seq === 0 ? 0 : 1): OpId {
  return { epoch, seq };
}

/** An answered op; `at` is its op id, or the last one that it reflects. */
export function ok(
  op: KeyOperation | { kind: 'size' } | { kind: 'scan' },
  [startMs, endMs]: Span,
  at: number | OpId | undefined,
  answer: Answer = {},
): HistoryOp {
  const placed = at === undefined ? {} : { at: typeof at === 'number' ? id(at) : at };
  return { client: client++ % 8, ...op, startMs, endMs, outcome: 'ok', ...placed, answer };
}

export function put(value: string, span: Span, seq: number, key = 'k'): HistoryOp {
  return ok({ kind: 'put', key, value }, span, seq);
}

/** Reads `value`, with version `version`, in the state after op `at`. */
export function get(
  value: string | null,
  span: Span,
  at: number,
  version = value === null ? 0 : at,
  key = 'k',
): HistoryOp {
  const found = value === null ? null : { value, version };
  return ok({ kind: 'get', key }, span, at, { found });
}

export function del(existed: boolean, span: Span, seq: number, key = 'k'): HistoryOp {
  return ok({ kind: 'delete', key }, span, seq, { existed });
}

/** A write that was sent at `startMs`, and no more is known. */
export function unknown(op: KeyOperation, startMs: number, at?: number): HistoryOp {
  const placed = at === undefined ? {} : { at: id(at) };
  return {
    client: client++ % 8,
    ...op,
    startMs,
    endMs: startMs + 1,
    outcome: 'unknown',
    ...placed,
  };
}

export function failed(op: KeyOperation, [startMs, endMs]: Span): HistoryOp {
  return { client: client++ % 8, ...op, startMs, endMs, outcome: 'failed' };
}

export function push(elements: string[], span: Span, seq: number, length: number): HistoryOp {
  return ok({ kind: 'push', key: 'l', side: 'right', elements }, span, seq, { length });
}

export function pop(elements: string[], span: Span, seq: number, count = 1): HistoryOp {
  return ok({ kind: 'pop', key: 'l', side: 'left', count }, span, seq, { elements });
}

export function range(elements: string[], span: Span, at: number): HistoryOp {
  return ok({ kind: 'range', key: 'l', from: 0, to: 100 }, span, at, { elements });
}
