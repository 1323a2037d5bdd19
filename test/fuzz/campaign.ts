/**
 * Runs mutated inputs against a target, keeps those that reach code which had not run before, and says of a
 * failure which input it was and which commands repeat it. Coverage-guided, as AFL and libFuzzer are.
 *
 * Invariant: with the same seed, corpus and code the same inputs come in the same order.
 */
import { crc32 } from 'node:zlib';
import { type Random, randomFrom } from '../support/random.js';
import type { Coverage } from './coverage.js';
import { mutated, nested } from './mutations.js';
import type { Target, Verdict } from './target.js';

/** Coverage is asked for once a batch; batches in which nothing new happened become longer. */
const batchInputsMin = 100;
const batchInputsMax = 3_200;
/** One input of so many is deeply nested: those are long, and therefore slow. */
const nestedOneOf = 1_000;
/** Inputs that others are made from; beyond it new ones take the places of earlier ones that were found. */
const poolMax = 2_000;

export const defaultSeed = 20_041_208;

export interface Tally {
  readonly name: string;
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** Of this process, which does nothing else. */
  readonly cpuMs: number;
  /** Inputs that reached code which none before had. */
  readonly found: readonly Uint8Array[];
}

type Counts = Record<Verdict, number>;

export interface CampaignOptions {
  readonly seed: number;
  /** What earlier runs found. */
  readonly kept: readonly Uint8Array[];
  /** Absent: what is found is not noticed. */
  readonly coverage?: Coverage;
  /** Asked after each batch. */
  readonly isOver: (inputs: number) => boolean;
}

/** Rejects with a FuzzError at the first input that breaks what the target promises. */
export async function runCampaign(target: Target, options: CampaignOptions): Promise<Tally> {
  const { seed, coverage } = options;
  const random = randomFrom(seed ^ crc32(target.name));
  const pool = [...target.corpus, ...options.kept];
  const found: Uint8Array[] = [];
  const counts: Counts = { accepted: 0, refused: 0 };
  /** Inputs that are run once more to be told apart count once. */
  const run = async (inputs: readonly Uint8Array[], counts: Counts): Promise<void> => {
    for (const input of inputs) {
      try {
        const verdict = target.check(Buffer.from(input));
        counts[typeof verdict === 'string' ? verdict : await verdict] += 1;
      } catch (error) {
        throw new FuzzError(target, seed, input, error);
      }
    }
  };
  const rerun = (batch: readonly Uint8Array[]): Promise<void> =>
    run(batch, { accepted: 0, refused: 0 });
  const { stackTraceLimit } = Error;
  // Most inputs end in an error; its stack would be most of what that costs.
  Error.stackTraceLimit = 0;
  const startedAt = process.cpuUsage();
  let inputs = pool.length;
  try {
    await run(pool, counts);
    coverage?.takeNew(true);
    let batchInputs = batchInputsMin;
    while (!options.isOver(inputs)) {
      const batch = Array.from({ length: batchInputs }, () => nextInput(target, pool, random));
      await run(batch, counts);
      inputs += batch.length;
      if (coverage === undefined) continue;
      batchInputs = Math.min(2 * batchInputs, batchInputsMax);
      if (!coverage.takeNew(false)) continue;
      batchInputs = batchInputsMin;
      for (const input of await pathfinders(batch, rerun, coverage)) {
        found.push(input);
        if (pool.length < poolMax) pool.push(input);
        else pool[target.corpus.length + random(pool.length - target.corpus.length)] = input;
      }
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  const { user, system } = process.cpuUsage(startedAt);
  const cpuMs = Math.round((user + system) / 1000);
  return { name: target.name, inputs, ...counts, cpuMs, found };
}

/** What went wrong, the input, and how to see it again. */
export class FuzzError extends Error {
  readonly input: Uint8Array;

  constructor(target: Target, seed: number, input: Uint8Array, cause: unknown) {
    const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    const hex = Buffer.from(input).toString('hex');
    super(
      [
        `${target.name}: ${what}`,
        `  this input alone:  node dist/scripts/fuzz.js --target '${target.name}' --input ${hex}`,
        `  the whole run:     CATENA_SEED=${seed} npx ava dist/test/fuzz/fuzz.test.js`,
      ].join('\n'),
      { cause },
    );
    this.input = input;
  }
}

function nextInput(target: Target, pool: readonly Uint8Array[], random: Random): Uint8Array {
  const { dictionary, bytesMax, mutate } = target;
  const draw = (): Uint8Array => pool[random(pool.length)] as Uint8Array;
  const original = draw();
  const material = { other: draw(), dictionary, bytesMax };
  if (random(nestedOneOf) === 0) return nested(original, random, material);
  if (mutate === undefined || random(2) === 0) return mutated(original, random, material);
  return mutate(original, random).subarray(0, bytesMax);
}

/** Which inputs of a batch reach something new; each of them counts as seen then. Found by halving. */
async function pathfinders(
  batch: readonly Uint8Array[],
  run: (inputs: readonly Uint8Array[]) => Promise<void>,
  coverage: Coverage,
): Promise<Uint8Array[]> {
  const [only] = batch;
  await run(batch);
  if (!coverage.takeNew(batch.length === 1)) return [];
  if (batch.length === 1) return only === undefined ? [] : [only];
  const middle = Math.ceil(batch.length / 2);
  const left = await pathfinders(batch.slice(0, middle), run, coverage);
  return [...left, ...(await pathfinders(batch.slice(middle), run, coverage))];
}
