/**
 * What one key is allowed to do, one op after the other: the specification that both checkers hold answers against.
 * Written from docs/protocol.md, not from the servers' code. A list that becomes empty is an absent key.
 *
 * A version may be unknown (0): the black box does not look at op ids, so it learns versions from the answers that show
 * them. Versions of one key only grow, also across deletes: `above` is what the present one must exceed.
 *
 * Invariant: states are never changed in place, and an op that changes nothing gives back the very state it was given.
 */
import type { Answer, KeyOperation } from './history.js';

/** undefined: absent; text: a value; an array: a list. */
type Content = string | readonly string[] | undefined;

export interface KeyState {
  readonly content: Content;
  /** Seq of the op that changed the key last; 0: not known, or never changed. */
  readonly version: number;
  /** The version is greater than this. */
  readonly above: number;
}

export const absentKey: KeyState = { content: undefined, version: 0, above: -1 };

/** An op's effect and the whole of what it answers. */
interface Execution {
  readonly state: KeyState;
  readonly answer: Answer;
}

/** Executes an op in the place `seq`; 0: its seq is not known. */
export function execute(state: KeyState, op: KeyOperation, seq: number): Execution {
  switch (op.kind) {
    case 'get':
      return { state, answer: readValue(state) };
    case 'put':
    case 'delete':
      return replace(state, op, seq);
    case 'add':
      return add(state, op.delta, seq);
    case 'push':
    case 'pop':
    case 'range':
    case 'trim':
    case 'length':
      return executeOnList(state, op, seq);
  }
}

/**
 * The state after the op if `seen` is an answer that it may give there, undefined if it may not. Without `seen` any
 * answer will do. What `seen` tells about the version is in the state from then on.
 */
export function advance(
  state: KeyState,
  op: KeyOperation,
  seen: Answer | undefined,
  seq: number,
): KeyState | undefined {
  // No more than a look, for the op that long histories mostly consist of.
  if (op.kind === 'get' && seen?.found !== undefined) return afterRead(state, seen.found);
  const settled = settleCondition(state, op, seen);
  const { state: next, answer } = execute(settled, op, seq);
  if (seen === undefined) return next;
  return agrees(seen, answer) ? next : undefined;
}

function afterRead(
  state: KeyState,
  found: NonNullable<Answer['found']> | null,
): KeyState | undefined {
  if (found === null) return state.content === undefined ? state : undefined;
  if (state.content !== found.value) return undefined;
  return found.version === undefined ? state : withVersion(state, found.version);
}

/** Whatever was seen of the answer is as expected. */
function agrees(seen: Answer, expected: Answer): boolean {
  if (seen.refused !== expected.refused) return false;
  if (!isUnseenOr(seen.existed, expected.existed)) return false;
  if (!isUnseenOr(seen.length, expected.length)) return false;
  if (!isUnseenOr(seen.sum, expected.sum)) return false;
  const { elements } = seen;
  return elements === undefined || sameElements(elements, expected.elements ?? []);
}

export function isPresent({ content }: KeyState): boolean {
  return content !== undefined;
}

function isUnseenOr<Value>(seen: Value | undefined, expected: Value | undefined): boolean {
  return seen === undefined || seen === expected;
}

function sameElements(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((element, index) => element === other[index]);
}

function changed(state: KeyState, content: Content, seq: number): KeyState {
  return { content, version: seq, above: state.version === 0 ? state.above + 1 : state.version };
}

/** Undefined: the key cannot have had this version. */
function withVersion(state: KeyState, version: number): KeyState | undefined {
  if (state.version === version) return state;
  if (state.version !== 0 || version <= state.above) return undefined;
  return { ...state, version };
}

/** Whether a condition on a version that is not known held is taken from the answer. */
function settleCondition(state: KeyState, op: KeyOperation, seen: Answer | undefined): KeyState {
  if (op.kind !== 'put' && op.kind !== 'delete') return state;
  if (op.version === undefined || op.version === 0 || state.version !== 0) return state;
  // Without an answer: if the condition failed nothing happened, which is the same as never being executed.
  if (state.content === undefined || seen?.refused === 'CONFLICT') return state;
  return withVersion(state, op.version) ?? state;
}

function readValue({ content, version }: KeyState): Answer {
  if (content === undefined) return { found: null };
  if (typeof content !== 'string') return { refused: 'WRONG_KIND' };
  return { found: version === 0 ? { value: content } : { value: content, version } };
}

function replace(
  state: KeyState,
  op: KeyOperation & { kind: 'put' | 'delete' },
  seq: number,
): Execution {
  const existed = state.content !== undefined;
  if (op.version !== undefined && !meets(state, op.version)) {
    return { state, answer: { refused: 'CONFLICT' } };
  }
  if (op.kind === 'delete') {
    return { state: existed ? changed(state, undefined, seq) : state, answer: { existed } };
  }
  if (existed && typeof state.content !== 'string') {
    return { state, answer: { refused: 'WRONG_KIND' } };
  }
  return { state: changed(state, op.value, seq), answer: { existed } };
}

/** 0: must be absent. */
function meets({ content, version }: KeyState, expected: number): boolean {
  return expected === 0 ? content === undefined : content !== undefined && version === expected;
}

function add(state: KeyState, delta: number, seq: number): Execution {
  const { content = '0' } = state;
  if (typeof content !== 'string' || !/^-?\d+$/.test(content)) {
    return { state, answer: { refused: 'WRONG_KIND' } };
  }
  const sum = Number(content) + delta;
  return { state: changed(state, `${sum}`, seq), answer: { sum } };
}

function executeOnList(
  state: KeyState,
  op: KeyOperation & { kind: 'push' | 'pop' | 'range' | 'trim' | 'length' },
  seq: number,
): Execution {
  const { content = [] } = state;
  if (typeof content === 'string') return { state, answer: { refused: 'WRONG_KIND' } };
  switch (op.kind) {
    case 'push': {
      const list = pushed(content, op);
      const next = list.length === 0 ? undefined : list;
      return { state: changed(state, next, seq), answer: { length: list.length } };
    }
    case 'pop': {
      const at =
        op.side === 'left' ? Math.min(op.count, content.length) : content.length - op.count;
      const cut = Math.max(0, at);
      const [left, right] = [content.slice(0, cut), content.slice(cut)];
      const [elements, list] = op.side === 'left' ? [left, right] : [right.reverse(), left];
      return { state: shortenedTo(state, list, seq), answer: { elements } };
    }
    case 'range':
      return { state, answer: { elements: content.slice(op.from, op.to) } };
    case 'trim': {
      const list = content.slice(op.from, op.to);
      return { state: shortenedTo(state, list, seq), answer: { length: list.length } };
    }
    case 'length':
      return { state, answer: { length: content.length } };
  }
}

/** Of ops that only take away: where the length is the same nothing changed. */
function shortenedTo(state: KeyState, list: readonly string[], seq: number): KeyState {
  if (list.length === (state.content?.length ?? 0)) return state;
  return changed(state, list.length === 0 ? undefined : list, seq);
}

function pushed(
  list: readonly string[],
  { side, elements, lengthMax = Number.POSITIVE_INFINITY }: KeyOperation & { kind: 'push' },
): readonly string[] {
  if (side === 'right') {
    const longer = [...list, ...elements];
    return longer.slice(Math.max(0, longer.length - lengthMax));
  }
  const longer = [...elements.toReversed(), ...list];
  return longer.slice(0, Math.min(longer.length, lengthMax));
}
