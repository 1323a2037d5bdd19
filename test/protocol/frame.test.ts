/** Frames: whatever the pieces in which they arrive, the same payloads; the first bad byte is final. */
import test from 'ava';
import * as fc from 'fast-check';
import { LimitError, ProtocolError } from '../../src/errors.js';
import { frameBytesMax } from '../../src/limits.js';
import { encodeFrame, FrameDecoder, frameHeaderBytes } from '../../src/protocol/frame.js';

const some = [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three'), Buffer.alloc(70_000, 7)];
const stream = Buffer.concat(some.map((payload) => encodeFrame(payload)));

/** Copies: a decoder must not depend on a chunk staying as it is only by luck of sharing. */
function decodeAll(chunks: readonly Buffer[], decoder = new FrameDecoder()): Buffer[] {
  return chunks.flatMap((chunk) => decoder.push(chunk).map((payload) => Buffer.from(payload)));
}

test('frames that are glued together come out one by one', (t) => {
  const decoder = new FrameDecoder();
  t.deepEqual(decodeAll([stream], decoder), some);
  t.false(decoder.isMidFrame);
});

test('frames that come a byte at a time', (t) => {
  const decoder = new FrameDecoder();
  const bytes = Array.from(stream, (byte) => Buffer.from([byte]));
  t.deepEqual(decodeAll(bytes, decoder), some);
  t.false(decoder.isMidFrame);
});

test('every point at which two frames can be split', (t) => {
  const payloads = [Buffer.from('abc'), Buffer.from('defgh')];
  const bytes = Buffer.concat(payloads.map((payload) => encodeFrame(payload)));
  for (let at = 0; at <= bytes.length; at++) {
    const decoder = new FrameDecoder();
    const got = decodeAll([bytes.subarray(0, at), bytes.subarray(at)], decoder);
    t.deepEqual(got, payloads, `split at ${at}`);
    t.false(decoder.isMidFrame);
  }
});

test('it knows whether it is in the middle of a frame', (t) => {
  const decoder = new FrameDecoder();
  t.false(decoder.isMidFrame);
  decoder.push(encodeFrame(Buffer.from('whole')).subarray(0, 3));
  t.true(decoder.isMidFrame);
  decoder.push(encodeFrame(Buffer.from('whole')).subarray(3));
  t.false(decoder.isMidFrame);
});

test('any payloads in any pieces', (t) => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
  const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(payloads, sizes, (wanted, pieces) => {
      const bytes = Buffer.concat(wanted.map((payload) => encodeFrame(payload)));
      const chunks: Buffer[] = [];
      for (let at = 0, index = 0; at < bytes.length; index++) {
        const size = pieces[index % pieces.length] as number;
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      t.deepEqual(
        decodeAll(chunks),
        wanted.map((payload) => Buffer.from(payload)),
      );
    }),
  );
});

test('the largest frame passes, one byte more is announced in vain', (t) => {
  const largest = Buffer.alloc(frameBytesMax, 1);
  t.is(new FrameDecoder().push(encodeFrame(largest))[0]?.length, frameBytesMax);
  const error = t.throws(() => encodeFrame(Buffer.alloc(frameBytesMax + 1)), {
    instanceOf: LimitError,
  });
  t.is(error.limit, frameBytesMax);
});

test('a length beyond the limit fails at once, before anything is kept', (t) => {
  const decoder = new FrameDecoder(100);
  t.deepEqual(decoder.push(Buffer.from([0, 0, 0, 101])), []);
  // Its complement makes it a length; nothing else is needed.
  const error = t.throws(() => decoder.push(Buffer.from([255, 255, 255, 154])), {
    instanceOf: ProtocolError,
  });
  t.regex(error.message, /101 bytes is announced, the limit is 100/);
});

test('what is announced is not allocated before it arrives', (t) => {
  const decoders = Array.from({ length: 1000 }, () => new FrameDecoder());
  const before = process.memoryUsage().arrayBuffers;
  const header = Buffer.alloc(frameHeaderBytes + 1);
  header.writeUInt32BE(frameBytesMax, 0);
  header.writeUInt32BE(~frameBytesMax >>> 0, 4);
  for (const decoder of decoders) decoder.push(header);
  t.true(decoders.every(({ isMidFrame }) => isMidFrame));
  // A thousand frames of 16 MiB are announced; what they take is of the order of what has come.
  t.true(process.memoryUsage().arrayBuffers - before < 64 * 1024 * 1024);
});

test('a large frame in tiny pieces takes memory and time of the order of its length', (t) => {
  const payload = Buffer.alloc(1024 * 1024, 3);
  const bytes = encodeFrame(payload);
  const decoder = new FrameDecoder();
  for (let at = 0; at < bytes.length - 1; at++) decoder.push(bytes.subarray(at, at + 1));
  const [got] = decoder.push(bytes.subarray(bytes.length - 1));
  t.true(got?.equals(payload));
  // Exactly the frame: nothing that it shares memory with is kept alive with it.
  t.is(got?.buffer.byteLength, bytes.length);
});

test('a bad checksum is final', (t) => {
  const bytes = encodeFrame(Buffer.from('payload'));
  bytes[frameHeaderBytes] = (bytes[frameHeaderBytes] as number) ^ 1;
  const decoder = new FrameDecoder();
  const first = t.throws(() => decoder.push(bytes), { instanceOf: ProtocolError });
  const again = t.throws(() => decoder.push(encodeFrame(Buffer.from('good'))));
  t.is(again, first);
  t.false(decoder.isMidFrame);
});

test('any single bit flipped in a frame is found once the frame, as it was sent, is here', (t) => {
  const bytes = encodeFrame(Buffer.from('some payload'));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    const error = t.throws(() => new FrameDecoder().push(flipped), { instanceOf: ProtocolError });
    t.regex(error.message, bit < 64 ? /no valid length/ : /checksum/, `bit ${bit}`);
  }
});

for (const [what, bytes] of [
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: example\r\n\r\n')],
  ['a TLS hello', Buffer.from('16030100f8010000f40303aabbccddeeff', 'hex')],
  ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
  ['a line of text', Buffer.from('hello world\n')],
] as const) {
  test(`${what} has no valid length`, (t) => {
    t.throws(() => new FrameDecoder().push(bytes), { instanceOf: ProtocolError });
  });
}
