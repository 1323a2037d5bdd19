/** Runs a simulator, ours or a mutant's, as `make simulate` does: in processes of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const simulator = fileURLToPath(new URL('../../src/simulation/main.js', import.meta.url));

export interface Run {
  readonly code: number | null;
  readonly text: string;
}

export async function simulate(args: readonly string[], script = simulator): Promise<Run> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, text: Buffer.concat(chunks).toString() };
}
