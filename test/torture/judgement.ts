/** The verdict on a history of a torture run; what is wrong goes to a page that shows it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { judge } from '../../src/simulation/checkers/judge.js';

/** Beside what was built: ignored by git, gone with `make clean`. */
const pagesPath = 'dist/torture';

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
