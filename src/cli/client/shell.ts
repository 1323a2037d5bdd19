/**
 * Runs commands, given as a line or as arguments, and tells how they ended. Knows help and quit besides the
 * commands that it is given. One command at a time.
 */
import { BadRequestError, CatenaError } from '../../errors.js';
import type { Command, CommandContext } from './command.js';
import { exitCodeOf, exitCodes, explain, type ExitCode, jsonOfError } from './exit-codes.js';
import {
  type CommandOptions,
  type Invocation,
  invocationOfArguments,
  invocationOfLine,
  usageOf,
} from './invocation.js';
import type { Output } from './output.js';
import { LineReader, shownBytes, shownText, textOf } from './words.js';

export interface ShellOptions extends Omit<CommandContext, 'signal'> {
  readonly commands: readonly Command[];
  /** Where people read what went wrong. */
  readonly errors: Output;
  /** Stands below the list of commands in `help`. */
  readonly helpFooter?: () => string;
}

const quitNames = new Set(['quit', 'exit']);
const keyCommands = new Set(['put', 'get', 'del']);
/** Of the keys that were used last; for completion. */
const seenKeysMax = 1_000;

export class Shell {
  readonly #options: ShellOptions;
  readonly #commands: readonly Command[];
  #hasQuit = false;
  /** As they are typed, the newest last. */
  readonly #seenKeys = new Set<string>();

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#commands = [...options.commands, this.#help(), this.#quit()];
  }

  /** `quit` was given. */
  get hasQuit(): boolean {
    return this.#hasQuit;
  }

  get output(): Output {
    return this.#options.output;
  }

  /** The last word of an unfinished line, completed in every possible way: a command, or a key used before. */
  complete(line: string): string[] {
    const [, name = '', key = ''] = /^\s*(\S+)\s+(?:--no-wait\s+)?(\S*)$/.exec(line) ?? [];
    if (keyCommands.has(name)) return [...this.#seenKeys].filter((each) => each.startsWith(key));
    const match = /^\s*(help\s+)?(\S*)$/.exec(line);
    if (match === null) return [];
    const [, , start = ''] = match;
    return this.#commands.map(({ name }) => name).filter((name) => name.startsWith(start));
  }

  /** An empty line, and one that begins with #, does nothing. `number`: of piped lines, for messages. */
  async runLine(
    line: string | Uint8Array,
    signal: AbortSignal,
    number?: number,
  ): Promise<ExitCode> {
    return this.#run(signal, number, () => {
      const reader = new LineReader(line);
      const word = reader.word();
      const name = word && textOf(word.bytes);
      if (name === undefined ? word === undefined : name.startsWith('#')) return undefined;
      const command = this.#find(name ?? '');
      return { command, invocation: invocationOfLine(command, reader) };
    });
  }

  /** `texts`: the command's name and its operands. `-` as a value stands for what `readInput` gives. */
  async runArguments(
    [name = '', ...texts]: readonly string[],
    options: CommandOptions & { readonly isEscaped: boolean },
    readInput: () => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<ExitCode> {
    return this.#run(signal, undefined, async () => {
      const command = this.#find(name);
      const { isEscaped, ...commandOptions } = options;
      const invocation = invocationOfArguments(command, texts, commandOptions, isEscaped);
      const takesInput = command.name === 'put' && texts.length === 2 && texts[1] === '-';
      if (!takesInput) return { command, invocation };
      const [key] = invocation.operands as [Uint8Array];
      return { command, invocation: { ...invocation, operands: [key, await readInput()] } };
    });
  }

  async #run(
    signal: AbortSignal,
    line: number | undefined,
    prepare: () => Prepared | Promise<Prepared>,
  ): Promise<ExitCode> {
    try {
      const prepared = await prepare();
      if (prepared === undefined) return exitCodes.done;
      this.#noteKey(prepared);
      const { client, cluster, output, terminal, isOneOfMany } = this.#options;
      const context = { client, cluster, output, terminal, isOneOfMany, signal };
      return await prepared.command.run(prepared.invocation, context);
    } catch (error) {
      if (!(error instanceof CatenaError)) throw error;
      this.report(error, line);
      return exitCodeOf(error);
    }
  }

  /** Says what went wrong: for people, and as JSON among the results. */
  report(error: CatenaError, line?: number): void {
    const { output, errors } = this.#options;
    const place = line === undefined ? '' : `line ${line}: `;
    if (output.isJson) output.json(jsonOfError(error, line));
    else errors.line(shownText(`${place}${explain(error)}`));
  }

  #noteKey({ command, invocation }: NonNullable<Prepared>): void {
    const [key] = invocation.operands;
    if (!keyCommands.has(command.name) || key === undefined) return;
    const word = shownBytes(key, 'word');
    // Only what is typed as it stands can be completed by its beginning.
    if (word.startsWith('"')) return;
    this.#seenKeys.delete(word);
    this.#seenKeys.add(word);
    const [oldest] = this.#seenKeys;
    if (this.#seenKeys.size > seenKeysMax && oldest !== undefined) this.#seenKeys.delete(oldest);
  }

  #find(name: string): Command {
    const wanted = quitNames.has(name) ? 'quit' : name;
    const command = this.#commands.find((each) => each.name === wanted);
    if (command !== undefined) return command;
    throw new BadRequestError(`'${name}' is no command; type help for the list`);
  }

  #help(): Command {
    return {
      name: 'help',
      operands: ['[command]'],
      summary: 'list the commands, or explain one',
      example: 'help put',
      run: async ({ operands: [name] }, { output }) => {
        const text =
          name === undefined ? this.#listText() : detailText(this.#find(textOf(name) ?? ''));
        output.line(text);
        return exitCodes.done;
      },
    };
  }

  #quit(): Command {
    return {
      name: 'quit',
      operands: [],
      summary: 'end (also Ctrl-D)',
      example: 'quit',
      run: async () => {
        this.#hasQuit = true;
        return exitCodes.done;
      },
    };
  }

  #listText(): string {
    const usages = this.#commands.map((command) => [usageOf(command), command.summary] as const);
    const width = Math.max(...usages.map(([usage]) => usage.length));
    const lines = usages.map(([usage, summary]) => `${usage.padEnd(width)}  ${summary}`);
    const footer = this.#options.helpFooter?.();
    return [...lines, '', wordsHelp, ...(footer === undefined ? [] : ['', footer])].join('\n');
  }
}

type Prepared = { readonly command: Command; readonly invocation: Invocation } | undefined;

export const wordsHelp = [
  'A key with blanks or odd bytes goes in double quotes, with \\" \\\\ \\n \\r \\t and \\xNN for one byte:',
  '  put "my key\\x00" some value      help <command> explains one command',
].join('\n');

function detailText(command: Command): string {
  const { summary, details, example } = command;
  const body = details === undefined ? summary : `${summary}\n${details}`;
  return `${usageOf(command)}\n${body}\nExample: ${example}`;
}
