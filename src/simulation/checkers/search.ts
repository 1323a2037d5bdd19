/**
 * The search for one key: depth first over configurations. A configuration is the set of calls that have been placed
 * and the state that they left; one that was visited before is not visited again.
 *
 * Three things keep it small and leave no order out:
 * - A call whose answer says that it changed nothing is placed as soon as it fits: wherever else it could go, it could
 *   go here. (One that changes nothing here, but might elsewhere, is not: a trim that comes before a push.)
 * - Of unknown writes that nobody can tell apart (the same op, or puts whose values nobody read) the earliest goes first.
 * - A configuration is left if one was visited that can do whatever it can: with the same answered calls placed, a state
 *   that behaves alike from here on (what nobody reads any more is all the same), no unknown write more used up, and
 *   no more said about the version.
 *
 * - A value that only one call wrote and that was read with its version tells that call's version, and versions only
 *   grow: a state that is past what a call under way must still see is given up at once.
 *
 * Answered calls are tried before unknown ones, which mostly never happened or are of no consequence.
 */
import { identityOf, showAnswer } from './finding.js';
import { type Answer, type HistoryOp, isRead, type KeyOperation } from './history.js';
import { isPast, versionsOf } from './versions.js';
import { absentKey, advance, execute, type KeyState } from './key-model.js';

export interface Call {
  readonly op: KeyOperation;
  /** Absent: whether it was executed is not known. */
  readonly answer: Answer | undefined;
  readonly by: HistoryOp;
}

type SearchOutcome =
  | { readonly result: 'ok' | 'gave up'; readonly configurations: number }
  | {
      readonly result: 'violated';
      readonly configurations: number;
      /** How many answered calls the best order explains. */
      readonly placed: number;
      /** Where the best order came to its end: what it cannot explain, and what was under way then. */
      readonly blocked: readonly HistoryOp[];
      /** What the first of them would answer there. */
      readonly expected: string | undefined;
    };

export function searchKey(calls: readonly Call[], configurationsMax: number): SearchOutcome {
  return new Search(calls, configurationsMax).run();
}

/** What a configuration has used up beyond its text. */
interface Visit {
  /** Unknown writes that were executed, ascending. */
  readonly used: readonly number[];
  /** As in the state, where the version is not known. */
  readonly above: number;
}

/** A place where the search can go on in several ways. */
interface Branch {
  readonly state: KeyState;
  /** Length of the trail of placed calls here. */
  readonly depth: number;
  /** To be tried, the last one first: a call and the state that it leaves. */
  readonly choices: { readonly index: number; readonly state: KeyState }[];
}

class Search {
  readonly #answered: Call[];
  readonly #unknown: Call[];
  /** By answered call. */
  readonly #isInert: boolean[];
  readonly #groups: string[];
  readonly #configurationsMax: number;
  /** By answered calls placed, noted by what differs from a prefix of them, and state. */
  readonly #visited = new Map<string, Visit[]>();
  /** The last answered call that shows a value. */
  readonly #lastReader = new Map<string, number>();
  readonly #isCounter: boolean;
  readonly #versionOf: (call: Call) => number;
  /** Numbers of the placed calls: answered ones from 0 on, unknown ones from -1 down. */
  readonly #trail: number[] = [];
  readonly #isPlaced: Uint8Array;
  readonly #isUsed: Uint8Array;
  /** All answered calls before it are placed, it is not. */
  #base = 0;
  /** Answered calls that are placed. */
  #placed = 0;
  #configurations = 0;
  #best = { placed: -1, state: absentKey, window: [] as number[] };

  constructor(calls: readonly Call[], configurationsMax: number) {
    const byStart = [...calls].sort((one, other) => one.by.startMs - other.by.startMs);
    this.#answered = byStart.filter(({ answer }) => answer !== undefined);
    this.#unknown = byStart.filter(({ answer }) => answer === undefined);
    this.#isInert = this.#answered.map(isInert);
    this.#groups = groupsOf(this.#unknown, this.#answered);
    this.#configurationsMax = configurationsMax;
    this.#versionOf = versionsOf(calls);
    this.#isCounter = calls.some(({ op }) => op.kind === 'add');
    for (const [index, { answer }] of this.#answered.entries()) {
      const value = answer?.found?.value;
      if (value !== undefined) this.#lastReader.set(value, index);
    }
    this.#isPlaced = new Uint8Array(this.#answered.length);
    this.#isUsed = new Uint8Array(this.#unknown.length);
  }

