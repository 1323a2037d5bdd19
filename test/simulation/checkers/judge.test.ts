/**
 * The judges themselves: they must let good histories pass and find every kind of lie. `by` says which of the two must
 * find it: the replay, which looks at op ids, or the black box, which does not, or each of them alone.
 */
import test from 'ava';
import { checkBlackBox } from '../../../src/simulation/checkers/black-box.js';
import type {
  HistoryOp,
  KeyOperation,
  LoggedOp,
} from '../../../src/simulation/checkers/history.js';
import { judge } from '../../../src/simulation/checkers/judge.js';
import { replay } from '../../../src/simulation/checkers/replay.js';
import { del, failed, get, id, ok, pop, push, put, range, unknown } from './notes.js';

const putOp = (value: string, key = 'k'): KeyOperation => ({ kind: 'put', key, value });
const deleteOp: KeyOperation = { kind: 'delete', key: 'k' };
const popOp: KeyOperation = { kind: 'pop', key: 'l', side: 'left', count: 1 };
const pushOp = (element: string): KeyOperation => ({
  kind: 'push',
  key: 'l',
  side: 'right',
  elements: [element],
});
const putIf = (value: string, version: number): KeyOperation => ({
  ...putOp(value),
  kind: 'put',
  key: 'k',
  value,
  version,
});
const entries = (...values: [string, string, number][]) => ({
  entries: values.map(([key, value, version]) => ({ key, value, version })),
});

const good: Readonly<Record<string, readonly HistoryOp[]>> = {
  'nothing happened': [],
  'a read of nothing, then a write': [get(null, [0, 1], 0), put('a', [2, 3], 5)],
  'a concurrent read may see either': [
    put('a', [0, 10], 1),
    get(null, [1, 2], 0),
    get('a', [3, 4], 1),
  ],
  'an unknown write may take effect late': [
    unknown(putOp('a'), 0),
    get(null, [5, 6], 0),
    get('a', [7, 8], 3),
  ],
  'an unknown write may never take effect': [
    unknown(putOp('a'), 0),
    put('b', [2, 3], 7),
    get('b', [4, 5], 7),
  ],
  'an unknown delete may take effect between two reads': [
    put('a', [0, 1], 1),
    unknown(deleteOp, 2),
    get('a', [3, 4], 1),
    get(null, [5, 6], 2),
    del(false, [7, 8], 3),
  ],
  'an unknown put nobody read makes the next one a replacement': [
    unknown(putOp('a'), 0),
    ok(putOp('b'), [2, 3], 2, { existed: true }),
  ],
  'a refused write did nothing': [failed(putOp('a'), [0, 1]), get(null, [2, 3], 0)],
  'a read names a state before a write of another key': [
    put('a', [0, 1], 1),
    put('x', [2, 3], 2, 'other'),
    get('a', [4, 5], 1),
    get('x', [6, 7], 2, 2, 'other'),
  ],
  'deletes and versions': [
    put('a', [0, 1], 1),
    del(true, [2, 3], 2),
    get(null, [4, 5], 2),
    put('b', [6, 7], 3),
    get('b', [8, 9], 9, 3),
  ],
  'a compare-and-set holds, another one does not': [
    ok(putIf('a', 0), [0, 1], 1, { existed: false }),
    ok(putIf('b', 1), [2, 3], 2, { existed: true }),
    ok(putIf('c', 1), [4, 5], 3, { refused: 'CONFLICT' }),
    get('b', [6, 7], 3, 2),
  ],
  'an unknown compare-and-set is seen': [
    put('a', [0, 1], 1),
    unknown(putIf('b', 1), 2),
    get('b', [4, 5], 2),
  ],
  'a queue': [
    push(['a'], [0, 1], 1, 1),
    push(['b', 'c'], [2, 3], 2, 3),
    pop(['a'], [4, 5], 3),
    range(['b', 'c'], [6, 7], 3),
    pop(['b', 'c'], [8, 9], 4, 5),
    pop([], [10, 11], 5),
    ok({ kind: 'length', key: 'l' }, [12, 13], 5, { length: 0 }),
  ],
  'a stack that forgets': [
    ok(
      { kind: 'push', key: 'l', side: 'left', elements: ['a', 'b', 'c'], lengthMax: 2 },
      [0, 1],
      1,
      {
        length: 2,
      },
    ),
    range(['c', 'b'], [2, 3], 1),
    ok({ kind: 'trim', key: 'l', from: 0, to: 1 }, [4, 5], 2, { length: 1 }),
    ok({ kind: 'pop', key: 'l', side: 'right', count: 1 }, [6, 7], 3, { elements: ['c'] }),
  ],
  'kinds are not mixed': [
    push(['a'], [0, 1], 1, 1),
    ok({ kind: 'get', key: 'l' }, [2, 3], 1, { refused: 'WRONG_KIND' }),
    ok(putOp('v', 'l'), [4, 5], 2, { refused: 'WRONG_KIND' }),
    ok({ kind: 'add', key: 'l', delta: 1 }, [6, 7], 3, { refused: 'WRONG_KIND' }),
    range(['a'], [8, 9], 3),
  ],
  'an unknown pop': [push(['a', 'b'], [0, 1], 1, 2), unknown(popOp, 2), pop(['b'], [4, 5], 3)],
  'a counter': [
    ok({ kind: 'add', key: 'n', delta: 5 }, [0, 9], 2, { sum: 3 }),
    ok({ kind: 'add', key: 'n', delta: -2 }, [0, 9], 1, { sum: -2 }),
    get('3', [10, 11], 2, 2, 'n'),
  ],
  'counts and pages': [
    ok({ kind: 'size' }, [0, 1], 0, { keys: 0 }),
    put('a', [2, 3], 1),
    put('b', [4, 5], 2, 'other'),
    ok({ kind: 'size' }, [6, 7], 2, { keys: 2 }),
    ok({ kind: 'scan' }, [8, 9], 2, entries(['other', 'b', 2], ['k', 'a', 1])),
    del(true, [10, 11], 3),
    ok({ kind: 'size' }, [12, 13], 3, { keys: 1 }),
    ok({ kind: 'scan' }, [14, 15], 3, { entries: [{ key: 'other' }] }),
  ],
  'a count does not know of an unknown write': [
    unknown(putOp('a'), 0),
    ok({ kind: 'size' }, [2, 3], 0, { keys: 0 }),
    ok({ kind: 'size' }, [4, 5], 1, { keys: 1 }),
  ],
  'an unknown write with an op id that was given to another': [
    unknown(putOp('a'), 0, 4),
    ok(putOp('b'), [2, 3], id(4, 2)),
    ok({ kind: 'get', key: 'k' }, [4, 5], id(9, 2), { found: { value: 'b', version: 4 } }),
  ],
};

