/** The lines typed before, kept in a file of the user's. Without a place for it there is no history; never an error. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** CATENA_HISTORY names the file (empty: none), else it is below the user's state directory. */
export function historyPath(env: NodeJS.ProcessEnv): string | undefined {
  const named = env['CATENA_HISTORY'];
  if (named !== undefined) return named === '' ? undefined : named;
  const state = env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state');
  return join(state, 'catena', 'history');
}

/** Newest first. */
export function loadHistory(path: string | undefined): string[] {
  if (path === undefined) return [];
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean).reverse();
  } catch {
    return [];
  }
}

/** `lines`: newest first. Only the user may read the file: keys and values are in it. */
export function saveHistory(path: string | undefined, lines: readonly string[]): void {
  if (path === undefined) return;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${[...lines].reverse().join('\n')}\n`, { mode: 0o600 });
  } catch {
    // No history then.
  }
}
