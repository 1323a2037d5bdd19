/**
 * A history as a page to look at: one lane a client, time from left to right, a bar an op with all that is known of it
 * on hover, the ops that a checker complains of in red. One file without network, scripts or dependencies.
 *
 * By default it shows the keys of those ops and what happened around them; whatever comes from outside is escaped.
 */
import { type Finding, showAnswer, showId, showOperation } from './finding.js';
import { type HistoryOp, keyOf } from './history.js';

interface TimelineOptions {
  readonly title?: string;
  /** How many ops before and after those that matter; default: 150. */
  readonly around?: number;
}

/** So many complaints are marked; the page lists them all. */
const markedMax = 10;
const rowHeight = 22;
const labelWidth = 90;
const headHeight = 30;
const barMin = 4;
const width = { min: 900, max: 20_000 };

export function timelineOf(
  history: readonly HistoryOp[],
  findings: readonly Finding[],
  { title = 'History', around = 150 }: TimelineOptions = {},
): string {
  const marked = new Set(findings.slice(0, markedMax).flatMap(({ ops }) => ops));
  const shown = neighbourhood(history, marked, around);
  const note = `${shown.length} of ${history.length} ops: those of the keys in question, around them`;
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    `<title>${escaped(title)}</title><style>${style}</style></head><body>`,
    `<h1>${escaped(title)}</h1>`,
    `<ol>${findings.map(({ line }) => `<li>${escaped(line)}</li>`).join('\n')}</ol>`,
    `<p>${escaped(note)}. Red: complained of. Dashed: outcome unknown. Grey: refused. Hover for details.</p>`,
    drawing(shown, marked),
    '</body></html>',
    '',
  ].join('\n');
}

/** Ops on the keys of the marked ones (of any key, if they have none), as many as are worth looking at. */
function neighbourhood(
  history: readonly HistoryOp[],
  marked: ReadonlySet<HistoryOp>,
  around: number,
): HistoryOp[] {
  const keys = new Set([...marked].map(keyOf).filter((key) => key !== undefined));
  const related = history.filter((op) => {
    const key = keyOf(op);
    return marked.has(op) || keys.size === 0 || (key !== undefined && keys.has(key));
  });
  related.sort((one, other) => one.startMs - other.startMs);
  const near = new Set<HistoryOp>();
  for (const [index, op] of related.entries()) {
    if (!marked.has(op)) continue;
    for (const each of related.slice(Math.max(0, index - around), index + around + 1))
      near.add(each);
  }
  return near.size === 0 ? related.slice(0, 2 * around) : related.filter((op) => near.has(op));
}

interface Bar {
  readonly op: HistoryOp;
  readonly row: number;
}

function drawing(ops: readonly HistoryOp[], marked: ReadonlySet<HistoryOp>): string {
  if (ops.length === 0) return '<p>No ops.</p>';
  const fromMs = ops.reduce((least, { startMs }) => Math.min(least, startMs), Infinity);
  const toMs = ops.reduce((most, { endMs }) => Math.max(most, endMs), -Infinity);
  const spanMs = Math.max(toMs - fromMs, Number.EPSILON);
  // Wide enough to tell the ops of one lane apart.
  const inner = Math.min(width.max, Math.max(width.min, ops.length * 14));
  const xOf = (ms: number): number => labelWidth + ((ms - fromMs) / spanMs) * inner;
  const { bars, lanes } = laneOut(ops);
  const rows = lanes.reduce((count, lane) => count + lane.rows, 0);
  const height = headHeight + rows * rowHeight + 10;
  const total = labelWidth + inner + 40;
  const parts = [
    `<div class="scroll"><svg width="${total}" height="${height}" viewBox="0 0 ${total} ${height}">`,
    axis(fromMs, spanMs, inner, height),
    ...lanes.map(({ client, row }) => {
      const y = headHeight + row * rowHeight;
      return (
        `<line class="lane" x1="0" y1="${y}" x2="${total}" y2="${y}"/>` +
        `<text class="client" x="4" y="${y + 15}">client ${escaped(`${client}`)}</text>`
      );
    }),
    ...bars.map(({ op, row }) => {
      const x = xOf(op.startMs);
      const barWidth = Math.max(barMin, xOf(op.endMs) - x);
      const y = headHeight + row * rowHeight + 3;
      const kind = marked.has(op) ? `${op.outcome} marked` : op.outcome;
      const room = Math.floor((barWidth - 6) / 6.5);
      const label = labelOf(op).slice(0, Math.max(0, room));
      return (
        `<g class="op ${kind}"><title>${escaped(details(op, fromMs))}</title>` +
        `<rect x="${x.toFixed(1)}" y="${y}" width="${barWidth.toFixed(1)}" height="${rowHeight - 6}" rx="2"/>` +
        `<text x="${(x + 3).toFixed(1)}" y="${y + 12}">${escaped(label)}</text></g>`
      );
    }),
    '</svg></div>',
  ];
  return parts.join('\n');
}