for (const [name, history] of Object.entries(good)) {
  test(`passes: ${name}`, (t) => {
    t.deepEqual(replay(history), []);
    t.deepEqual(checkBlackBox(history).findings, []);
    t.deepEqual(judge(history), { result: 'ok', lines: [], html: undefined });
  });
}

type By = 'replay' | 'black box' | 'both';

const bad: Readonly<Record<string, readonly [By, readonly HistoryOp[]]>> = {
  'a stale read': ['both', [put('a', [0, 1], 1), put('b', [2, 3], 2), get('a', [4, 5], 1)]],
  'a stale read that names the new state': [
    'both',
    [put('a', [0, 1], 1), put('b', [2, 3], 2), get('a', [4, 5], 2, 1)],
  ],
  'a lost write': ['both', [put('a', [0, 1], 1), get(null, [2, 3], 0)]],
  'a lost write that was overtaken': [
    'both',
    [put('a', [0, 1], 1), put('b', [0, 5], 2), get('b', [2, 3], 2), get('a', [6, 7], 2, 1)],
  ],
  'a read vanishes': ['both', [unknown(putOp('a'), 0), get('a', [2, 3], 1), get(null, [4, 5], 1)]],
  'two reads go back': [
    'both',
    [put('a', [0, 1], 1), put('b', [2, 9], 2), get('b', [3, 4], 2), get('a', [5, 6], 1)],
  ],
  'a value out of the air': ['both', [get('x', [0, 1], 1)]],
  'a refused write is read': ['both', [failed(putOp('a'), [0, 1]), get('a', [2, 3], 1)]],
  'a write is ordered before one that was over': [
    'replay',
    [put('a', [0, 1], 5), put('b', [2, 3], 4)],
  ],
  'a write is ordered before one of another key that was over': [
    'replay',
    [put('a', [0, 1], 5), put('b', [2, 3], 4, 'other')],
  ],
  'one seq given twice': ['replay', [put('a', [0, 10], 1), put('b', [0, 10], 1, 'other')]],
  'one seq in two epochs': [
    'replay',
    [
      ok(putOp('a'), [0, 10], id(3, 1)),
      ok({ kind: 'get', key: 'o' }, [0, 10], id(3, 2), { found: null }),
    ],
  ],
  'an epoch falls along the order': [
    'replay',
    [ok(putOp('a'), [0, 10], id(3, 2)), ok(putOp('b', 'o'), [0, 10], id(4, 1))],
  ],
  'a read of the future': ['both', [get('a', [0, 1], 1), put('a', [5, 6], 1)]],
  'a read of the future of an unknown write': [
    'both',
    [get('a', [0, 1], 1), unknown(putOp('a'), 5)],
  ],
  'another version than was acknowledged': ['replay', [put('a', [0, 1], 1), get('a', [2, 3], 2)]],
  'versions go back': [
    'both',
    [put('a', [0, 1], 1), get('a', [2, 3], 4, 3), get('a', [4, 5], 4, 1)],
  ],
  'a key is older than before its delete': [
    'both',
    [
      put('a', [0, 1], 1),
      ok({ kind: 'get', key: 'k' }, [2, 3], undefined, { found: { value: 'a', version: 7 } }),
      ok(deleteOp, [4, 5], 8),
      unknown(putOp('b'), 6),
      ok({ kind: 'get', key: 'k' }, [8, 9], undefined, { found: { value: 'b', version: 5 } }),
    ],
  ],
  'an unknown write takes effect twice': [
    'both',
    [unknown(putOp('a'), 0), get('a', [2, 3], 1), put('b', [4, 5], 2), get('a', [6, 7], 3)],
  ],
  'a lost update': [
    'both',
    [
      put('a', [0, 1], 1),
      ok(putIf('b', 1), [2, 9], 2, { existed: true }),
      ok(putIf('c', 1), [2, 9], 3, { existed: true }),
    ],
  ],
  'put if absent succeeds twice': [
    'both',
    [
      ok(putIf('a', 0), [0, 5], 1, { existed: false }),
      ok(putIf('b', 0), [0, 5], 2, { existed: false }),
    ],
  ],
  'a conflict out of the air': ['both', [ok(putIf('a', 0), [0, 1], 1, { refused: 'CONFLICT' })]],
  'a delete finds nothing where something is': [
    'both',
    [put('a', [0, 1], 1), del(false, [2, 3], 2)],
  ],
  'a put replaces nothing where something is': [
    'both',
    [put('a', [0, 1], 1), ok(putOp('b'), [2, 3], 2, { existed: false })],
  ],
  'a deleted key comes back': [
    'both',
    [put('a', [0, 1], 1), del(true, [2, 3], 2), get('a', [4, 5], 2, 1)],
  ],
  'one element popped twice': [
    'both',
    [push(['a', 'b'], [0, 1], 1, 2), pop(['a'], [2, 9], 2), pop(['a'], [2, 9], 3)],
  ],
  'an element is lost': [
    'both',
    [push(['a'], [0, 1], 1, 1), push(['b'], [2, 3], 2, 2), range(['b'], [4, 5], 2)],
  ],
  'pushes change places': [
    'both',
    [push(['a'], [0, 1], 1, 1), push(['b'], [2, 3], 2, 2), range(['b', 'a'], [4, 5], 2)],
  ],
  'an unknown pop takes two': [
    'black box',
    [push(['a', 'b', 'c'], [0, 1], 1, 3), unknown(popOp, 2), pop(['c'], [4, 5], 3)],
  ],
  'an unknown push is seen twice': [
    'black box',
    [unknown(pushOp('a'), 0), range(['a', 'a'], [2, 3], 2)],
  ],
  'a wrong length': ['both', [push(['a', 'b'], [0, 1], 1, 1)]],
  'a maximum length that is not kept': [
    'both',
    [
      ok({ kind: 'push', key: 'l', side: 'right', elements: ['a', 'b'], lengthMax: 1 }, [0, 1], 1, {
        length: 2,
      }),
    ],
  ],
  'an increment is lost': [
    'both',
    [
      ok({ kind: 'add', key: 'n', delta: 1 }, [0, 9], 1, { sum: 1 }),
      ok({ kind: 'add', key: 'n', delta: 1 }, [0, 9], 2, { sum: 1 }),
    ],
  ],
  'a wrong count': ['replay', [put('a', [0, 1], 1), ok({ kind: 'size' }, [2, 3], 1, { keys: 2 })]],
  'a count behind the time': [
    'replay',
    [
      put('a', [0, 1], 1),
      put('b', [2, 3], 2, 'other'),
      ok({ kind: 'size' }, [4, 5], 1, { keys: 1 }),
    ],
  ],
  'a page of two instants': [
    'replay',
    [
      put('a', [0, 1], 1),
      put('b', [2, 9], 2),
      put('c', [2, 9], 3, 'other'),
      ok({ kind: 'scan' }, [2, 9], 3, entries(['k', 'a', 1], ['other', 'c', 3])),
    ],
  ],
  'a key is missing in a scan': [
    'both',
    [
      put('a', [0, 1], 1),
      put('b', [2, 3], 2, 'o'),
      ok({ kind: 'scan' }, [4, 5], 2, entries(['o', 'b', 2])),
    ],
  ],
  'a key is twice in a scan': [
    'replay',
    [put('a', [0, 1], 1), ok({ kind: 'scan' }, [4, 5], 1, entries(['k', 'a', 1], ['k', 'a', 1]))],
  ],
  'reads of two keys in two orders': [
    'replay',
    [
      put('a', [0, 20], 1),
      put('x', [0, 20], 2, 'other'),
      get('x', [1, 2], 2, 2, 'other'),
      get(null, [3, 4], 0),
    ],
  ],
};

