/**
 * Bytes as people type and see them. Pure.
 *
 * A word is taken as it stands, up to the next blank; one in double quotes may hold blanks and the escapes
 * \" \\ \n \r \t and \xNN (one byte). Shown on a terminal, bytes that are not plain text appear in the same
 * form, so that what is shown can be typed again and nothing that is stored can steer the terminal.
 */
import { BadRequestError } from '../../errors.js';

const quote = 0x22;
const backslash = 0x5c;
const blanks = new Set([0x20, 0x09, 0x0d]);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Control, format (bidi, zero width), surrogate, private, unassigned; line and paragraph separators. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u;

const escapes = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [quote, quote],
  [backslash, backslash],
]);

export interface Word {
  readonly bytes: Uint8Array;
  /** In quotes: never an option, never a command. */
  readonly isQuoted: boolean;
}

/** Reads one line, word by word. */
export class LineReader {
  readonly #line: Buffer;
  #at = 0;

  constructor(line: string | Uint8Array) {
    this.#line = typeof line === 'string' ? Buffer.from(line) : Buffer.from(line);
  }

  get isAtEnd(): boolean {
    this.#skipBlanks();
    return this.#at >= this.#line.length;
  }

  /** The next word without taking it; undefined at the end of the line. Throws BadRequestError. */
  peek(): Word | undefined {
    const at = this.#at;
    const word = this.word();
    this.#at = at;
    return word;
  }

  /** The next word; undefined at the end of the line. Throws BadRequestError. */
  word(): Word | undefined {
    if (this.isAtEnd) return undefined;
    if (this.#line[this.#at] === quote) {
      const bytes = this.#quoted();
      if (this.#at < this.#line.length && !blanks.has(this.#line[this.#at] as number)) {
        throw new BadRequestError('a blank is missing after the closing quote');
      }
      return { bytes, isQuoted: true };
    }
    const start = this.#at;
    while (this.#at < this.#line.length && !blanks.has(this.#line[this.#at] as number)) this.#at++;
    return { bytes: this.#line.subarray(start, this.#at), isQuoted: false };
  }

  /** All that is left: as it stands, or one quoted word. Undefined at the end of the line. */
  rest(): Uint8Array | undefined {
    if (this.isAtEnd) return undefined;
    if (this.#line[this.#at] === quote) {
      const bytes = this.#quoted();
      if (this.isAtEnd) return bytes;
      throw new BadRequestError(
        'text follows the closing quote; quote the whole value, and write \\" for a quote in it',
      );
    }
    const rest = this.#line.subarray(this.#at);
    this.#at = this.#line.length;
    const end = rest.at(-1) === 0x0d ? rest.length - 1 : rest.length;
    return rest.subarray(0, end);
  }

  #skipBlanks(): void {
    while (blanks.has(this.#line[this.#at] as number)) this.#at++;
  }

  #quoted(): Uint8Array {
    const bytes: number[] = [];
    this.#at++;
    for (;;) {
      const byte = this.#line[this.#at++];
      if (byte === undefined) throw new BadRequestError('the closing quote is missing');
      if (byte === quote) return Uint8Array.from(bytes);
      bytes.push(byte === backslash ? this.#escaped() : byte);
    }
  }

  #escaped(): number {
    const byte = this.#line[this.#at++];
    if (byte === 0x78) {
      const digits = this.#line.toString('latin1', this.#at, this.#at + 2);
      this.#at += 2;
      if (/^[0-9a-fA-F]{2}$/.test(digits)) return Number.parseInt(digits, 16);
    }
    const meant = byte === undefined ? undefined : escapes.get(byte);
    if (meant !== undefined) return meant;
    throw new BadRequestError(
      'in quotes, a backslash stands in \\" \\\\ \\n \\r \\t and \\xNN only',
    );
  }
}

/** The text that these bytes are, or undefined. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** For a terminal: bare if it is plain text, else in quotes with escapes. `word`: also if it holds blanks. */
export function shownBytes(bytes: Uint8Array, form: 'word' | 'rest'): string {
  const text = textOf(bytes);
  const ambiguous = form === 'word' ? /\s|^"|^--|^$/ : /^[\s"]|\s$|^$/;
  if (text !== undefined && !unprintable.test(text) && !ambiguous.test(text)) return text;
  return `"${escapedBytes(bytes)}"`;
}

/** Text from elsewhere (an error message, an address), safe to show on a terminal. */
export function shownText(text: string): string {
  return unprintable.test(text) ? Array.from(text, shownCharacter).join('') : text;
}

/** In JSON: text, or base64 where the bytes are no UTF-8. */
export function jsonBytes(bytes: Uint8Array): string | { base64: string } {
  return textOf(bytes) ?? { base64: Buffer.from(bytes).toString('base64') };
}

/** JSON on one line in which nothing can steer a terminal. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    character.split('').map(unicodeEscape).join(''),
  );
}

function unicodeEscape(codeUnit: string): string {
  return `\\u${codeUnit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function escapedBytes(bytes: Uint8Array): string {
  let shown = '';
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at] as number;
    if (byte >= 0x20 && byte < 0x7f) {
      shown +=
        byte === quote || byte === backslash
          ? `\\${String.fromCharCode(byte)}`
          : String.fromCharCode(byte);
      at += 1;
      continue;
    }
    const length = characterLength(bytes, at);
    const text = length === 0 ? undefined : textOf(bytes.subarray(at, at + length));
    shown += text === undefined ? hexEscape(byte) : shownCharacter(text);
    at += text === undefined ? 1 : length;
  }
  return shown;
}

/** How many bytes the UTF-8 character that begins here takes; 0 if none does. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return length <= bytes.length - at ? length : 0;
}

function shownCharacter(character: string): string {
  if (!unprintable.test(character)) return character;
  if (character === '\n') return '\\n';
  if (character === '\r') return '\\r';
  if (character === '\t') return '\\t';
  return [...Buffer.from(character)].map(hexEscape).join('');
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
