/**
 * `make model`: searches the protocol model in `model/` with spin: completely with all rules on, and with
 * each rule off until its counterexample. Prints a table; ends with 1 if anything is not as expected.
 *
 *     --quick        smaller bounds, for CI        --only NAME   some of the runs, by the start of their names
 *     --trail NAME   one run, and its counterexample in words
 *
 * Searches are breadth first, so trails are the shortest, and keep whole states (no hashing), so complete
 * means complete. Everything that is built lies in a temporary directory.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type ModelRun, modelRuns } from './model-runs.js';
import { toolMissing } from './model-tools.js';

const folder = resolve(import.meta.dirname, '../../model');
const megabytesMax = { quick: 900, full: 3800 };
/** A short search costs less than a good compilation of it. */
const optimization = { breaks: '-O0', reached: '-O1', holds: '-O1' };

interface Outcome {
  readonly run: ModelRun;
  readonly result: 'holds' | 'violated' | 'cut' | 'failed';
  readonly isExpected: boolean;
  /** What was violated, or why there is no result. */
  readonly finding: string;
  readonly states: number;
  readonly depth: number;
  readonly seconds: number;
  readonly trail: readonly string[];
}

interface Finished {
  readonly code: number | null;
  readonly output: string;
}

class ToolError extends Error {}

/** Ended with this process, which may be interrupted. */
const children = new Set<ReturnType<typeof spawn>>();

function execute(command: string, args: readonly string[], directory: string): Promise<Finished> {
  return new Promise((fulfil, reject) => {
    const child = spawn(command, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let output = '';
    const onData = (data: Buffer): void => {
      output += data.toString();
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.once('error', reject);
    child.once('close', (code) => {
      children.delete(child);
      fulfil({ code, output });
    });
  });
}

async function requireTool(
  command: string,
  args: readonly string[],
  advice: string,
): Promise<void> {
  try {
    await execute(command, args, tmpdir());
  } catch (error) {
    throw new ToolError(`${command} does not run (${String(error)}). Install it: ${advice}`);
  }
}

async function search(run: ModelRun, isQuick: boolean, directory: string): Promise<Outcome> {
  const startedAtMs = performance.now();
  const flags = (isQuick ? (run.quick ?? run.flags) : run.flags).map((flag) => `-D${flag}`);
  const source = join(folder, `${run.model}.pml`);
  const outcome = (part: Partial<Outcome>): Outcome => ({
    run,
    result: 'failed',
    isExpected: false,
    finding: '',
    states: 0,
    depth: 0,
    seconds: (performance.now() - startedAtMs) / 1000,
    trail: [],
    ...part,
  });

  const generated = await execute('spin', ['-a', ...flags, source], directory);
  if (generated.code !== 0) return outcome({ finding: generated.output.trim() });
  const memory = `-DMEMLIM=${isQuick ? megabytesMax.quick : megabytesMax.full}`;
  const options = ['-w', '-DSAFETY', '-DNOREDUCE', '-DBFS', '-DVECTORSZ=1024', memory];
  const compiled = await execute(
    'gcc',
    [
      run.isLong === true ? optimization.holds : optimization[run.expected],
      ...options,
      '-o',
      'pan',
      'pan.c',
    ],
    directory,
  );
  if (compiled.code !== 0) return outcome({ finding: compiled.output.trim() });

  // -E: that nothing can happen any more is no error by itself; where it is one, the model says so.
  const { output } = await execute('./pan', ['-E', '-w22'], directory);
  const states = numberIn(output, /([\d.e+]+) states, stored/);
  const depth = numberIn(output, /depth reached (\d+)/);
  const errors = /errors: (\d+)/.exec(output)?.[1];
  if (errors === undefined) return outcome({ finding: output.trim().slice(-200) });
  if (errors === '0') {
    const isComplete = !output.includes('Search not completed') && !output.includes('too small');
    return outcome({
      result: isComplete ? 'holds' : 'cut',
      isExpected: isComplete && run.expected === 'holds',
      states,
      depth,
    });
  }
  const trail = await replay(run, flags, source, directory);
  const finding = trail.find((line) => line.includes('**'))?.replace(/^.*\*\* /, '');
  return outcome({
    // Without such a line spin found something else: an error of the model itself.
    result: finding === undefined ? 'failed' : 'violated',
    isExpected: finding !== undefined && run.expected !== 'holds',
    finding: finding ?? output.trim().split('\n')[0] ?? '',
    states,
    depth,
    trail,
  });
}

async function replay(
  run: ModelRun,
  flags: readonly string[],
  source: string,
  directory: string,
): Promise<readonly string[]> {
  const args = ['-T', '-t', '-k', `${run.model}.pml.trail`, ...flags, source];
  const { output } = await execute('spin', args, directory);
  const lines = output.split('\n');
  const end = lines.findIndex((line) => line.startsWith('spin: '));
  return end < 0 ? lines : lines.slice(0, end);
}

function numberIn(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? 0);
}

function lineOf({ run, result, isExpected, finding, states, depth, seconds }: Outcome): string {
  const columns = [
    (isExpected ? 'ok' : 'NOT OK').padEnd(6),
    run.name.padEnd(18),
    run.expected.padEnd(8),
    result.padEnd(9),
    states.toLocaleString('en').padStart(12),
    String(depth).padStart(5),
    `${seconds.toFixed(1)} s`.padStart(8),
    ` ${run.what}`,
  ];
  const line = columns.join(' ');
  return finding === '' ? line : `${line}\n${' '.repeat(26)}-> ${finding}`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      trail: { type: 'string' },
      only: { type: 'string' },
    },
  });
  await requireTool('spin', ['-V'], 'apt-get install spin');
  await requireTool('gcc', ['--version'], 'apt-get install gcc');
  const isQuick = values.quick;
  const chosen = modelRuns.filter(({ name, fullOnly }) => {
    if (values.trail !== undefined) return name === values.trail;
    return name.startsWith(values.only ?? '') && !(isQuick && fullOnly === true);
  });
  if (chosen.length === 0) {
    console.error(`No such run. There are: ${modelRuns.map(({ name }) => name).join(' ')}`);
    return 2;
  }

  const workspace = await mkdtemp(join(tmpdir(), 'catena-model-'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      for (const child of children) child.kill();
    });
  }
  const startedAtMs = performance.now();
  const outcomes: Outcome[] = [];
  try {
    // The long ones are first in the list: so no core waits at the end.
    const waiting = [...chosen];
    const work = async (): Promise<void> => {
      for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
        const directory = await mkdtemp(join(workspace, 'run-'));
        const outcome = await search(run, isQuick, directory);
        await rm(directory, { recursive: true });
        outcomes.push(outcome);
        console.log(lineOf(outcome));
        if (values.trail !== undefined) console.log(`\n${outcome.trail.join('\n')}`);
      }
    };
    await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
  const wrong = outcomes.filter(({ isExpected }) => !isExpected);
  const states = outcomes.reduce((sum, outcome) => sum + outcome.states, 0);
  console.log(
    `${outcomes.length} searches, ${states.toLocaleString('en')} states, ${wrong.length} not as expected, ` +
      `${((performance.now() - startedAtMs) / 1000).toFixed(0)} s`,
  );
  return wrong.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof ToolError)) throw error;
  console.error(`make model: ${error.message}`);
  process.exitCode = toolMissing;
}
