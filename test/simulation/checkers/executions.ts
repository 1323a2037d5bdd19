/**
 * Random executions that are right by construction: a plan of ops is executed one after the other by the plain model,
 * each at an instant within its call. Every random decision is the plan's, so that fast-check can shrink it.
 */
import * as fc from 'fast-check';
import type {
  Answer,
  HistoryOp,
  KeyOperation,
  LoggedOp,
  OpId,
  Operation,
} from '../../../src/simulation/checkers/history.js';
import { emptyHeld, type Held, isThere, perform } from './naive.js';

export interface Step {
  readonly op: Operation;
  /** Of the call around the instant at which it takes effect, in instants. */
  readonly before: number;
  readonly after: number;
  /** lost: executed, but the answer is not seen. never: not executed, and the client does not know. */
  readonly fate: 'answered' | 'lost' | 'never' | 'refused';
  readonly isNewEpoch: boolean;
  /** A read names a state so many ops ago, if its key was the same then. */
  readonly lag: number;
}

export interface Execution {
  readonly history: readonly HistoryOp[];
  readonly log: readonly LoggedOp[];
}

const side = fc.constantFrom('left' as const, 'right' as const);
const position = fc.integer({ min: -2, max: 4 });
const version = fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined });

/** `values`: how many there are to write; few, so that they repeat. */
export function anyOperation(keys: readonly string[], values: number): fc.Arbitrary<KeyOperation> {
  const key = fc.constantFrom(...keys);
  const value = fc.integer({ min: 1, max: values }).map(String);
  const elements = fc.array(value, { minLength: 1, maxLength: 2 });
  const lengthMax = fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined });
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
    fc.record({ kind: fc.constant('put' as const), key, value, version }).map(compact),
    fc.record({ kind: fc.constant('delete' as const), key, version }).map(compact),
    fc.record({ kind: fc.constant('add' as const), key, delta: fc.integer({ min: -2, max: 2 }) }),
    fc.record({ kind: fc.constant('push' as const), key, side, elements, lengthMax }).map(compact),
    fc.record({
      kind: fc.constant('pop' as const),
      key,
      side,
      count: fc.integer({ min: 1, max: 2 }),
    }),
    fc.record({ kind: fc.constant('range' as const), key, from: position, to: position }),
    fc.record({ kind: fc.constant('trim' as const), key, from: position, to: position }),
    fc.record({ kind: fc.constant('length' as const), key }),
  );
}

/** Without the fields that are not given. */
function compact(record: object): KeyOperation {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as unknown as KeyOperation;
}

export function anyStep(operation: fc.Arbitrary<Operation>): fc.Arbitrary<Step> {
  const length = fc.oneof(fc.constant(0.4), fc.integer({ min: 0, max: 8 }));
  return fc.record({
    op: operation,
    before: length,
    after: length,
    fate: fc.oneof(
      { weight: 5, arbitrary: fc.constant('answered' as const) },
      fc.constantFrom('lost' as const, 'never' as const, 'refused' as const),
    ),
    isNewEpoch: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
    lag: fc.integer({ min: 0, max: 3 }),
  });
}

const reads = ['get', 'range', 'length', 'size', 'scan'];

export function executed(steps: readonly Step[]): Execution {
  const history: HistoryOp[] = [];
  const log: LoggedOp[] = [];
  const table = new Map<string, Held>();
  const changedAt = new Map<string, number>();
  let epoch = 1;
  const newest = (): OpId => log.at(-1)?.at ?? { epoch: 0, seq: 0 };
  for (const [instant, { op, before, after, fate, isNewEpoch, lag }] of steps.entries()) {
    if (isNewEpoch) {
      epoch += 1;
      log.push({ at: { epoch, seq: newest().seq + 1 }, op: { kind: 'epoch' } });
    }
    const startMs = instant - before;
    const noted = { client: instant, ...op, startMs, endMs: instant + after };
    if (fate === 'refused') history.push({ ...noted, outcome: 'failed' });
    if (fate === 'never') history.push({ ...noted, outcome: 'unknown' });
    if (fate === 'refused' || fate === 'never') continue;
    let at = newest();
    let answer: Answer;
    if (op.kind === 'size') answer = { keys: [...table.values()].filter(isThere).length };
    else if (op.kind === 'scan') answer = { entries: entriesOf(table) };
    else {
      const held = table.get(op.key) ?? emptyHeld();
      table.set(op.key, held);
      if (!reads.includes(op.kind)) {
        at = { epoch, seq: at.seq + 1 };
        log.push({ at, op });
        changedAt.set(op.key, at.seq);
      } else {
        const seq = Math.max(at.seq - lag, changedAt.get(op.key) ?? 0);
        at = log[seq - 1]?.at ?? { epoch: 0, seq: 0 };
      }
      answer = perform(held, op, at.seq);
    }
    if (fate === 'lost') history.push({ ...noted, endMs: startMs, outcome: 'unknown' });
    else history.push({ ...noted, outcome: 'ok', at, answer });
  }
  return { history, log };
}

/** Values only: what a list holds no scan tells yet. */
function entriesOf(table: ReadonlyMap<string, Held>): { key: string; value?: string }[] {
  return [...table]
    .filter(([, held]) => isThere(held))
    .map(([key, { value, version }]) => (value === undefined ? { key } : { key, value, version }));
}
