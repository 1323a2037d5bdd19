/** The verdict of both checkers on what the clients of a deployment saw; a page for people if it is a bad one. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { judge } from '../../src/simulation/checkers/judge.js';

/** Fails the test unless one linear order explains the history. Others may have written other keys meanwhile. */
export function judgeHistory(t: ExecutionContext, history: readonly HistoryOp[]): void {
  const { result, lines, html } = judge(history, { title: t.title, hasOthers: true });
  if (result !== 'ok') {
    const page = join(mkdtempSync(join(tmpdir(), 'catena-history-')), 'history.html');
    writeFileSync(page, html ?? '');
    t.log(`${result}: the history is shown in ${page}`);
  }
  t.deepEqual([result, ...lines.slice(0, 10)], ['ok']);
}
