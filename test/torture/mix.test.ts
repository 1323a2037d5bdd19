/** Torture runs: a seed repeats the faults, every kind comes in its turn, and what a run does not show it does not claim. */
import test from 'ava';
import { randomFrom } from '../support/random.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { makersFor, roundsOf } from './mix.js';
import { type KindTally, type MixReport, reportLines, shortcomings } from './mix-report.js';

const load = { clients: 1, keys: 1, pauseMs: 0, valueBytes: 0, timeoutMs: 1 };
const makers = makersFor({ options: { servers: 3, load } });
const kinds = [...new Set(makers.map((make) => make(randomFrom(0)).kind))];

function kindsOf(seed: number, rounds: number): string[][] {
  const found: string[][] = [];
  for (const { faults } of roundsOf(randomFrom(seed), makers)) {
    found.push(faults.map(({ fault, afterMs }) => `${fault.kind} after ${afterMs}`));
    if (found.length === rounds) break;
  }
  return found;
}

test('a seed repeats the faults; another one does not', (t) => {
  t.deepEqual(kindsOf(7, 100), kindsOf(7, 100));
  t.notDeepEqual(kindsOf(7, 100), kindsOf(8, 100));
});

test('every kind has come before the deck is dealt twice; one to three at a time', (t) => {
  const rounds = kindsOf(9, makers.length);
  const dealt = rounds.flat().slice(0, 2 * makers.length);
  for (const kind of kinds)
    t.true(
      dealt.some((each) => each.startsWith(`${kind} after`)),
      kind,
    );
  t.deepEqual(new Set(rounds.map(({ length }) => length)), new Set([1, 2, 3]));
});

const minuteMs = 60_000;

function put(count: number, endMs: number): HistoryOp {
  const noted = { client: 1, startMs: endMs - 1, endMs, outcome: 'ok' } as const;
  return { ...noted, kind: 'put', key: 'key', value: String(count) };
}

/** Ops every 10 ms, but for a pause from the one to the other. */
function reportOf(
  runMs: number,
  pause: readonly [number, number],
  changed: Partial<MixReport> = {},
): MixReport {
  const times = Array.from({ length: runMs / 10 }, (_, index) => (index + 1) * 10);
  const history = times.filter((at) => at <= pause[0] || at >= pause[1]).map((at) => put(at, at));
  const tally: KindTally = {
    rows: ['P1'],
    happened: 1,
    missed: 0,
    slowestMs: 5,
    slowestWith: kinds[0] as string,
  };
  const tallies = new Map(kinds.map((kind) => [kind, tally]));
  const rounds = [
    { fromMs: 0, text: 'the first' },
    { fromMs: 5_000, text: 'the second' },
  ];
  return {
    seed: 1,
    runMs,
    startMs: 0,
    history,
    violations: [],
    tallies,
    rounds,
    silences: [],
    ...changed,
  };
}

test('the longest unavailability is told, with its round, less the time at which no server ran', (t) => {
  const pause = [6_000, 9_000] as const;
  t.regex(
    reportLines(reportOf(minuteMs, pause)).join('\n'),
    /3000 ms, 6 s from the start \(the second\)/,
  );
  const silences = [{ fromMs: 5_000, toMs: 8_000 }];
  const lines = reportLines(reportOf(minuteMs, pause, { silences }));
  t.regex(lines.join('\n'), /1000 ms, 6 s from the start \(the second\)/);
});

test('a run counts if every kind happened and enough was answered', (t) => {
  const none = [0, 0] as const;
  t.deepEqual(shortcomings(reportOf(10 * minuteMs, none), kinds), []);
  t.deepEqual(shortcomings(reportOf(10 * minuteMs, none), [...kinds, 'another']), [
    "void: 'another' never happened",
  ]);
  t.deepEqual(
    shortcomings(reportOf(minuteMs, none), [...kinds, 'another']),
    [],
    'too short for that',
  );
  const quiet = reportOf(minuteMs, none, { history: [] });
  t.deepEqual(shortcomings(quiet, kinds), ['void: only 0 ops were answered']);
  const lying = reportOf(minuteMs, none, { violations: ['a stale read'] });
  t.deepEqual(shortcomings(lying, kinds), ['a stale read']);
});