  run(): SearchOutcome {
    const branches: Branch[] = [];
    let state = absentKey;
    for (;;) {
      state = this.#placeIdle(state);
      if (this.#base === this.#answered.length) return this.#outcome('ok');
      if (this.#isNew(state)) {
        if (this.#configurations > this.#configurationsMax) return this.#outcome('gave up');
        branches.push({ state, depth: this.#trail.length, choices: this.#choices(state) });
      }
      let branch = branches.at(-1);
      while (branch !== undefined && branch.choices.length === 0) {
        branches.pop();
        branch = branches.at(-1);
      }
      if (branch === undefined) return this.#violation();
      this.#takeBack(branch.depth);
      const choice = branch.choices.pop() as Branch['choices'][number];
      this.#place(choice.index);
      state = choice.state;
    }
  }

  /** Answered calls that may be next: they began before the end of all that are not placed yet. */
  #window(): number[] {
    const window: number[] = [];
    let endMs = Number.POSITIVE_INFINITY;
    for (let index = this.#base; index < this.#answered.length; index++) {
      if (this.#isPlaced[index] === 1) continue;
      const { by } = this.#answered[index] as Call;
      if (by.startMs > endMs) break;
      endMs = Math.min(endMs, by.endMs);
      window.push(index);
    }
    return window;
  }

  #placeIdle(state: KeyState): KeyState {
    let found = true;
    while (found) {
      found = false;
      for (const index of this.#window()) {
        const { op, answer } = this.#answered[index] as Call;
        if (!this.#isInert[index] || advance(state, op, answer, 0) !== state) continue;
        this.#place(index);
        found = true;
      }
    }
    return state;
  }

  #choices(state: KeyState): Branch['choices'] {
    const choices: Branch['choices'] = [];
    const window = this.#window();
    const answered: Branch['choices'] = [];
    let endMs = Number.POSITIVE_INFINITY;
    for (const index of window) {
      const call = this.#answered[index] as Call;
      if (isPast(state, this.#versionOf(call), isRead(call.op))) return [];
      endMs = Math.min(endMs, call.by.endMs);
      const next = this.#advance(state, call);
      if (next !== undefined) answered.push({ index, state: next });
    }
    const groups = new Set<string>();
    for (const [number, call] of this.#unknown.entries()) {
      if (call.by.startMs > endMs) break;
      const group = this.#groups[number] as string;
      if (this.#isUsed[number] === 1 || groups.has(group)) continue;
      groups.add(group);
      const next = this.#advance(state, call);
      if (next !== undefined && next !== state) choices.push({ index: -1 - number, state: next });
    }
    if (this.#placed > this.#best.placed) this.#best = { placed: this.#placed, state, window };
    return [...choices.reverse(), ...answered.reverse()];
  }

  #advance(state: KeyState, call: Call): KeyState | undefined {
    const version = call.op.kind === 'put' ? this.#versionOf(call) : 0;
    const next = advance(state, call.op, call.answer, version);
    // A condition may have told more of the version before than the state did.
    return next !== undefined && next.version !== 0 && next.version <= next.above
      ? undefined
      : next;
  }

  #place(index: number): void {
    this.#trail.push(index);
    if (index < 0) this.#isUsed[-1 - index] = 1;
    else {
      this.#isPlaced[index] = 1;
      this.#placed += 1;
    }
    while (this.#isPlaced[this.#base] === 1) this.#base += 1;
  }

  #takeBack(depth: number): void {
    while (this.#trail.length > depth) {
      const index = this.#trail.pop() as number;
      if (index < 0) this.#isUsed[-1 - index] = 0;
      else {
        this.#isPlaced[index] = 0;
        this.#placed -= 1;
        this.#base = Math.min(this.#base, index);
      }
    }
  }

  #isNew(state: KeyState): boolean {
    const ahead: number[] = [];
    let endMs = Number.POSITIVE_INFINITY;
    for (let index = this.#base; index < this.#answered.length; index++) {
      const { by } = this.#answered[index] as Call;
      if (by.startMs > endMs) break;
      if (this.#isPlaced[index] === 1) ahead.push(index - this.#base);
      else endMs = Math.min(endMs, by.endMs);
    }
    const used: number[] = [];
    for (const [number, isUsed] of this.#isUsed.entries()) if (isUsed === 1) used.push(number);
    const text = `${this.#base};${ahead.join()};${this.#fingerprint(state)}`;
    const visits = this.#visited.get(text);
    const visit: Visit = { used, above: state.version === 0 ? state.above : 0 };
    if (visits?.some((earlier) => covers(earlier, visit)) === true) return false;
    if (visits === undefined) this.#visited.set(text, [visit]);
    else visits.push(visit);
    this.#configurations += 1;
    return true;
  }

  /** Equal for states that behave alike from here on, but for what versions are known to exceed. */
  #fingerprint({ content, version }: KeyState): string {
    if (typeof content !== 'string' || this.#isCounter) {
      return `${version} ${JSON.stringify(content) ?? ''}`;
    }
    const isRead = (this.#lastReader.get(content) ?? -1) >= this.#base;
    return isRead ? `${version} ${JSON.stringify(content)}` : `${version} unread`;
  }

  #outcome(result: 'ok' | 'gave up'): SearchOutcome {
    return { result, configurations: this.#configurations };
  }

  #violation(): SearchOutcome {
    const { placed, state, window } = this.#best;
    const open = window.map((index) => this.#answered[index] as Call);
    // The one that had to be placed first is what nothing explains.
    open.sort((one, other) => one.by.endMs - other.by.endMs);
    const [first] = open;
    const expected =
      first === undefined ? undefined : showAnswer(execute(state, first.op, 0).answer);
    return {
      result: 'violated',
      configurations: this.#configurations,
      placed,
      blocked: open.map(({ by }) => by),
      expected,
    };
  }
}

/** Whatever can be done after `other` can be done after `visit`. */
function covers(visit: Visit, other: Visit): boolean {
  if (visit.above > other.above || visit.used.length > other.used.length) return false;
  let next = 0;
  for (const number of other.used) if (visit.used[next] === number) next += 1;
  return next === visit.used.length;
}

/** Whatever state it met, it left it as it was. */
function isInert({ op, answer }: Call): boolean {
  if (isRead(op) || answer?.refused !== undefined) return true;
  if (op.kind === 'delete') return answer?.existed === false;
  return op.kind === 'pop' && answer?.elements?.length === 0;
}

/** Equal for unknown writes that cannot be told apart. */
function groupsOf(unknown: readonly Call[], answered: readonly Call[]): string[] {
  const read = new Set<string>();
  for (const { answer } of answered) {
    if (answer?.found !== undefined && answer.found !== null) read.add(answer.found.value);
  }
  const isCounted = [...unknown, ...answered].some(({ op }) => op.kind === 'add');
  return unknown.map(({ op }) => {
    // A counter goes on from a value that nobody need have read.
    if (op.kind !== 'put' || isCounted || read.has(op.value)) return identityOf(op);
    return `put unread ${op.version ?? ''}`;
  });
}
