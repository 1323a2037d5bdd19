/** What is shown can be typed again, and can steer no terminal. */
import test from 'ava';
import { array, assert, constantFrom, oneof, property, string, uint8Array } from 'fast-check';
import { jsonLine, LineReader, shownBytes, shownText } from '../../src/cli/client/words.js';
import { BadRequestError } from '../../src/errors.js';

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString();

test('words are taken as they stand, up to a blank; the rest to the end', (t) => {
  const line = new LineReader('  put  käy a\\x00b two  words \r');
  t.is(text(line.word()?.bytes), 'put');
  t.is(text(line.peek()?.bytes), 'käy');
  t.is(text(line.word()?.bytes), 'käy');
  t.is(text(line.word()?.bytes), 'a\\x00b');
  t.is(text(line.rest()), 'two  words ');
  t.true(line.isAtEnd);
  t.is(line.rest(), undefined);
  t.is(line.word(), undefined);
});

test('quotes hold blanks and escapes', (t) => {
  const line = new LineReader('"a b" "\\x00\\xff\\n\\"\\\\" ""');
  t.deepEqual(line.word(), { bytes: Uint8Array.from(Buffer.from('a b')), isQuoted: true });
  t.deepEqual(line.word()?.bytes, Uint8Array.of(0, 255, 10, 34, 92));
  t.deepEqual(line.rest(), new Uint8Array(0));
  t.is(text(new LineReader('{"json": true}').rest()), '{"json": true}');
  for (const bad of ['"open', '"\\q"', '"\\x0"', '"\\', '"a" b', '"a"b']) {
    t.throws(() => new LineReader(bad).rest(), { instanceOf: BadRequestError }, bad);
  }
  t.throws(() => new LineReader('"a"b').word(), { instanceOf: BadRequestError });
});

const hostile = constantFrom(
  '\u001b[2J',
  '\u009b',
  '\u202e',
  '\u200b',
  '\u2028',
  '"',
  '\\',
  ' ',
  '--x',
  '\n',
  'ä',
  '😀',
);
const bytes = oneof(
  uint8Array({ maxLength: 20 }),
  array(oneof(hostile, string()), { maxLength: 5 }).map((parts) =>
    Uint8Array.from(Buffer.from(parts.join(''))),
  ),
);

test('what is shown of any bytes reads back as the same bytes', (t) => {
  assert(
    property(bytes, (value) => {
      const word = new LineReader(shownBytes(value, 'word')).word()?.bytes;
      const rest = new LineReader(shownBytes(value, 'rest')).rest();
      return (
        Buffer.compare(value, word ?? Buffer.alloc(0)) === 0 &&
        Buffer.compare(value, rest ?? Buffer.alloc(0)) === 0
      );
    }),
  );
  t.pass();
});

test('nothing that is shown steers the terminal', (t) => {
  assert(
    property(bytes, (value) => {
      const shown = [
        shownBytes(value, 'word'),
        shownBytes(value, 'rest'),
        shownText(Buffer.from(value).toString()),
        jsonLine(Buffer.from(value).toString()),
      ];
      return shown.every((each) => !/[\p{C}\p{Zl}\p{Zp}]/u.test(each));
    }),
  );
  t.is(shownBytes(Buffer.from('plain ä 😀'), 'rest'), 'plain ä 😀');
  t.is(shownBytes(Buffer.from('plain ä'), 'word'), '"plain ä"');
  t.is(shownBytes(Uint8Array.of(0xc3, 0x28, 0), 'word'), '"\\xc3(\\x00"');
  t.is(shownText('a\u001b[31m'), 'a\\x1b[31m');
});

test('JSON lines read back as they were', (t) => {
  assert(property(string({ unit: 'binary' }), (value) => JSON.parse(jsonLine(value)) === value));
  t.pass();
});
