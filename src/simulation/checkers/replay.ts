/**
 * Replay: the one order of op ids must explain every answer. The writes are executed in their order on the model of each
 * key; every answer must be what the state that it names answers; and what was answered before an op began must not lie
 * behind it, across all keys. Linear in the history, but for sorting it.
 *
 * A read of one key may name a state before writes of other keys that were answered already: a server that has those,
 * and knows that they leave this key alone, answers at once. So it stands for every state from the one that it names
 * to the next change of its key, and real time decides which one of them it was (the earliest that fits).
 *
 * Without a log, loose writes (see placement.ts) are executed when an answer cannot be explained otherwise; of vague keys
 * the black box alone judges the answers, and only their places are judged here.
 */
import { type Finding, findingsMax, showAnswer, showId, showOp } from './finding.js';
import { type HistoryOp, isRead, keyOf, type LoggedOp, type OpId } from './history.js';
import { absentKey, advance, execute, isPresent, type KeyState } from './key-model.js';
import { explainByLoose } from './loose.js';
import {
  type Placed,
  placeByAnswers,
  placeByLog,
  type Placement,
  type Write,
} from './placement.js';
import { checkRealTime, type Stretch } from './real-time.js';

interface ReplayOptions {
  /** The committed order from op 1 on; without it, the answers tell it. */
  readonly log?: readonly LoggedOp[];
  /** Others wrote as well, other keys than this history names. */
  readonly hasOthers?: boolean;
}

/** Everything that the one order does not explain; empty if it explains all. */
export function replay(history: readonly HistoryOp[], options: ReplayOptions = {}): Finding[] {
  const { log, hasOthers = false } = options;
  const placement =
    log === undefined ? placeByAnswers(history, hasOthers) : placeByLog(history, log, hasOthers);
  const reads = inOrder(history);
  const findings = [
    ...placement.findings,
    ...checkEpochs(placement.order, reads),
    ...new Replayer(placement, hasOthers).run(reads),
  ];
  return findings.slice(0, findingsMax);
}

interface Reading {
  readonly op: HistoryOp;
  readonly at: OpId;
}

/** Whether a read tells what the key held, so that no loose write can have come just before it unseen. */
function tellsState({ kind, answer }: HistoryOp): boolean {
  if (answer?.refused !== undefined) return false;
  return kind !== 'range' || answer?.elements?.length !== 0;
}

/** Of reads that name no op id the version tells the least that they reflect. */
function placeOf(op: HistoryOp): OpId | undefined {
  if (op.at !== undefined) return op.at;
  const version = op.answer?.found?.version;
  return version === undefined ? undefined : { epoch: 0, seq: version };
}

function inOrder(history: readonly HistoryOp[]): Reading[] {
  const reads: Reading[] = [];
  for (const op of history) {
    if (op.outcome !== 'ok' || !isRead(op)) continue;
    const at = placeOf(op);
    if (at !== undefined) reads.push({ op, at });
  }
  return reads.sort((one, other) => one.at.seq - other.at.seq);
}

/** Along the order epochs never fall, and an op id has one epoch wherever it is named. */
function checkEpochs(order: readonly Placed[], reads: readonly Reading[]): Finding[] {
  const findings: Finding[] = [];
  let newest: { at: OpId; op: HistoryOp | undefined } = { at: { epoch: 0, seq: 0 }, op: undefined };
  const check = (at: OpId, op: HistoryOp | undefined): void => {
    const isFirst = at.seq === 0;
    if (at.epoch === 0 && !isFirst) return;
    const { epoch, seq } = newest.at;
    if (at.epoch < epoch || (at.seq === seq && at.epoch !== epoch) || (isFirst && at.epoch !== 0)) {
      const ops = [newest.op, op].filter((each) => each !== undefined);
      const [text, before] = [op, newest.op].map((each) =>
        each === undefined ? '' : showOp(each),
      );
      findings.push({ line: `${showId(at)} after ${showId(newest.at)}: ${before} ${text}`, ops });
    }
    if (at.epoch >= epoch) newest = { at, op };
  };
  let next = 0;
  for (const { seq, epoch, by } of order) {
    for (let read = reads[next]; read !== undefined && read.at.seq < seq; read = reads[next]) {
      check(read.at, read.op);
      next += 1;
    }
    check({ epoch, seq }, by);
  }
  for (const { at, op } of reads.slice(next)) check(at, op);
  return findings;
}

interface Cell {
  state: KeyState;
  /** Reads since the last change: they may stand for any state up to the next one. */
  open: Stretch[];
  /** No loose write was executed up to here, but those that were used already. */
  settledUpTo: number;
  readonly loose: Write[];
}

class Replayer {
  readonly #placement: Placement;
  readonly #hasOthers: boolean;
  readonly #cells = new Map<string, Cell>();
  readonly #stretches: Stretch[] = [];
  readonly #findings: Finding[] = [];
  /** Reads of the whole table since the last change of it. */
  #openTableReads: Stretch[] = [];
  #present = 0;
  #looseKeys = 0;

  constructor(placement: Placement, hasOthers: boolean) {
    this.#placement = placement;
    this.#hasOthers = hasOthers;
    this.#looseKeys = placement.loose.size + placement.vague.size;
  }

