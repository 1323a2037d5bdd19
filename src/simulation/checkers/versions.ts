/**
 * What the answers of one key tell of versions, before any order is tried: a value that only one call wrote, and that
 * was read with its version, tells the version that this call made. It holds in every order, so it may be relied on.
 */
import type { Answer, KeyOperation } from './history.js';
import type { KeyState } from './key-model.js';

interface Told {
  readonly op: KeyOperation;
  readonly answer: Answer | undefined;
}

/** The version that a call made (a put) or saw (a get); 0: not known. */
export function versionsOf(calls: readonly Told[]): (call: Told) => number {
  const writers = new Map<string, number>();
  const shown = new Map<string, number>();
  for (const { op, answer } of calls) {
    // A counter writes values that no call names.
    if (op.kind === 'add') return seenVersion;
    if (op.kind === 'put') writers.set(op.value, (writers.get(op.value) ?? 0) + 1);
    const found = answer?.found;
    if (found?.version !== undefined) shown.set(found.value, found.version);
  }
  return (call) => {
    const { op, answer } = call;
    if (op.kind !== 'put') return seenVersion(call);
    if (answer?.refused !== undefined || writers.get(op.value) !== 1) return 0;
    return shown.get(op.value) ?? 0;
  };
}

function seenVersion({ answer }: Told): number {
  return answer?.found?.version ?? 0;
}

/** Whoever has yet to make or see this version comes too late: the state is past it. */
export function isPast(state: KeyState, version: number, isRead: boolean): boolean {
  if (version === 0) return false;
  const least = state.version === 0 ? state.above + 1 : state.version;
  return isRead ? version < least : version <= least;
}
