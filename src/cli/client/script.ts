/** Commands that are piped in: one a line, run in order; a line is bytes, not text. */
import { addAbortSignal, type Readable } from 'node:stream';
import { LimitError } from '../../errors.js';
import { keyBytesMax, valueBytesMax } from '../../limits.js';
import { exitCodes, type ExitCode, worse } from './exit-codes.js';
import type { Shell } from './shell.js';

/** A byte takes up to four characters in quotes. */
const lineBytesMax = 4 * (keyBytesMax + valueBytesMax) + 1024;

/** Resolves with the highest exit code of any command, at the end of the input or at `quit`. */
export async function runScript(
  shell: Shell,
  input: Readable,
  signal: AbortSignal,
): Promise<ExitCode> {
  let code: ExitCode = exitCodes.done;
  let number = 0;
  addAbortSignal(signal, input);
  try {
    for await (const line of linesOf(input)) {
      number += 1;
      code = worse(code, await shell.runLine(line, signal, number));
      await shell.output.drained();
      if (shell.hasQuit || shell.output.isGone || signal.aborted) break;
    }
  } catch (error) {
    // It was waiting for a line: nothing is under way.
    if (!signal.aborted) throw error;
  }
  return code;
}

/** Lines without their ends; the last one may have none. Throws LimitError. */
export async function* linesOf(input: Readable): AsyncGenerator<Buffer, void, undefined> {
  let pieces: Buffer[] = [];
  let pieceBytes = 0;
  let number = 1;
  for await (const chunk of input as AsyncIterable<Buffer | string>) {
    let rest = Buffer.from(chunk as Buffer);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      yield Buffer.concat([...pieces, rest.subarray(0, end)]);
      rest = rest.subarray(end + 1);
      pieces = [];
      pieceBytes = 0;
      number += 1;
    }
    pieces.push(rest);
    pieceBytes += rest.length;
    if (pieceBytes > lineBytesMax) {
      throw new LimitError(`line ${number}`, 'more than that', lineBytesMax, 'bytes');
    }
  }
  if (pieceBytes > 0) yield Buffer.concat(pieces);
}
