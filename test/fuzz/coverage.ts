/**
 * Which code of the product has ever run in this process, by V8's precise coverage: asked for after a batch of
 * inputs it costs a third of a millisecond, and the inputs a fifth more time. Only "has run", not how often:
 * enough to keep the inputs that lead somewhere new.
 *
 * Invariant: of each function that ran, `#idle` holds what of its text never did.
 */
import { type Profiler, Session } from 'node:inspector';

/** Compiled message types of protobufjs have no address. */
const products = /^$|\/dist\/src\/|\/protobufjs\//;

type Interval = readonly [start: number, end: number];

export class Coverage {
  readonly #session = new Session();
  readonly #idle = new Map<string, Interval[]>();

  constructor() {
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** How many functions have run. */
  get functions(): number {
    return this.#idle.size;
  }

  /** Whether code ran since the last call that had not run before; it counts as run now if `keep`. */
  takeNew(keep: boolean): boolean {
    const answer = this.#post('Profiler.takePreciseCoverage');
    let isNew = false;
    for (const script of (answer as Profiler.TakePreciseCoverageReturnType).result) {
      if (!products.test(script.url)) continue;
      for (const { ranges } of script.functions) {
        if (this.#isNew(script.scriptId, ranges, keep)) isNew = true;
      }
    }
    return isNew;
  }

  close(): void {
    this.#session.disconnect();
  }

  #isNew(scriptId: string, ranges: readonly Profiler.CoverageRange[], keep: boolean): boolean {
    const [whole] = ranges;
    if (whole === undefined || whole.count === 0) return false;
    const id = `${scriptId}:${whole.startOffset}`;
    const idleNow = ranges
      .filter(({ count }) => count === 0)
      .map(({ startOffset, endOffset }): Interval => [startOffset, endOffset]);
    const idleBefore = this.#idle.get(id);
    if (idleBefore === undefined) {
      if (keep) this.#idle.set(id, idleNow);
      return true;
    }
    if (idleBefore.length === 0) return false;
    const idle = common(idleBefore, idleNow);
    if (lengthOf(idle) === lengthOf(idleBefore)) return false;
    if (keep) this.#idle.set(id, idle);
    return true;
  }

  /** In one process the answer is there when the call returns. */
  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  }
}

function common(some: readonly Interval[], others: readonly Interval[]): Interval[] {
  return some.flatMap(([start, end]) =>
    others
      .map(([from, to]): Interval => [Math.max(start, from), Math.min(end, to)])
      .filter(([from, to]) => from < to),
  );
}

function lengthOf(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, [start, end]) => sum + end - start, 0);
}
