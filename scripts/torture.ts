/**
 * `make torture MINUTES=20 SEED=…`: real servers, a real ensemble of ZooKeepers, real clients; a random mix of faults of
 * links, processes, disks and ZooKeeper; then what clients saw is judged. Ends with 1 if anything is wrong, or if the run
 * shows nothing. The same seed repeats the faults, not what the machine makes of them.
 *
 * Free ports and temporary data; Ctrl-C ends it early, and nothing is left behind.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { randomFrom } from '../test/support/random.js';
import { makersFor, type MixOptions, torture } from '../test/torture/mix.js';
import { reportLines, shortcomings } from '../test/torture/mix-report.js';
import { createWorld, type World } from '../test/torture/world.js';
import { missingZooKeeper } from './zookeeper.js';

const minutesDefault = 10;
const servers = 3;
const load = { clients: 12, keys: 40, pauseMs: 15, valueBytes: 1_000, timeoutMs: 2_500 };
const linesPath = 'dist/torture';
/** As a shell has it for a program that Ctrl-C ended. */
const interruptedCode = 130;

async function main(): Promise<number> {
  const missing = await missingZooKeeper();
  if (missing !== undefined) {
    console.error(missing);
    return 2;
  }
  const minutes = numberFrom('MINUTES', minutesDefault);
  const seed = numberFrom('SEED', Date.now() % 1_000_000_000);
  const over = new AbortController();
  console.log(`to repeat: make torture MINUTES=${minutes} SEED=${seed}`);
  const interrupted = new Promise<number>((resolve) => {
    over.signal.addEventListener('abort', () => resolve(interruptedCode));
  });
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => over.abort());
  const world = await createWorld({ servers, load });
  try {
    if (over.signal.aborted) return interruptedCode;
    const say = (line: string): void => console.log(line);
    return await Promise.race([
      run(world, { minutes, seed, say, signal: over.signal }),
      interrupted,
    ]);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  } finally {
    keepLines(world, seed);
    await world.remove();
  }
}

async function run(world: World, options: MixOptions): Promise<number> {
  const report = await torture(world, options);
  for (const line of reportLines(report)) console.log(line);
  const kinds = new Set(makersFor(world).map((make) => make(randomFrom(0)).kind));
  const wrong = shortcomings(report, [...kinds]);
  for (const line of wrong) console.log(line);
  console.log(
    wrong.length === 0 ? 'the checkers: nothing is wrong' : `${wrong.length} things are wrong`,
  );
  return wrong.length === 0 ? 0 : 1;
}

/** What the servers said, for whoever looks into it. */
function keepLines(world: World, seed: number): void {
  mkdirSync(linesPath, { recursive: true });
  const path = `${linesPath}/lines-${seed}.txt`;
  writeFileSync(path, `${world.chain.lines.join('\n')}\n`);
  console.log(`what the servers printed: ${path}`);
}

function numberFrom(name: string, fallback: number): number {
  const text = process.env[name] ?? '';
  if (text === '') return fallback;
  const number = Number(text);
  if (!Number.isFinite(number) || number < 0)
    throw new Error(`${name} takes a number, not '${text}'`);
  return number;
}

// What a fault that was cut short still waits for is of no interest.
process.exit(await main());
