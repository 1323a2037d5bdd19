/**
 * The disk of one simulated server: a log whose appends and cuts take effect in order when the test
 * says so (or at once), a snapshot of the table below it, and the last adopted configuration. A crash
 * loses what was not synced, except for a leading part that the test may let survive.
 *
 * Records are short texts, so that traces can be read and an entry can be made anew from its record.
 */
import type { Configuration } from '../../src/coordination/configuration.js';
import { Machine } from '../../src/machine/machine.js';
import type { Op } from '../../src/machine/op.js';
import type { RecordHeader } from '../../src/replica/core.js';
import type { Entry } from '../../src/replica/entry.js';
import { type EpochRun, EpochRuns } from '../../src/replica/epoch-runs.js';

/**
 * The table of the tests: the list of all entries applied, and how many writes each key has seen; and the
 * real machine beside it, whose hash travels along the chain.
 */
export interface SimTable {
  readonly list: string[];
  readonly counts: Map<number, number>;
  readonly machine: Machine;
}

/** Stands for the scope 'all'. */
export const anyKey = -1;

export function emptyTable(): SimTable {
  return { list: [], counts: new Map(), machine: new Machine() };
}

export function copyTable(table: SimTable): SimTable {
  return {
    list: [...table.list],
    counts: new Map(table.counts),
    machine: copyMachine(table.machine),
  };
}

export function applyTo(table: SimTable, entry: Entry): void {
  table.list.push(idOf(entry));
  for (const key of keysOf(entry)) countUp(table.counts, key);
  table.machine.apply(entry);
}

/** As a snapshot of it is loaded elsewhere. */
function copyMachine(source: Machine): Machine {
  const target = new Machine(source.appliedSeq);
  const snapshot = source.snapshot();
  for (let page = snapshot.next(10_000); page.length > 0; page = snapshot.next(10_000)) {
    for (const { key, value, version } of page) target.load(key, value, version);
  }
  return target;
}

/** Counts a write of `key`, and of any key. */
export function countUp(counts: Map<number, number>, key: number): void {
  for (const counted of [key, anyKey]) counts.set(counted, (counts.get(counted) ?? 0) + 1);
}

/** `epoch-seq`, or `epoch-first..last` for a batch. */
export function idOf({ epoch, firstSeq, lastSeq }: Entry): string {
  return firstSeq === lastSeq ? `${epoch}-${firstSeq}` : `${epoch}-${firstSeq}..${lastSeq}`;
}

export function seal(header: RecordHeader, ops: readonly Op[]): Uint8Array {
  const { epoch, firstSeq, count, commit } = header;
  return new TextEncoder().encode(
    `${epoch} ${firstSeq} ${count} ${commit} ${ops.map(textOf).join(',')}`,
  );
}

/** The entry as another server decodes it from the record. */
export function decoded(entry: Entry): Entry {
  const text = new TextDecoder().decode(entry.record);
  const [epoch, firstSeq, count, commit] = text.split(' ').map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const ops = (text.split(' ')[4] ?? '').split(',').map(opOf);
  const keyHashes = ops.flatMap((op) => (op.kind === 'put' ? [op.key[0] as number] : []));
  const lastSeq = firstSeq + count - 1;
  return { epoch, firstSeq, lastSeq, commit, ops, keyHashes, record: entry.record };
}

export function keysOf(entry: Entry): number[] {
  return [...decoded(entry).keyHashes];
}

function textOf(op: Op): string {
  if (op.kind !== 'put') return op.kind;
  return `put:${op.key[0]}:${new TextDecoder().decode(op.value)}`;
}

function opOf(text: string): Op {
  const [kind, key, value] = text.split(':');
  if (kind !== 'put') return { kind: 'epoch' };
  return { kind, key: Uint8Array.of(Number(key)), value: new TextEncoder().encode(value) };
}

type Work =
  | { readonly kind: 'append'; readonly entry: Entry }
  | { readonly kind: 'cut'; readonly seq: number };

export class SimDisk {
  lastKnown: Configuration | undefined;
  /** A configuration on its way to disk. */
  persisting: Configuration | undefined;
  /** There is no room: what waits stays where it is. */
  isFull = false;
  baseRuns: readonly EpochRun[] = [];
  base: SimTable = emptyTable();
  #entries: Entry[] = [];
  #queue: Work[] = [];

  get baseSeq(): number {
    return new EpochRuns(this.baseRuns).lastSeq;
  }

  /** How many appends and cuts wait. */
  get waiting(): number {
    return this.#queue.length;
  }

  append(entry: Entry): void {
    this.#queue.push({ kind: 'append', entry });
  }

