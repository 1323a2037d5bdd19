/** Resident memory of other processes of this machine, from /proc. Linux only. */
import { readdir, readFile } from 'node:fs/promises';

/** The process whose command line has all of these arguments. Throws if there is not exactly one. */
export async function processWith(args: readonly string[]): Promise<number> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const parts = line.split('\0');
    if (args.every((arg) => parts.includes(arg))) found.push(Number(name));
  }
  if (found.length !== 1) throw new Error(`${found.length} processes with ${args.join(' ')}`);
  return found[0] as number;
}

/** Bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** Samples until stopped; answers the largest. */
export function watchPeak(pid: number): () => Promise<number> {
  let peak = 0;
  const stop = new AbortController();
  const done = (async () => {
    while (!stop.signal.aborted) {
      peak = Math.max(peak, await residentBytes(pid).catch(() => 0));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  return async () => {
    stop.abort();
    await done;
    return peak;
  };
}