for (const [name, [by, history]] of Object.entries(bad)) {
  test(`found: ${name}`, (t) => {
    const byReplay = replay(history).length > 0;
    const byBlackBox = checkBlackBox(history).findings.length > 0;
    t.deepEqual(
      [byReplay, byBlackBox],
      [by !== 'black box', by !== 'replay'],
      'by replay, by the black box',
    );
    const { result, lines, html } = judge(history, { title: name });
    t.is(result, 'violated');
    t.true(lines.length > 0 && html?.includes('<svg') === true);
  });
}

const logged = (seq: number, op: LoggedOp['op'], epoch = 1): LoggedOp => ({
  at: { epoch, seq },
  op,
});
const begin: LoggedOp = logged(1, { kind: 'epoch' });

const goodLogs: Readonly<Record<string, readonly [readonly HistoryOp[], readonly LoggedOp[]]>> = {
  'every op where it says': [
    [put('a', [0, 1], 2), get('a', [2, 3], 2), del(true, [4, 5], 3)],
    [begin, logged(2, putOp('a')), logged(3, deleteOp)],
  ],
  'an unknown op is in it once, another one is not': [
    [unknown(putOp('a'), 0), unknown(putOp('b'), 0), get(null, [2, 3], 1), get('a', [4, 5], 2)],
    [begin, logged(2, putOp('a'))],
  ],
  'an unknown pop in its place': [
    [push(['a', 'b'], [0, 1], 2, 2), unknown(popOp, 2), range(['b'], [4, 5], 3)],
    [
      begin,
      logged(2, { ...pushOp('a'), kind: 'push', elements: ['a', 'b'] } as LoggedOp['op']),
      logged(3, popOp),
    ],
  ],
  'an unknown op whose op id went to another': [
    [unknown(putOp('a'), 0, 2), ok(putOp('b'), [2, 3], id(3, 2))],
    [begin, logged(2, { kind: 'epoch' }, 2), logged(3, putOp('b'), 2)],
  ],
};

