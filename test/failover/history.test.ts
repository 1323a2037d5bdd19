/** The judge itself: it must let good histories pass and find every kind of lie. */
import test from 'ava';
import { checkHistory, type HistoryOp } from '../support/history.js';

const put = (value: string, startMs: number, endMs: number, seq: number): HistoryOp => ({
  client: 1,
  kind: 'put',
  key: 'k',
  value,
  startMs,
  endMs,
  outcome: 'ok',
  seq,
});

const get = (
  value: string | undefined,
  startMs: number,
  endMs: number,
  seq: number,
): HistoryOp => ({
  client: 2,
  kind: 'get',
  key: 'k',
  ...(value === undefined ? {} : { value }),
  startMs,
  endMs,
  outcome: 'ok',
  seq,
});

const unknown = (value: string, startMs: number): HistoryOp => ({
  ...put(value, startMs, startMs + 1, 0),
  outcome: 'unknown',
});

const good: Readonly<Record<string, readonly HistoryOp[]>> = {
  'nothing happened': [],
  'a read of nothing, then a write': [get(undefined, 0, 1, 0), put('a', 2, 3, 5)],
  'a concurrent read may see either': [
    put('a', 0, 10, 1),
    get(undefined, 1, 2, 0),
    get('a', 3, 4, 1),
  ],
  'an unknown write may take effect late': [
    unknown('a', 0),
    get(undefined, 5, 6, 0),
    get('a', 7, 8, 3),
  ],
  'an unknown write may never take effect': [unknown('a', 0), put('b', 2, 3, 7), get('b', 4, 5, 7)],
};

const bad: Readonly<Record<string, readonly HistoryOp[]>> = {
  'a stale read': [put('a', 0, 1, 1), put('b', 2, 3, 2), get('a', 4, 5, 1)],
  'a lost write': [put('a', 0, 1, 1), get(undefined, 2, 3, 0)],
  'two reads go back': [put('a', 0, 1, 1), put('b', 2, 9, 2), get('b', 3, 4, 2), get('a', 5, 6, 1)],
  'a value out of the air': [get('x', 0, 1, 1)],
  'a refused write is read': [{ ...put('a', 0, 1, 1), outcome: 'failed' }, get('a', 2, 3, 1)],
  'a write is ordered before one that was over': [put('a', 0, 1, 5), put('b', 2, 3, 4)],
  'one seq given twice': [put('a', 0, 10, 1), put('b', 0, 10, 1)],
  'read before written': [get('a', 0, 1, 1), put('a', 5, 6, 1)],
  'another seq than was acknowledged': [put('a', 0, 1, 1), get('a', 2, 3, 2)],
};

for (const [name, history] of Object.entries(good)) {
  test(`passes: ${name}`, (t) => t.deepEqual(checkHistory(history), []));
}
for (const [name, history] of Object.entries(bad)) {
  test(`found: ${name}`, (t) => t.not(checkHistory(history).length, 0));
}
