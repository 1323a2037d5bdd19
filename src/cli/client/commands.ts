/**
 * The commands on data and servers: what each asks of the client and how its result is shown. They throw
 * typed errors; shell.ts turns these into messages and exit codes.
 */
import type { Entry } from '../../client/kv-client.js';
import { backup } from './backup-command.js';
import type { Output } from './output.js';
import { chain, stats } from './chain-command.js';
import type { Command } from './command.js';
import { exitCodes } from './exit-codes.js';
import { leave } from './leave-command.js';
import { jsonBytes, jsonLine, shownBytes } from './words.js';

const put: Command = {
  name: 'put',
  operands: ['key', 'value…'],
  options: ['no-wait'],
  summary: 'write a value, print its op id',
  details: [
    'The value is the rest of the line. It is written when every server of the chain has it on disk.',
    '--no-wait prints the op id as soon as it is assigned; verify tells what became of it.',
    'As an argument of kv-client the value - means: the bytes of standard input.',
  ].join('\n'),
  example: 'put greeting hello, world',
  async run({ operands: [key, value], noWait }, { client, output, signal }) {
    const options = { signal, announce: true };
    if (noWait === true) {
      const { opId } = await client.put(key as Uint8Array, value as Uint8Array, {
        signal,
        wait: false,
      });
      showOpId(output, { opId });
    } else {
      showOpId(output, await client.put(key as Uint8Array, value as Uint8Array, options));
    }
    return exitCodes.done;
  },
};

const get: Command = {
  name: 'get',
  operands: ['key'],
  options: ['at'],
  summary: 'print the value of a key',
  details: 'Exit code 1 if the key is absent. --at reads from that very server.',
  example: 'get greeting',
  async run({ operands: [key], at }, { client, output, signal, isOneOfMany }) {
    const found = await client.get(key as Uint8Array, { signal, ...atOption(at) });
    if (output.isJson) {
      output.json(
        found === undefined
          ? { found: false }
          : { found: true, value: jsonBytes(found.value), version: found.version },
      );
    } else if (found !== undefined) {
      output.bytes(found.value, 'rest');
      if (output.isTerminal || isOneOfMany) output.write('\n');
    } else if (output.isTerminal) output.line('(absent)');
    return found === undefined ? exitCodes.absent : exitCodes.done;
  },
};

const del: Command = {
  name: 'del',
  operands: ['key'],
  options: ['no-wait'],
  summary: 'delete a key, print the op id',
  details: 'Exit code 1 if the key was absent already.',
  example: 'del greeting',
  async run({ operands: [key], noWait }, { client, output, signal }) {
    if (noWait === true) {
      showOpId(output, await client.delete(key as Uint8Array, { signal, wait: false }));
      return exitCodes.done;
    }
    const deleted = await client.delete(key as Uint8Array, { signal, announce: true });
    showOpId(output, deleted, deleted.existed ? '' : ' (it was absent)');
    return deleted.existed ? exitCodes.done : exitCodes.absent;
  },
};

const size: Command = {
  name: 'size',
  operands: [],
  options: ['at'],
  summary: 'print how many keys there are',
  example: 'size',
  async run({ at }, { client, output, signal }) {
    const keys = await client.size({ signal, ...atOption(at) });
    if (output.isJson) output.json({ keys });
    else output.line(`${keys}`);
    return exitCodes.done;
  },
};

const keys: Command = {
  name: 'keys',
  operands: [],
  options: ['at'],
  summary: 'print all keys of one instant, one a line',
  example: 'keys',
  async run({ at }, { client, output, signal }) {
    const pieces = new Pieces(output);
    for await (const key of client.keys({ signal, ...atOption(at) })) {
      if (output.isJson) pieces.push(jsonLine({ key: jsonBytes(key) }), '\n');
      else pieces.push(shown(output, key, 'word'), '\n');
      if (pieces.isFull) await pieces.flush();
      if (output.isGone) break;
    }
    await pieces.flush();
    return exitCodes.done;
  },
};

const table: Command = {
  name: 'table',
  operands: [],
  options: ['at'],
  summary: 'print all keys and values of one instant: key TAB value',
  details: '--at reads from that very server: so the tables of all members can be compared.',
  example: 'table --at 127.0.0.1:5002',
  async run({ at }, { client, output, signal }) {
    const pieces = new Pieces(output);
    for await (const entry of client.entries({ signal, ...atOption(at) })) {
      if (output.isJson) pieces.push(jsonLine(jsonOfEntry(entry)), '\n');
      else
        pieces.push(
          shown(output, entry.key, 'word'),
          '\t',
          shown(output, entry.value, 'rest'),
          '\n',
        );
      if (pieces.isFull) await pieces.flush();
      if (output.isGone) break;
    }
    await pieces.flush();
    return exitCodes.done;
  },
};

const verify: Command = {
  name: 'verify',
  operands: ['op'],
  summary: 'tell what became of a write: executed, pending, never, unknown',
  details: [
    'executed: it is in the table (exit code 0). never: it is not and will not be (1).',
    'pending: it may yet be; unknown: it is older than the log that is kept (4).',
  ].join('\n'),
  example: 'verify 3-1024',
  async run({ operands: [op] }, { client, output, signal }) {
    const opId = Buffer.from(op as Uint8Array).toString();
    const outcome = await client.verify(opId, { signal });
    if (output.isJson) output.json({ opId, outcome });
    else output.line(outcome);
    if (outcome === 'executed') return exitCodes.done;
    return outcome === 'never' ? exitCodes.absent : exitCodes.outcomeUnknown;
  },
};

export const dataCommands: readonly Command[] = [
  put,
  get,
  del,
  size,
  keys,
  table,
  verify,
  chain,
  stats,
  leave,
  backup,
];

function showOpId(
  output: Output,
  result: { opId: string; replaced?: boolean; existed?: boolean },
  remark = '',
): void {
  if (output.isJson) output.json(result);
  else output.line(output.isTerminal ? `${result.opId}${remark}` : result.opId);
}

function atOption(at: string | undefined): { at?: string } {
  return at === undefined ? {} : { at };
}

function jsonOfEntry({ key, value, version }: Entry): object {
  return { key: jsonBytes(key), value: jsonBytes(value), version };
}

function shown(output: Output, bytes: Uint8Array, form: 'word' | 'rest'): Uint8Array {
  return output.isTerminal ? Buffer.from(shownBytes(bytes, form)) : bytes;
}

/** Many small pieces leave in few writes, no faster than they are taken. */
class Pieces {
  readonly #output: Output;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  get isFull(): boolean {
    return this.#bytes >= 64 * 1024;
  }

  push(...pieces: (Uint8Array | string)[]): void {
    for (const piece of pieces) {
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
      this.#pieces.push(bytes);
      this.#bytes += bytes.length;
    }
  }

  async flush(): Promise<void> {
    if (this.#bytes > 0) this.#output.write(Buffer.concat(this.#pieces, this.#bytes));
    this.#pieces = [];
    this.#bytes = 0;
    await this.#output.drained();
  }
}
