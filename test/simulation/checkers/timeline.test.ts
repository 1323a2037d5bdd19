/** The page of a bad history: it holds what a person needs, marks what is wrong, and nothing in it acts. */
import test from 'ava';
import type { HistoryOp } from '../../../src/simulation/checkers/history.js';
import { judge } from '../../../src/simulation/checkers/judge.js';
import { timelineOf } from '../../../src/simulation/checkers/timeline.js';
import { get, ok, put, unknown } from './notes.js';

/** Each op as the page draws it: its classes and what it says on hover. */
function barsOf(html: string): { classes: string[]; title: string }[] {
  const bars = html.matchAll(/<g class="op ([^"]*)"><title>([^<]*)<\/title>/g);
  return [...bars].map(([, classes = '', title = '']) => ({ classes: classes.split(' '), title }));
}

test('the ops in question are marked, with all that is known of them', (t) => {
  const stale = { ...get('a', [400, 500.25], 2, 1), client: 7 };
  const history = [put('a', [0, 100], 1), put('b', [200, 300], 2), stale];
  const { html = '' } = judge(history, { title: 'seed 42' });
  t.regex(html, /^<!doctype html>/);
  t.regex(html, /<title>seed 42<\/title>/);
  const marked = barsOf(html).filter(({ classes }) => classes.includes('marked'));
  t.true(marked.length > 0);
  const bar = marked.find(({ title }) => title.includes('client 7'));
  for (const part of [
    'get k',
    'client 7, ok',
    '&quot;a&quot;',
    'op id 1-2',
    'start 400.000',
    'end 500.250',
  ]) {
    t.true(bar?.title.includes(part), `${part} in ${bar?.title}`);
  }
  t.regex(html, /<li>.*client 7 get k/);
  t.regex(html, /client 7<\/text>/);
});

test('only the keys in question are shown, and what happened around', (t) => {
  const history: HistoryOp[] = [];
  for (let index = 0; index < 500; index++) {
    const span = [index * 10, index * 10 + 5] as const;
    history.push(put(`v${index}`, span, 2 * index + 1));
    history.push(put(`w${index}`, span, 2 * index + 2, 'elsewhere'));
  }
  const wrong = history[500] as HistoryOp;
  const bars = barsOf(timelineOf(history, [{ line: 'wrong', ops: [wrong] }], { around: 20 }));
  t.is(bars.length, 41);
  t.true(bars.every(({ title }) => title.startsWith('put k ')));
  const marked = bars.filter(({ classes }) => classes.includes('marked'));
  t.deepEqual(
    marked.map(({ title }) => title.split('\n')[0]),
    ['put k value=&quot;v250&quot;'],
  );
});

test('what was not answered looks different', (t) => {
  const lost = unknown({ kind: 'put', key: 'k', value: 'v' }, 0);
  const html = timelineOf([lost, put('w', [2, 3], 1)], []);
  t.deepEqual(
    barsOf(html).map(({ classes }) => classes),
    [['unknown'], ['ok']],
  );
});

test('calls of one client at the same time stand below each other', (t) => {
  const both = [put('a', [0, 10], 1), put('b', [5, 15], 2), put('c', [11, 12], 3)];
  const html = timelineOf(
    both.map((op) => ({ ...op, client: 1 })),
    [],
  );
  const rows = [...html.matchAll(/<rect x="[^"]*" y="(\d+)"/g)].map(([, y]) => Number(y));
  t.is(rows.length, 3);
  t.not(rows[0], rows[1]);
  t.is(rows[0], rows[2]);
});

test('nothing that comes from outside is more than text, and nothing is fetched', (t) => {
  const nasty = `"'><script>alert(1)</script>&\u0000\u001b\ud800\u2028`;
  const history = [
    put(nasty, [0, 1], 1, nasty),
    { ...get('x', [2, 3], 1, 1, nasty), client: '<b>1</b>' as unknown as number },
    ok({ kind: 'push', key: nasty, side: 'left', elements: [nasty] }, [4, 5], 2, { length: 9 }),
  ];
  const { html = '' } = judge(history, { title: nasty });
  t.true(html.includes('&lt;script&gt;'));
  // Every tag is one of the page's own.
  const names = new Set([...html.matchAll(/<\/?([a-z0-9]*)/gi)].map(([, name]) => name));
  const own = ['', 'html', 'head', 'meta', 'title', 'style', 'body', 'h1', 'ol', 'li', 'p', 'div'];
  const drawn = ['svg', 'g', 'rect', 'text', 'line'];
  t.deepEqual(
    [...names].filter((name) => ![...own, ...drawn].includes(name ?? '')),
    [],
  );
  const attributes = [...html.matchAll(/<[a-z][^>]*>/g)].join('');
  t.notRegex(attributes, /\bon\w+=|href|src=|url\(/i);
  t.notRegex(html, /https?:|@import|\p{Cs}|(?!\n)\p{Cc}/iu);
});

test('a history without ops, and complaints without ops, make a page as well', (t) => {
  t.true(timelineOf([], [{ line: 'a < b', ops: [] }]).includes('<li>a &lt; b</li>'));
  t.is(barsOf(timelineOf([put('a', [1, 1], 1)], [])).length, 1);
});