/** A client with several ops under way has as many rows. */
function laneOut(ops: readonly HistoryOp[]): {
  bars: Bar[];
  lanes: { client: number; row: number; rows: number }[];
} {
  const bars: Bar[] = [];
  const lanes: { client: number; row: number; rows: number }[] = [];
  let row = 0;
  for (const client of [...new Set(ops.map((op) => op.client))].sort((a, b) => a - b)) {
    const endsMs: number[] = [];
    for (const op of ops.filter((each) => each.client === client)) {
      const free = endsMs.findIndex((endMs) => endMs <= op.startMs);
      const line = free === -1 ? endsMs.length : free;
      endsMs[line] = op.endMs;
      bars.push({ op, row: row + line });
    }
    lanes.push({ client, row, rows: endsMs.length });
    row += endsMs.length;
  }
  return { bars, lanes };
}

function axis(fromMs: number, spanMs: number, inner: number, height: number): string {
  const count = Math.max(4, Math.floor(inner / 150));
  return Array.from({ length: count + 1 }, (_, index) => {
    const x = labelWidth + (index / count) * inner;
    const label = `+${((index / count) * spanMs).toFixed(1)} ms`;
    const first = index === 0 ? `${fromMs.toFixed(3)} ms` : label;
    return (
      `<line class="tick" x1="${x.toFixed(1)}" y1="18" x2="${x.toFixed(1)}" y2="${height}"/>` +
      `<text class="time" x="${x.toFixed(1)}" y="12">${escaped(first)}</text>`
    );
  }).join('\n');
}

/** Short, for what fits into a bar: what was written or read. */
function labelOf(op: HistoryOp): string {
  if (op.kind === 'put') return `put ${op.value}`;
  if (op.kind !== 'get' || op.outcome !== 'ok') return showOperation(op);
  return `get ${op.answer?.found?.value ?? '-'}`;
}

function details(op: HistoryOp, fromMs: number): string {
  const { client, startMs, endMs, outcome, at, answer } = op;
  return [
    showOperation(op),
    `client ${client}, ${outcome}`,
    ...(answer === undefined ? [] : [`answer ${showAnswer(answer)}`]),
    ...(at === undefined ? [] : [`op id ${showId(at)}`]),
    `start ${startMs.toFixed(3)} ms (+${(startMs - fromMs).toFixed(3)})`,
    `end ${endMs.toFixed(3)} ms (took ${(endMs - startMs).toFixed(3)})`,
  ].join('\n');
}

const replacements: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Control characters and half characters, which no page may hold, become visible instead. */
function escaped(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => replacements[character] as string)
    .replaceAll(/(?!\n)[\p{Cc}\p{Cs}]/gu, (character) => {
      return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
    });
}

const style = `
body { font: 14px system-ui, sans-serif; margin: 16px; color: #222; background: #fff }
h1 { font-size: 18px } li { font-family: monospace; margin: 4px 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto; border: 1px solid #ccc }
svg text { font: 11px monospace; fill: #222 } .client { font-weight: bold }
.lane { stroke: #ddd } .tick { stroke: #eee } svg .time { fill: #777 }
.op rect { fill: #bcd8f5; stroke: #4a7fb5 } .op.unknown rect { fill: #fdf0c4; stroke: #b58a00; stroke-dasharray: 4 3 }
.op.failed rect { fill: #ddd; stroke: #999 }
.op.marked rect { fill: #f5a3a3; stroke: #b00020; stroke-width: 2 }
.op:hover rect { stroke: #000; stroke-width: 2 }
`;
