/**
 * The search for one key: depth first over configurations. A configuration is the set of calls that have been placed
 * and the state that they left; one that was visited before is not visited again.
 *
 * Three things keep it small and leave no order out:
 * - A call whose answer says that it changed nothing is placed as soon as it fits: wherever else it could go, it could
 *   go here. (One that changes nothing here, but might elsewhere, is not: a trim that comes before a push.)
 * - Of unknown writes that nobody can tell apart (the same op, or puts whose values nobody read) the earliest goes first.
 * - The set is noted by what differs from a prefix of the calls in the order of their starts.
 *
 * Answered calls are tried before unknown ones, which mostly never happened or are of no consequence.
 */
import { identityOf, showAnswer } from './finding.js';
import { type Answer, type HistoryOp, isRead, type KeyOperation } from './history.js';
import { absentKey, advance, execute, fingerprint, type KeyState } from './key-model.js';

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
  readonly #visited = new Set<string>();
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
      const { op, answer, by } = this.#answered[index] as Call;
      endMs = Math.min(endMs, by.endMs);
      const next = advance(state, op, answer, 0);
      if (next !== undefined) answered.push({ index, state: next });
    }
    const groups = new Set<string>();
    for (const [number, { op, by }] of this.#unknown.entries()) {
      if (by.startMs > endMs) break;
      const group = this.#groups[number] as string;
      if (this.#isUsed[number] === 1 || groups.has(group)) continue;
      groups.add(group);
      const next = advance(state, op, undefined, 0);
      if (next !== undefined && next !== state) choices.push({ index: -1 - number, state: next });
    }
    if (this.#placed > this.#best.placed) this.#best = { placed: this.#placed, state, window };
    return [...choices.reverse(), ...answered.reverse()];
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
    const text = `${this.#base};${ahead.join()};${used.join()};${fingerprint(state)}`;
    if (this.#visited.has(text)) return false;
    this.#visited.add(text);
    this.#configurations += 1;
    return true;
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