  run(reads: readonly Reading[]): Finding[] {
    let next = 0;
    for (const placed of this.#placement.order) {
      for (let read = reads[next]; read !== undefined && read.at.seq < placed.seq; ) {
        this.#read(read);
        next += 1;
        read = reads[next];
      }
      this.#write(placed);
    }
    for (; next < reads.length; next++) this.#read(reads[next] as Reading);
    return [...this.#findings, ...checkRealTime(this.#stretches)];
  }

  #cell(key: string): Cell {
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = {
        state: absentKey,
        open: [],
        settledUpTo: 0,
        loose: this.#placement.loose.get(key)?.slice() ?? [],
      };
      this.#cells.set(key, cell);
    }
    return cell;
  }

  #write({ seq, op, by, seen }: Placed): void {
    const cell = this.#cell(op.key);
    const isVague = this.#placement.vague.has(op.key);
    let next = advance(cell.state, op, isVague ? undefined : seen, seq);
    if (next === undefined && by !== undefined && this.#useLoose(cell, by, seq)) {
      next = advance(cell.state, op, seen, seq);
    }
    if (next === undefined) {
      this.#unexplained(by as HistoryOp, execute(cell.state, op, seq).answer);
      next = execute(cell.state, op, seq).state;
    }
    this.#change(cell, next, seq);
    // One that was refused need not tell whether a loose write came before it.
    if (seen?.refused === undefined) cell.settledUpTo = seq;
    if (by !== undefined)
      this.#stretches.push({ op: by, isWrite: true, from: seq, until: seq + 1 });
  }

  #read({ op, at: { seq } }: Reading): void {
    const stretch: Stretch = { op, isWrite: false, from: seq, until: Number.POSITIVE_INFINITY };
    this.#stretches.push(stretch);
    const key = keyOf(op);
    if (key === undefined) {
      this.#openTableReads.push(stretch);
      this.#checkTable(op);
      return;
    }
    const cell = this.#cell(key);
    if (op.kind === 'size' || op.kind === 'scan') return;
    if (
      !this.#placement.vague.has(key) &&
      advance(cell.state, op, op.answer ?? {}, seq) === undefined &&
      !this.#useLoose(cell, op, seq + 1)
    ) {
      this.#unexplained(op, execute(cell.state, op, seq).answer);
    }
    const tells = tellsState(op);
    if (tells) cell.settledUpTo = seq;
    // One that tells little may also stand for what a loose write made of the key.
    if (tells || cell.loose.length === 0) cell.open.push(stretch);
  }

  #change(cell: Cell, next: KeyState, seq: number): void {
    if (next === cell.state) return;
    for (const stretch of cell.open) stretch.until = seq;
    for (const stretch of this.#openTableReads) stretch.until = seq;
    cell.open = [];
    this.#openTableReads = [];
    this.#present += Number(isPresent(next)) - Number(isPresent(cell.state));
    cell.state = next;
  }

  /** Executes loose writes in places below `until` if that explains the answer to `op`. */
  #useLoose(cell: Cell, op: HistoryOp, until: number): boolean {
    if (op.kind === 'size' || op.kind === 'scan') return false;
    const from = cell.settledUpTo + 1;
    const fitting = cell.loose.filter(
      ({ startMs, at }) =>
        (startMs <= op.endMs || op.outcome === 'unknown') &&
        (at === undefined || (at.seq >= from && at.seq < until)),
    );
    const chain = explainByLoose(cell.state, op, fitting, until - from);
    for (const loose of chain ?? []) {
      cell.loose.splice(cell.loose.indexOf(loose), 1);
      this.#stretches.push({ op: loose, isWrite: true, from, until });
      // Where exactly it was executed nobody knows: the reads before it may have been just below it.
      this.#change(cell, execute(cell.state, loose, 0).state, until - 1);
      cell.settledUpTo += 1;
    }
    return chain !== undefined;
  }

  #unexplained(op: HistoryOp, expected: unknown): void {
    const line = `the order answers ${showAnswer(expected)} instead: ${showOp(op)}`;
    this.#findings.push({ line, ops: [op] });
  }

  #checkTable(op: HistoryOp): void {
    const { keys, entries } = op.answer ?? {};
    const slack = this.#looseKeys;
    if (keys !== undefined) {
      const isTooFew = keys < this.#present - slack;
      const isTooMany = !this.#hasOthers && keys > this.#present + slack;
      if (isTooFew || isTooMany) this.#unexplained(op, { keys: this.#present });
    }
    if (entries === undefined) return;
    let known = 0;
    const seen = new Set<string>();
    for (const { key, value, version } of entries) {
      const cell = this.#cells.get(key);
      if (cell === undefined && this.#hasOthers && !this.#placement.loose.has(key)) continue;
      if (seen.has(key)) this.#unexplained(op, `${key} once`);
      seen.add(key);
      known += 1;
      if (this.#placement.vague.has(key)) continue;
      const { state } = cell ?? this.#cell(key);
      if (value === undefined) {
        if (!isPresent(state) && !this.#placement.loose.has(key))
          this.#unexplained(op, `no ${key}`);
        continue;
      }
      const found = { value, ...(version === undefined ? {} : { version }) };
      const asRead: HistoryOp = { ...op, kind: 'get', key, answer: { found } };
      if (advance(state, asRead, asRead.answer, 0) !== undefined) continue;
      if (!this.#useLoose(this.#cell(key), asRead, (op.at?.seq ?? 0) + 1)) {
        this.#unexplained(asRead, execute(state, asRead, 0).answer);
      }
    }
    if (Math.abs(known - this.#present) > slack) {
      this.#unexplained(op, `${this.#present} keys, not ${known}`);
    }
  }
}