for (const [name, [history, log]] of Object.entries(goodLogs)) {
  test(`passes with its log: ${name}`, (t) => {
    t.deepEqual(judge(history, { log }), { result: 'ok', lines: [], html: undefined });
  });
}

const badLogs: Readonly<
  Record<string, readonly [RegExp, readonly HistoryOp[], readonly LoggedOp[]]>
> = {
  'an acknowledged write is not in it': [/not in the log/, [put('a', [0, 1], 2)], [begin]],
  'another op is in its place': [
    /the log has/,
    [put('a', [0, 1], 2), unknown(putOp('b'), 0)],
    [begin, logged(2, putOp('b'))],
  ],
  'an op is executed twice': [
    /executed twice/,
    [put('a', [0, 1], 2)],
    [begin, logged(2, putOp('a')), logged(3, putOp('a'))],
  ],
  'an unknown op is executed twice': [
    /executed twice/,
    [unknown(putOp('a'), 0)],
    [begin, logged(2, putOp('a')), logged(3, putOp('a'))],
  ],
  'an unknown op is executed before it began': [
    /before it began/,
    [put('b', [0, 1], 3), unknown(putOp('a'), 5)],
    [begin, logged(2, putOp('a')), logged(3, putOp('b'))],
  ],
  'a refused op is executed': [
    /refused write was executed/,
    [failed(putOp('a'), [0, 1])],
    [begin, logged(2, putOp('a'))],
  ],
  'nobody asked': [/nobody asked/, [], [begin, logged(2, putOp('a'))]],
  'a gap': [/follows/, [], [begin, logged(3, { kind: 'epoch' })]],
  'its epochs fall': [
    /follows/,
    [],
    [logged(1, { kind: 'epoch' }, 2), logged(2, { kind: 'epoch' }, 1)],
  ],
  'an answer it does not explain': [
    /the order answers/,
    [unknown(putOp('a'), 0), get(null, [3, 4], 2)],
    [begin, logged(2, putOp('a'))],
  ],
};

