/**
 * From a typed line, or the arguments of a process, to a command and its operands. Pure; what is wrong
 * throws BadRequestError with the usage in it.
 */
import { BadRequestError } from '../../errors.js';
import { parseAddress } from '../../protocol/address.js';
import { LineReader, textOf, type Word } from './words.js';

/** How a command is called. */
export interface Syntax {
  readonly name: string;
  /** One name each; the last one may be 'value…', which takes the rest of the line. `[x]` may be left out. */
  readonly operands: readonly string[];
  readonly options?: readonly (FlagName | 'at')[];
}

/** Options without a value: as they are written, and as commands see them. */
const flags = { 'no-wait': 'noWait', force: 'force', quiet: 'quiet', watch: 'watch' } as const;

type FlagName = keyof typeof flags;
type Flags = Partial<Record<(typeof flags)[FlagName], boolean>>;

const flagNames = Object.keys(flags) as FlagName[];

export interface CommandOptions extends Readonly<Flags> {
  /** `host:port` */
  readonly at?: string | undefined;
}

export interface Invocation extends CommandOptions {
  readonly operands: readonly Uint8Array[];
}

export function usageOf({ name, operands, options = [] }: Syntax): string {
  const shown = [
    ...flagNames.filter((name) => options.includes(name)).map((name) => `[--${name}]`),
    ...(options.includes('at') ? ['[--at host:port]'] : []),
    ...operands.map((operand) => (operand.startsWith('[') ? operand : `<${operand}>`)),
  ];
  return [name, ...shown].join(' ');
}

/** The rest of a line after the command's name. */
export function invocationOfLine(syntax: Syntax, line: LineReader): Invocation {
  const options: Flags & { at?: string } = {};
  for (let word = line.peek(); isOption(word); word = line.peek()) {
    line.word();
    const name = textOf(word.bytes);
    if (name === '--') break;
    const flag = flagNames.find((each) => name === `--${each}`);
    if (flag !== undefined) options[flags[flag]] = true;
    else if (name === '--at') options.at = textOf(line.word()?.bytes ?? new Uint8Array(0)) ?? '';
    else throw new BadRequestError(`unknown option ${name}; usage: ${usageOf(syntax)}`);
  }
  const operands: Uint8Array[] = [];
  for (const operand of syntax.operands) {
    const bytes = operand.endsWith('…') ? line.rest() : line.word()?.bytes;
    if (bytes !== undefined) operands.push(bytes);
  }
  if (!line.isAtEnd) throw usageError(syntax, 'too many words');
  return checked(syntax, { ...options, operands });
}

/** The arguments after the command's name, each as it stands; with `isEscaped` each read as a word in a line is. */
export function invocationOfArguments(
  syntax: Syntax,
  texts: readonly string[],
  options: CommandOptions,
  isEscaped: boolean,
): Invocation {
  const count = syntax.operands.length;
  const takesRest = syntax.operands.at(-1)?.endsWith('…') === true;
  if (texts.length > count && !takesRest) throw usageError(syntax, 'too many arguments');
  const single = takesRest ? texts.slice(0, count - 1) : texts;
  const rest = takesRest && texts.length >= count ? [texts.slice(count - 1).join(' ')] : [];
  const operands = [...single, ...rest].map((text) => {
    const bytes = isEscaped ? new LineReader(text).rest() : undefined;
    return bytes ?? new TextEncoder().encode(text);
  });
  return checked(syntax, { ...options, operands });
}

function checked(syntax: Syntax, invocation: Invocation): Invocation {
  const { options = [] } = syntax;
  const needed = syntax.operands.filter((operand) => !operand.startsWith('[')).length;
  if (invocation.operands.length < needed) {
    const missing = syntax.operands[invocation.operands.length];
    throw usageError(syntax, `<${missing}> is missing`);
  }
  const unknown = flagNames.find(
    (name) => invocation[flags[name]] === true && !options.includes(name),
  );
  if (unknown !== undefined) throw usageError(syntax, `${syntax.name} takes no --${unknown}`);
  if (invocation.at !== undefined) {
    if (!options.includes('at')) throw usageError(syntax, `${syntax.name} takes no --at`);
    parseAddress(invocation.at);
  }
  return invocation;
}

/** The flags among parsed arguments, by their written names. */
export function flagsOf(values: Readonly<Record<string, unknown>>): Flags {
  const given = flagNames.filter((name) => values[name] === true);
  return Object.fromEntries(given.map((name) => [flags[name], true]));
}

function isOption(word: Word | undefined): word is Word {
  return word !== undefined && !word.isQuoted && textOf(word.bytes)?.startsWith('--') === true;
}

function usageError(syntax: Syntax, what: string): BadRequestError {
  return new BadRequestError(`${what}; usage: ${usageOf(syntax)}`);
}
