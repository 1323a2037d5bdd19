/** The verdict of both checkers on what the clients of a deployment saw; a page for people if it is a bad one. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { judge } from '../../src/simulation/checkers/judge.js';

/** Beside what was built: ignored by git, gone with `make clean`. */
const pagesPath = 'dist/histories';

export interface JudgementOptions {
  readonly title: string;
  /** The history is only of some keys; others were written to meanwhile. */
  readonly isPart?: boolean;
}

/** Every way in which it cannot be explained, a line each; none if it is right. */
export function violationsOf(
  history: readonly HistoryOp[],
  { title, isPart = false }: JudgementOptions,
): readonly string[] {
  const { result, lines, html } = judge(history, { title, hasOthers: isPart });
  if (result === 'ok') return [];
  mkdirSync(pagesPath, { recursive: true });
  const path = join(pagesPath, `${title.replace(/[^\w]+/g, '-')}-${process.pid}.html`);
  writeFileSync(path, html ?? '');
  return [`${result}, shown in ${path}`, ...lines];
}

/** Fails the test unless one linear order explains the history. Others may have written other keys meanwhile. */
export function judgeHistory(t: ExecutionContext, history: readonly HistoryOp[]): void {
  t.deepEqual(violationsOf(history, { title: t.title, isPart: true }).slice(0, 10), []);
}
