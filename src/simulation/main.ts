/**
 * `make simulate`: runs seeds, several processes side by side, and explains what fails: the seed, the commit, the command
 * that repeats it, and with `--shrink` a shorter one. With `--trace` one seed is told in lines.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { shrink } from './shrink.js';
import { Simulation, SimulationFailure, type SimulationOptions } from './simulation.js';
import { traceTo } from './trace.js';

const ticksDefault = 3_000;
const shrinkRunsMax = 200;
const progressSeeds = 1_000;

/** One line of a worker, as JSON. */
interface Outcome {
  readonly seed: number;
  readonly digest?: string;
  readonly events?: number;
  readonly ops?: number;
  readonly committed?: number;
  readonly equalStates?: number;
  readonly epochs?: number;
  readonly strikes: readonly string[];
  readonly failure?: string;
  readonly html?: string | undefined;
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    ticks: { type: 'string', default: String(ticksDefault) },
    strikes: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    'stop-at-failure': { type: 'boolean', default: false },
    worker: { type: 'string' },
  },
});

function whole(name: string, text: string, min: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= min) return number;
  console.error(`--${name} is '${text}'; it must be a whole number from ${min}`);
  process.exit(2);
}

const seed = whole('seed', values.seed, 0);
const seeds = whole('seeds', values.seeds, 1);
const ticks = whole('ticks', values.ticks, 1);
const jobs = Math.min(whole('jobs', values.jobs, 1), seeds);
const strikes = values.strikes === undefined ? {} : { strikes: numbersOf(values.strikes) };

function numbersOf(list: string): ReadonlySet<number> {
  const texts = list === '' ? [] : list.split(',');
  return new Set(texts.map((text) => whole('strikes', text, 0)));
}

/** What goes wrong where nobody waits for it belongs to the run that is on. */
let running: Simulation | undefined;
process.on('uncaughtException', (error) => running?.fail(error));
process.on('unhandledRejection', (reason) => running?.fail(reason));

async function runOne(options: SimulationOptions): Promise<Outcome> {
  const simulation = new Simulation(options);
  running = simulation;
  try {
    const report = await simulation.run();
    return { ...report, strikes: report.strikes.map(({ kind }) => kind) };
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    const stack = error.cause instanceof Error ? `\n${error.cause.stack}` : '';
    return {
      seed: options.seed,
      strikes: error.strikes.map(({ kind }) => kind),
      failure: error.message + (options.trace === undefined ? '' : stack),
      html: error.html,
    };
  }
}

/** This process runs every n-th seed, and says of each what became of it. */
async function work(first: number, step: number): Promise<void> {
  for (let each = first; each < seed + seeds; each += step) {
    const outcome = await runOne({ seed: each, ticks, ...strikes });
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
    if (outcome.failure !== undefined && values['stop-at-failure']) return;
  }
}

class Tally {
  readonly failed: Outcome[] = [];
  readonly strikes = new Map<string, number>();
  runs = 0;
  events = 0;
  ops = 0;
  committed = 0;
  epochs = 0;
  equalStates = 0;

  add(outcome: Outcome): void {
    this.runs += 1;
    this.events += outcome.events ?? 0;
    this.ops += outcome.ops ?? 0;
    this.committed += outcome.committed ?? 0;
    this.epochs += outcome.epochs ?? 0;
    this.equalStates += outcome.equalStates ?? 0;
    for (const kind of outcome.strikes) this.strikes.set(kind, (this.strikes.get(kind) ?? 0) + 1);
    if (outcome.failure !== undefined) this.failed.push(outcome);
  }
}

async function runAll(): Promise<Tally> {
  const tally = new Tally();
  const script = fileURLToPath(import.meta.url);
  const workers = Array.from({ length: jobs }, async (_, index) => {
    const own = ['--worker', `${seed + index}`, '--jobs', `${jobs}`];
    const args = [script, ...process.argv.slice(2), ...own];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: child.stdout })) {
      const outcome = JSON.parse(line) as Outcome;
      tally.add(outcome);
      if (tally.runs % progressSeeds === 0) console.log(`${tally.runs} of ${seeds} seeds …`);
      if (outcome.failure !== undefined) explain(outcome);
    }
    if (child.exitCode !== 0 && child.exitCode !== null) {
      throw new Error(`a worker ended with ${child.exitCode}`);
    }
  });
  await Promise.all(workers);
  return tally;
}

function explain({ seed: failed, failure, html }: Outcome): void {
  console.log(`FAILED seed ${failed} of commit ${commit()}: ${failure}`);
  console.log(`  again: ${command(failed, ticks, values.strikes)}`);
  if (html === undefined) return;
  const path = join(mkdtempSync(join(tmpdir(), 'catena-history-')), `seed-${failed}.html`);
  writeFileSync(path, html);
  console.log(`  what the clients saw: ${path}`);
}

function command(of: number, ticksOf: number, strikesOf: string | undefined): string {
  const only = strikesOf === undefined ? '' : ` STRIKES=${strikesOf}`;
  return `make simulate SEED=${of} TICKS=${ticksOf}${only} TRACE=1`;
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return '(not a checkout)';
  }
}

async function shrinkOne(): Promise<void> {
  const options = { seed, ticks, ...strikes };
  const first = new Simulation(options);
  running = first;
  try {
    await first.run();
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    const { options: small, failure, runs } = await shrink(options, error, shrinkRunsMax);
    const kept = [...(small.strikes ?? error.strikes.map(({ number }) => number))].join(',');
    console.log(
      `shrunk in ${runs} runs from ${error.strikes.length} faults to ${failure.strikes.length}:`,
    );
    for (const { number, kind, atMs } of failure.strikes) {
      console.log(`  ${String(number).padStart(4)} ${(atMs / 1000).toFixed(3)} s ${kind}`);
    }
    console.log(failure.message);
    console.log(`again: ${command(seed, small.ticks, kept)}`);
    process.exitCode = 1;
    return;
  }
  console.log(`seed ${seed} passes: there is nothing to shrink`);
}

async function traceOne(): Promise<void> {
  const trace = traceTo((line) => process.stdout.write(`${line}\n`));
  const outcome = await runOne({ seed, ticks, trace, ...strikes });
  const { failure, digest, events } = outcome;
  console.log(
    failure === undefined
      ? `seed ${seed} passes: ${events} events, digest ${digest}`
      : `FAILED: ${failure}`,
  );
  if (failure !== undefined) process.exitCode = 1;
}

async function summarize(): Promise<void> {
  const startedAtMs = performance.now();
  const tally = await runAll();
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  const kinds = [...tally.strikes].sort(([, a], [, b]) => b - a);
  console.log(`faults: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ')}`);
  console.log(
    `${tally.events} events, ${tally.ops} calls of clients, ${tally.committed} ops committed, ` +
      `${tally.epochs} configurations, ${tally.equalStates} states compared`,
  );
  console.log(
    `${tally.runs} seeds from ${seed} of ${ticks} ticks: ${tally.runs - tally.failed.length} passed, ` +
      `${tally.failed.length} failed, in ${seconds} s with ${jobs} processes`,
  );
  if (tally.failed.length > 0 || tally.runs === 0) process.exitCode = 1;
}

if (values.worker !== undefined)
  await work(whole('worker', values.worker, 0), whole('jobs', values.jobs, 1));
else if (values.trace) await traceOne();
else if (values.shrink) await shrinkOne();
else await summarize();
