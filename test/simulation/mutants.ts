/**
 * Catena with one rule switched off: a copy of the build in which one place was edited. Production has no such switch.
 * The simulator must notice each.
 *
 * Invariant: a mutant differs from the build in exactly the edits that it names; if the code no longer reads so, making it
 * fails.
 */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

interface Edit {
  /** Below dist/src. */
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

export interface Mutant {
  readonly name: string;
  /** What is switched off. */
  readonly rule: string;
  readonly edits: readonly Edit[];
  /** It is found within so many seeds from 1. */
  readonly seedsMax: number;
}

export const mutants: readonly Mutant[] = [
  {
    name: 'lease-check',
    rule: 'R8: a read is answered only under a lease',
    edits: [
      {
        file: 'replica/chain-lease.js',
        before: 'return this.#core.serves && this.isProven(now);',
        after: 'return this.#core.serves;',
      },
    ],
    seedsMax: 300,
  },
  {
    name: 'epoch-check',
    rule: 'R4, R6, R7: neither messages of another epoch are looked into, nor older configurations adopted',
    edits: [
      {
        file: 'replica/replica.js',
        before: 'if (message.epoch > this.#core.epoch) {',
        after: 'if (false) {',
      },
      {
        file: 'replica/replica.js',
        before: 'if (message.epoch < this.#core.epoch) {',
        after: 'if (false) {',
      },
      {
        file: 'replica/replica.js',
        before: 'if (message.configId !== this.#core.configuration.configId) {',
        after: 'if (false) {',
      },
      {
        file: 'replica/reconfiguration.js',
        before: 'if (configuration.epoch < known.epoch) {',
        after: 'if (false) {',
      },
      {
        file: 'replica/reconfiguration.js',
        before:
          'if (this.#chain !== undefined && configuration.epoch < this.#chain.configuration.epoch)',
        after: 'if (false)',
      },
    ],
    seedsMax: 300,
  },
  {
    name: 'commit-hold',
    rule: 'R9: a head commits nothing before its hold is over',
    edits: [
      {
        file: 'replica/replication.js',
        before: 'if (!isHead || !isCurrent || now.monotonicMs < holdUntilMs)',
        after: 'if (!isHead || !isCurrent)',
      },
    ],
    seedsMax: 300,
  },
  {
    name: 'sync',
    rule: 'an ack waits for the disk',
    edits: [
      {
        file: 'log/segment-files.js',
        before: "this.#file = await this.#options.disk.open(segment.path, 'write-dsync');",
        after: "this.#file = await this.#options.disk.open(segment.path, 'write');",
      },
      {
        file: 'log/segment-files.js',
        before: "const file = await disk.open(source, 'write-dsync');",
        after: "const file = await disk.open(source, 'write');",
      },
    ],
    seedsMax: 300,
  },
  {
    name: 'joiner-gate',
    rule: 'R3: while a learner is gated nothing is proven without it',
    edits: [
      {
        file: 'replica/replication.js',
        before: 'if (this.#core.gate !== undefined)',
        after: 'if (false)',
      },
    ],
    seedsMax: 300,
  },
  {
    name: 'log-match',
    rule: 'R7: logs are compared by seq and epoch, not by seq alone',
    edits: [
      {
        file: 'replica/replication.js',
        before: 'const common = this.#core.log.runs.commonWith(body.runs);',
        after: 'const common = Math.min(this.#core.log.lastSeq, body.runs.at(-1)?.lastSeq ?? 0);',
      },
    ],
    seedsMax: 300,
  },
];

const built = fileURLToPath(new URL('../../src/', import.meta.url));

/** Makes its build; resolves to the path of its simulator. */
export async function buildMutant({ name, edits }: Mutant): Promise<string> {
  // Beside the build, as deep as it: what it finds by relative paths is found from here, too.
  const directory = fileURLToPath(new URL(`../../mutant-${name}/`, import.meta.url));
  await rm(directory, { recursive: true, force: true });
  await cp(built, directory, { recursive: true });
  for (const { file, before, after } of edits) {
    const path = `${directory}${file}`;
    const text = await readFile(path, 'utf8');
    const parts = text.split(before);
    if (parts.length !== 2) {
      throw new Error(`${file} has ${parts.length - 1} places that read: ${before}`);
    }
    await writeFile(path, parts.join(after));
  }
  return `${directory}simulation/main.js`;
}
