/**
 * A stream of frames in pieces of any size. What a decoder written in the plainest way finds in the whole stream
 * is what the real one must find, whatever the pieces; the first bad frame is final.
 */
import { crc32 } from 'node:zlib';
import { ProtocolError } from '../../../src/errors.js';
import { frameBytesMax } from '../../../src/limits.js';
import { encodeFrame, FrameDecoder, frameHeaderBytes } from '../../../src/protocol/frame.js';
import { type Random, randomFrom } from '../../support/random.js';
import { withAllocationsUpTo } from '../allocations.js';
import { assertHolds, type Target } from '../target.js';

interface Found {
  readonly payloads: readonly Buffer[];
  readonly isBad: boolean;
  /** Bytes behind the last whole frame. */
  readonly rest: number;
}

function found(stream: Buffer): Found {
  const payloads: Buffer[] = [];
  for (let at = 0; ; ) {
    const rest = stream.length - at;
    if (rest < 8) return { payloads, isBad: false, rest };
    const length = stream.readUInt32BE(at);
    const isTwice = stream.readUInt32BE(at + 4) === ~length >>> 0;
    if (!isTwice || length > frameBytesMax) return { payloads, isBad: true, rest };
    if (rest < frameHeaderBytes + length) return { payloads, isBad: false, rest };
    const payload = stream.subarray(at + frameHeaderBytes, at + frameHeaderBytes + length);
    if (crc32(payload) !== stream.readUInt32BE(at + 8)) return { payloads, isBad: true, rest };
    payloads.push(payload);
    at += frameHeaderBytes + length;
  }
}

function check(input: Buffer): 'accepted' | 'refused' {
  const random = randomFrom(crc32(input));
  const expected = found(input);
  const decoder = new FrameDecoder();
  const payloads: Buffer[] = [];
  const pieceMax = 1 + random(input.length + 1);
  let failure: ProtocolError | undefined;
  for (let at = 0; at < input.length && failure === undefined; ) {
    const piece = input.subarray(at, at + 1 + random(pieceMax));
    at += piece.length;
    try {
      // What is gathered doubles, so it is at most twice what has arrived.
      const here = withAllocationsUpTo(Math.max(1024, 2 * at), () => decoder.push(piece));
      payloads.push(...here.map((payload) => Buffer.from(payload)));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      failure = error;
    }
  }
  const same = payloads.every((payload, index) => expected.payloads[index]?.equals(payload));
  assertHolds(same, 'a payload is not what was sent');
  assertHolds(
    (failure !== undefined) === expected.isBad,
    'a bad frame passed, or a good one did not',
  );
  if (failure === undefined) {
    assertHolds(payloads.length === expected.payloads.length, 'payloads are missing');
    assertHolds(decoder.isMidFrame === expected.rest > 0, 'it does not know where it stands');
    return 'accepted';
  }
  let again: unknown;
  try {
    decoder.push(Buffer.from(encodeFrame(Buffer.from('whole'))));
  } catch (error) {
    again = error;
  }
  assertHolds(again === failure, 'a bad frame is not final');
  return 'refused';
}

/** One payload changed, its header right: most other changes end at the checksum. */
function mutate(original: Uint8Array, random: Random): Uint8Array {
  const { payloads } = found(Buffer.from(original));
  const changed = payloads.map((payload) => Buffer.from(payload));
  const one = changed[random(changed.length)];
  if (one !== undefined && one.length > 0) one[random(one.length)] = random(256);
  const frames = changed.map(encodeFrame);
  if (random(3) === 0) frames.push(Buffer.alloc(random(20), random(256)));
  return Buffer.concat(frames);
}

export function frameTarget(): Target {
  const streams = [[''], ['one', 'two'], ['x'.repeat(1_500), 'y'], ['a', '', 'b'.repeat(300), 'c']];
  const corpus = streams.map((texts) =>
    Buffer.concat(texts.map((text) => encodeFrame(Buffer.from(text)))),
  );
  const lengths = [0, 1, 8, frameBytesMax, frameBytesMax + 1, 2 ** 31, 2 ** 32 - 1];
  const dictionary = lengths.map((length) => {
    const header = Buffer.alloc(frameHeaderBytes);
    header.writeUInt32BE(length);
    header.writeUInt32BE(~length >>> 0, 4);
    return header;
  });
  return { name: 'frames', inputs: 120_000, bytesMax: 4_096, corpus, dictionary, mutate, check };
}
