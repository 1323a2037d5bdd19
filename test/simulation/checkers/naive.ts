/**
 * The plainest checker there is: tries every order of the calls of one key that respects real time, with every subset
 * of the unknown writes, on a model of its own. For histories of a few ops; the real one must say the same.
 */
import type { Answer, HistoryOp, KeyOperation } from '../../../src/simulation/checkers/history.js';

/** What a key holds. `version` 0: not known; it is greater than `above`. */
export interface Held {
  value: string | undefined;
  list: string[];
  version: number;
  above: number;
}

export const emptyHeld = (): Held => ({ value: undefined, list: [], version: 0, above: -1 });

export function isLinearizable(history: readonly HistoryOp[]): boolean {
  const calls = history.filter(
    ({ outcome, kind }) =>
      outcome === 'ok' || (outcome === 'unknown' && !['get', 'range', 'length'].includes(kind)),
  );
  return canFinish(calls, emptyHeld());
}

function canFinish(calls: readonly HistoryOp[], held: Held): boolean {
  if (calls.every(({ outcome }) => outcome === 'unknown')) return true;
  return calls.some((call) => {
    const mustWait = calls.some((each) => each.outcome === 'ok' && each.endMs < call.startMs);
    if (mustWait) return false;
    const next = { ...held, list: [...held.list] };
    const seen = call.outcome === 'ok' ? (call.answer ?? {}) : undefined;
    if (!doAndCompare(next, call as KeyOperation, seen)) return false;
    return canFinish(
      calls.filter((each) => each !== call),
      next,
    );
  });
}

function doAndCompare(held: Held, op: KeyOperation, seen: Answer | undefined): boolean {
  if ((op.kind === 'put' || op.kind === 'delete') && isThere(held) && held.version === 0) {
    const expected = op.version ?? 0;
    if (expected > held.above && seen?.refused !== 'CONFLICT') held.version = expected;
  }
  const answer = perform(held, op, 0);
  if (seen === undefined) return true;
  const shown = seen.found?.version;
  if (shown !== undefined && held.version === 0) {
    if (shown <= held.above) return false;
    held.version = shown;
  }
  if (shown !== undefined && held.version !== shown) return false;
  const { found, ...rest } = seen;
  if (found !== undefined && found?.value !== answer.found?.value) return false;
  if (found !== undefined && answer.refused !== undefined) return false;
  if (seen.refused !== answer.refused) return false;
  return Object.entries(rest).every(
    ([name, value]) => JSON.stringify(value) === JSON.stringify(answer[name as keyof Answer]),
  );
}

export const isThere = ({ value, list }: Held): boolean => value !== undefined || list.length > 0;

/** Executes the op, in place; `seq` 0: not known. */
export function perform(held: Held, op: KeyOperation, seq: number): Answer {
  const change = (): void => {
    held.above = held.version > 0 ? held.version : held.above + 1;
    held.version = seq;
  };
  switch (op.kind) {
    case 'get':
    case 'put':
    case 'delete':
    case 'add':
      return performOnValue(held, op, change);
    case 'push':
    case 'pop':
    case 'trim':
    case 'range':
    case 'length':
      return performOnList(held, op, change);
  }
}

function performOnValue(
  held: Held,
  op: Extract<KeyOperation, { kind: 'get' | 'put' | 'delete' | 'add' }>,
  change: () => void,
): Answer {
  const isList = held.list.length > 0;
  const existed = isThere(held);
  switch (op.kind) {
    case 'get':
      if (isList) return { refused: 'WRONG_KIND' };
      if (held.value === undefined) return { found: null };
      return { found: { value: held.value, version: held.version } };
    case 'put':
      if (op.version === 0 && existed) return { refused: 'CONFLICT' };
      if (op.version && (!existed || op.version !== held.version)) return { refused: 'CONFLICT' };
      if (isList) return { refused: 'WRONG_KIND' };
      held.value = op.value;
      change();
      return { existed };
    case 'delete':
      if (op.version === 0 && existed) return { refused: 'CONFLICT' };
      if (op.version && (!existed || op.version !== held.version)) return { refused: 'CONFLICT' };
      held.value = undefined;
      held.list = [];
      if (existed) change();
      return { existed };
    case 'add':
      if (isList || Number.isNaN(Number(held.value ?? 0))) return { refused: 'WRONG_KIND' };
      held.value = String(Number(held.value ?? 0) + op.delta);
      change();
      return { sum: Number(held.value) };
  }
}

function performOnList(
  held: Held,
  op: Extract<KeyOperation, { kind: 'push' | 'pop' | 'trim' | 'range' | 'length' }>,
  change: () => void,
): Answer {
  if (held.value !== undefined) return { refused: 'WRONG_KIND' };
  const before = held.list.length;
  switch (op.kind) {
    case 'push':
      for (const element of op.elements) {
        if (op.side === 'left') held.list.unshift(element);
        else held.list.push(element);
      }
      while (held.list.length > (op.lengthMax ?? Number.POSITIVE_INFINITY)) {
        if (op.side === 'left') held.list.pop();
        else held.list.shift();
      }
      change();
      return { length: held.list.length };
    case 'pop': {
      const elements: string[] = [];
      while (elements.length < op.count && held.list.length > 0) {
        elements.push((op.side === 'left' ? held.list.shift() : held.list.pop()) as string);
      }
      if (elements.length > 0) change();
      return { elements };
    }
    case 'trim':
      held.list = held.list.slice(op.from, op.to);
      if (held.list.length < before) change();
      return { length: held.list.length };
    case 'range':
      return { elements: held.list.slice(op.from, op.to) };
    case 'length':
      return { length: before };
  }
}
