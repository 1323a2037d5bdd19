/**
 * Of both checkers: whatever an execution does in one order is accepted; an answer that no order gives is refused; and
 * on small histories the search says what trying everything says, right or wrong.
 */
import test from 'ava';
import * as fc from 'fast-check';
import { checkBlackBox } from '../../../src/simulation/checkers/black-box.js';
import { type Answer, type HistoryOp, keyOf } from '../../../src/simulation/checkers/history.js';
import { judge } from '../../../src/simulation/checkers/judge.js';
import { replay } from '../../../src/simulation/checkers/replay.js';
import { anyOperation, anyStep, executed } from './executions.js';
import { isLinearizable } from './naive.js';

const keys = ['a', 'b', 'c'];
const tableReads = fc.constantFrom({ kind: 'size' } as const, { kind: 'scan' } as const);
const steps = fc.array(
  anyStep(fc.oneof({ weight: 9, arbitrary: anyOperation(keys, 3) }, tableReads)),
  { maxLength: 40 },
);

test('whatever was executed in one order is accepted', (t) => {
  let unknown = 0;
  fc.assert(
    fc.property(steps, (plan) => {
      const { history, log } = executed(plan);
      unknown += history.filter(({ outcome }) => outcome === 'unknown').length;
      const verdict = judge(history, { log });
      if (verdict.result !== 'ok') throw new Error(verdict.lines.join('\n'));
    }),
    { numRuns: 2_000 },
  );
  t.true(unknown > 1_000);
});

/** Each key's values are written once, as those of the workloads are; the answers alone tell the order then. */
test('it is accepted without its log, too', (t) => {
  fc.assert(
    fc.property(steps, (plan) => {
      const distinct = plan.map((step, index) =>
        step.op.kind === 'put' ? { ...step, op: { ...step.op, value: `v${index}` } } : step,
      );
      const { history } = executed(distinct);
      const verdict = judge(history);
      if (verdict.result !== 'ok') throw new Error(verdict.lines.join('\n'));
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

/** Another answer than the one that was given, of the same shape. */
function otherAnswer(answer: Answer): Answer | undefined {
  const { existed, found, sum, length, elements, keys: count, entries } = answer;
  if (existed !== undefined) return { existed: !existed };
  if (found === null) return { found: { value: 'v' } };
  if (found !== undefined) return { found: null };
  if (sum !== undefined) return { sum: sum + 1 };
  if (length !== undefined) return { length: length + 1 };
  if (elements !== undefined) return { elements: [...elements, 'x'] };
  if (count !== undefined) return { keys: count + 1 };
  if (entries !== undefined) return { entries: entries.slice(1) };
  return undefined;
}

test('with the log, no answer can be another one', (t) => {
  let refused = 0;
  fc.assert(
    fc.property(steps, fc.nat(), (plan, choice) => {
      const { history, log } = executed(plan);
      const answered = history.filter(({ outcome }) => outcome === 'ok');
      const victim = answered[choice % Math.max(1, answered.length)];
      const answer = victim?.answer === undefined ? undefined : otherAnswer(victim.answer);
      if (
        answer === undefined ||
        (answer.entries?.length === 0 && victim?.answer?.entries?.length === 0)
      )
        return true;
      refused += 1;
      const changed = history.map((op) => (op === victim ? { ...op, answer } : op));
      return replay(changed, { log }).length > 0;
    }),
    { numRuns: 2_000 },
  );
  t.true(refused > 1_000);
});

test('with the log, no write can be missing, doubled, or in another place', (t) => {
  const changes = fc.constantFrom('missing' as const, 'doubled' as const, 'swapped' as const);
  let refused = 0;
  fc.assert(
    fc.property(steps, fc.nat(), changes, (plan, choice, change) => {
      const { history, log } = executed(plan);
      const places = log.flatMap(({ op }, index) => (op.kind === 'epoch' ? [] : [index]));
      const place = places[choice % Math.max(1, places.length)];
      if (place === undefined) return true;
      const { op, at } = log[place] as (typeof log)[number];
      const by = history.find(
        (each) => each.outcome === 'ok' && each.at?.seq === at.seq && 'key' in each,
      );
      const isAnswered = by !== undefined && !['get', 'range', 'length'].includes(by.kind);
      if (!isAnswered) return true;
      // Equal ones of unknown outcome may be what was executed instead.
      const isLike = (each: HistoryOp): boolean =>
        each.outcome === 'unknown' && each.kind === by.kind && keyOf(each) === keyOf(by);
      if (history.some(isLike)) return true;
      const ops = log.map((each) => each.op);
      if (change === 'missing') ops.splice(place, 1);
      else if (change === 'doubled') ops.splice(place, 0, op);
      else if (JSON.stringify(ops[place + 1] ?? op) === JSON.stringify(op)) return true;
      else ops.splice(place, 2, ops[place + 1] as (typeof ops)[number], op);
      refused += 1;
      // The last one's epoch holds for what is beyond.
      const last = log.at(-1) as (typeof log)[number];
      const changed = ops.map((each, index) => ({
        at: log[index]?.at ?? { epoch: last.at.epoch, seq: index + 1 },
        op: each,
      }));
      return replay(history, { log: changed }).length > 0;
    }),
    { numRuns: 2_000 },
  );
  t.true(refused > 500);
});

/** Few ops on one key with few values, some answers of which may be anything. */
const smallHistory = fc
  .array(
    fc.record({
      step: anyStep(anyOperation(['k'], 2)),
      otherwise: fc.option(fc.constantFrom('other' as const, 'earlier' as const), {
        nil: undefined,
        freq: 3,
      }),
    }),
    { maxLength: 7 },
  )
  .map((plan): readonly HistoryOp[] => {
    const { history } = executed(plan.map(({ step }) => step));
    return history.map((op, index): HistoryOp => {
      const otherwise = plan[index]?.otherwise;
      if (otherwise === undefined || op.answer === undefined) return op;
      if (otherwise === 'other') return { ...op, answer: otherAnswer(op.answer) ?? op.answer };
      const earlier = history.find((each) => each.kind === op.kind && each.answer !== undefined);
      return { ...op, answer: earlier?.answer ?? op.answer };
    });
  });

test('the search says what trying every order says', (t) => {
  const counts = { right: 0, wrong: 0 };
  fc.assert(
    fc.property(smallHistory, (history) => {
      const isRight = isLinearizable(history);
      counts[isRight ? 'right' : 'wrong'] += 1;
      const { findings, gaveUp } = checkBlackBox(history);
      return gaveUp.length === 0 && (findings.length === 0) === isRight;
    }),
    { numRuns: 20_000 },
  );
  t.log(counts);
  t.true(counts.right > 1_000 && counts.wrong > 1_000);
});