for (const [name, [message, history, log]] of Object.entries(badLogs)) {
  test(`found with its log: ${name}`, (t) => {
    const { result, lines } = judge(history, { log });
    t.is(result, 'violated');
    t.regex(lines.join('\n'), message);
  });
}

test('others may write other keys, and only those', (t) => {
  const history = [put('a', [0, 1], 2), ok({ kind: 'size' }, [2, 3], 3, { keys: 2 })];
  const log = [begin, logged(2, putOp('a')), logged(3, putOp('x', 'theirs'))];
  t.is(judge(history, { log }).result, 'violated');
  t.is(judge(history, { log, hasOthers: true }).result, 'ok');
  t.is(judge(history).result, 'violated');
  t.is(judge(history, { hasOthers: true }).result, 'ok');
  const onOurs = [...log, logged(4, putOp('x'))];
  t.is(judge(history, { log: onOurs, hasOthers: true }).result, 'violated');
});

test('what was noted wrongly does not pass', (t) => {
  const without = ok({ kind: 'get', key: 'k' }, [0, 1], 1);
  t.regex(judge([without]).lines.join(), /without what it read/);
  t.regex(judge([put('a', [2, 1], 1)]).lines.join(), /ends before it starts/);
  t.regex(judge([put('a', [Number.NaN, 1], 1)]).lines.join(), /ends before it starts/);
  const nameless = ok(putOp('a'), [0, 1], undefined);
  t.regex(judge([nameless]).lines.join(), /without an op id/);
  t.regex(judge([nameless], { log: [begin] }).lines.join(), /without an op id/);
});

test('a budget that does not suffice is no pass', (t) => {
  const history = [put('a', [0, 9], 1), put('b', [0, 9], 2), get('b', [10, 11], 2)];
  t.is(judge(history).result, 'ok');
  const { result, lines, html } = judge(history, { configurationsMax: 1 });
  t.is(result, 'gave up');
  t.regex(lines.join('\n'), /gave up on key k \(3 ops\)/);
  t.true(html?.includes('gave up'));
});
