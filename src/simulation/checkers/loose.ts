/**
 * Which loose writes, executed one after the other, explain an answer that the order alone does not. Mostly one is
 * enough; where a list was, a delete and a put are needed. Loose writes have no conditions.
 */
import type { Answer, HistoryOp, KeyOperation } from './history.js';
import { advance, type KeyState } from './key-model.js';
import type { Write } from './placement.js';

const chainMax = 2;

/** The shortest chain of them, undefined if there is none; `room`: how many places are free for it. */
export function explainByLoose(
  state: KeyState,
  op: HistoryOp & KeyOperation,
  loose: readonly Write[],
  room: number,
): Write[] | undefined {
  for (let length = 1; length <= Math.min(chainMax, room, loose.length); length++) {
    const chain = chainTo(state, op, op.answer ?? {}, loose, length);
    if (chain !== undefined) return chain;
  }
  return undefined;
}

function chainTo(
  state: KeyState,
  op: KeyOperation,
  seen: Answer,
  loose: readonly Write[],
  length: number,
): Write[] | undefined {
  if (length === 0) return advance(state, op, seen, 0) === undefined ? undefined : [];
  const tried = new Set<string>();
  for (const write of loose) {
    // What leads to another loose write is not read: of puts any one will do.
    if (length > 1 && tried.has(write.kind)) continue;
    tried.add(write.kind);
    const next = advance(state, write, undefined, 0);
    if (next === undefined || next === state) continue;
    const others = loose.filter((each) => each !== write);
    const rest = chainTo(next, op, seen, others, length - 1);
    if (rest !== undefined) return [write, ...rest];
  }
  return undefined;
}
