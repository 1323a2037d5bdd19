/**
 * Inputs that once led somewhere new, kept with the tests: one file a target, a line of hexadecimal an input.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { errorCode } from '../../src/log/disk.js';

/** Seen from dist/test/fuzz. */
const directory = new URL('../../../test/fuzz/corpus/', import.meta.url);

export async function keptInputs(target: string): Promise<Uint8Array[]> {
  try {
    const text = await readFile(fileOf(target), 'utf8');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => Buffer.from(line, 'hex'));
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return [];
  }
}

/** The shortest first, so that changes are read easily. */
export async function keepInputs(target: string, inputs: readonly Uint8Array[]): Promise<void> {
  if (inputs.length === 0) return;
  const lines = [...new Set(inputs.map((input) => Buffer.from(input).toString('hex')))];
  lines.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  await writeFile(fileOf(target), lines.map((line) => `${line}\n`).join(''));
}

function fileOf(target: string): URL {
  return new URL(`${target.replaceAll(' ', '-')}.txt`, directory);
}