  cut(seq: number): void {
    this.#queue.push({ kind: 'cut', seq });
  }

  /** Carries out the first `count` that wait; returns what may be reported as durable. */
  sync(count = this.#queue.length): number {
    for (const work of this.#queue.splice(0, count)) {
      if (work.kind === 'append') this.#entries.push(work.entry);
      else this.#entries = this.#entries.filter(({ lastSeq }) => lastSeq <= work.seq);
    }
    let seq = this.#entries.at(-1)?.lastSeq ?? this.baseSeq;
    for (const work of this.#queue) if (work.kind === 'cut') seq = Math.min(seq, work.seq);
    return seq;
  }

  /** The process dies; `kept` of what waits had reached the disk after all. */
  crash(kept: number): void {
    this.sync(kept);
    this.#queue = [];
    this.persisting = undefined;
    this.isFull = false;
  }

  /** A snapshot replaces everything. */
  install(runs: readonly EpochRun[], table: SimTable): void {
    this.baseRuns = runs;
    this.base = copyTable(table);
    this.#entries = [];
    this.#queue = [];
  }

  /** The table goes to disk, the entries that it holds leave the log. Only while nothing waits. */
  compact(table: SimTable, seq: number): void {
    this.baseRuns = this.runs.upTo(seq);
    this.base = copyTable(table);
    this.#entries = this.#entries.filter(({ lastSeq }) => lastSeq > seq);
  }

  get runs(): EpochRuns {
    const runs = new EpochRuns(this.baseRuns);
    for (const { epoch, lastSeq } of this.#entries) runs.extend(epoch, lastSeq);
    return runs;
  }

  /** What a restart finds. */
  recovered(): { runs: EpochRun[]; commit: number; table: SimTable; suffix: Entry[] } {
    const commit = this.#entries.reduce((max, entry) => Math.max(max, entry.commit), this.baseSeq);
    const table = copyTable(this.base);
    for (const entry of this.#entries) if (entry.lastSeq <= commit) applyTo(table, entry);
    const suffix = this.#entries.filter(({ lastSeq }) => lastSeq > commit).map(decoded);
    return { runs: this.runs.upTo(Number.MAX_SAFE_INTEGER), commit, table, suffix };
  }

  /** Whole consecutive entries from the log, written or on the way; undefined if not all are there. */
  read(fromSeq: number, bytesMax: number): Entry[] | undefined {
    const view = this.#view();
    const start = view.findIndex(({ firstSeq }) => firstSeq === fromSeq);
    if (start < 0) return undefined;
    let bytes = 0;
    const entries: Entry[] = [];
    for (const entry of view.slice(start)) {
      if (entries.length > 0 && bytes + entry.record.length > bytesMax) break;
      bytes += entry.record.length;
      entries.push(decoded(entry));
    }
    return entries;
  }

  /** The id of the `index`-th entry of this server's history, if it is safe on disk. */
  durableId(index: number): string | undefined {
    const fromBase = this.base.list[index];
    if (fromBase !== undefined) return fromBase;
    const entry = this.#entries[index - this.base.list.length];
    if (entry === undefined) return undefined;
    for (const work of this.#queue) {
      if (work.kind === 'cut' && work.seq < entry.lastSeq) return undefined;
    }
    return idOf(entry);
  }

  /** The id of the `index`-th entry of the log as the replica sees it, synced or not. */
  viewId(index: number): string | undefined {
    const fromBase = this.base.list[index];
    if (fromBase !== undefined) return fromBase;
    const entry = this.#view()[index - this.base.list.length];
    return entry === undefined ? undefined : idOf(entry);
  }

  /** The id of the newest entry, synced or not; '' for an empty log. */
  get lastId(): string {
    const last = this.#view().at(-1);
    return last === undefined ? (this.base.list.at(-1) ?? '') : idOf(last);
  }

  #view(): Entry[] {
    if (this.#queue.length === 0) return this.#entries;
    let view = [...this.#entries];
    for (const work of this.#queue) {
      if (work.kind === 'append') view.push(work.entry);
      else view = view.filter(({ lastSeq }) => lastSeq <= work.seq);
    }
    return view;
  }

  /** For people: the log as it will be when all that waits is done, `~` marks what is not synced. */
  get text(): string {
    const base = this.baseSeq > 0 ? [`[..${this.baseSeq}]`] : [];
    const waiting = this.#queue.map((work) =>
      work.kind === 'append' ? `${idOf(work.entry)}~` : `cut ${work.seq}~`,
    );
    return [...base, ...this.#entries.map(idOf), ...waiting].join(' ') || 'empty';
  }
}
