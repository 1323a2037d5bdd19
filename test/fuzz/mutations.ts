/**
 * Bytes that are nearly right: a valid input with a few small things done to it. The kinds are those of AFL
 * (havoc and splice) and what protobuf and length-prefixed formats are known to be weak at.
 *
 * Invariant: a function of its arguments and the drawn numbers only; never longer than `bytesMax`.
 */
import type { Random } from '../support/random.js';

export interface Material {
  /** Something else that is valid, to be spliced with. */
  readonly other: Uint8Array;
  /** Tags and words of the format. */
  readonly dictionary: readonly Uint8Array[];
  readonly bytesMax: number;
}

type Mutation = (bytes: Buffer, random: Random, material: Material) => Buffer;

/** Where signed, unsigned, 32-bit and double arithmetic go wrong, and the limits of this service. */
const numbers32 = [0, 1, 7, 8, 39, 40, 2 ** 24, 2 ** 24 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const numbers64 = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const bytesOfInterest = [0x00, 0x01, 0x0a, 0x12, 0x7f, 0x80, 0xff];
/** A group's start, an empty message in field 1, a list in a list. */
const nests = [
  Buffer.from([0x0b]),
  Buffer.from([0x0a, 0x00]),
  Buffer.from('['),
  Buffer.from('{"a":'),
];

/** One to five changes, one upon the other. */
export function mutated(original: Uint8Array, random: Random, material: Material): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (let changes = 1 + random(random(3) === 0 ? 5 : 2); changes > 0; changes--) {
    const mutation = mutations[random(mutations.length)] as Mutation;
    bytes = mutation(bytes, random, material).subarray(0, material.bytesMax);
  }
  return bytes;
}

/** Something short, begun again and again up to the largest input, put into the original. */
export function nested(original: Uint8Array, random: Random, { bytesMax }: Material): Buffer {
  const piece = nests[random(nests.length)] as Buffer;
  const count = Math.floor(bytesMax / piece.length / (1 + random(10)));
  const bytes = Buffer.from(original);
  const repeated = Buffer.alloc(count * piece.length, piece);
  return inserted(bytes, random(bytes.length + 1), repeated).subarray(0, bytesMax);
}

/** A varint of `value`; `padding` bytes longer than it need be. */
export function varint(value: bigint, padding = 0): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    if (rest < 0x80n) break;
  }
  for (let count = 0; count < padding; count++) bytes.push(0x80);
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] as number) & 0x7f;
  return Buffer.from(bytes);
}

const flipBit: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const at = random(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << random(8));
  return bytes;
};

const setByte: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const value = random(2) === 0 ? random(256) : bytesOfInterest[random(bytesOfInterest.length)];
  bytes[random(bytes.length)] = value as number;
  return bytes;
};

const addToByte: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const at = random(bytes.length);
  bytes[at] = (bytes[at] as number) + random(9) - 4;
  return bytes;
};

const truncate: Mutation = (bytes, random) => bytes.subarray(0, random(bytes.length + 1));

const removeRange: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
};

const duplicateRange: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  return inserted(bytes, random(bytes.length + 1), bytes.subarray(start, end));
};

const overwriteRange: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  bytes.copy(bytes, random(bytes.length + 1), start, end);
  return bytes;
};

const zeroRange: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  return bytes.fill(random(4) === 0 ? 0xff : 0, start, end);
};

const insertRandom: Mutation = (bytes, random) => {
  const piece = Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256)));
  return inserted(bytes, random(bytes.length + 1), piece);
};

const insertWord: Mutation = (bytes, random, { dictionary }) => {
  const word = dictionary[random(dictionary.length)];
  return word === undefined ? bytes : inserted(bytes, random(bytes.length + 1), word);
};

const overwriteWord: Mutation = (bytes, random, { dictionary }) => {
  const word = dictionary[random(dictionary.length)];
  if (word !== undefined)
    bytes.set(word.subarray(0, bytes.length), random(room(bytes, word.length)));
  return bytes;
};

/** The beginning of this one and the end of another one. */
const splice: Mutation = (bytes, random, { other }) =>
  Buffer.concat([
    bytes.subarray(0, random(bytes.length + 1)),
    other.subarray(random(other.length + 1)),
  ]);

const overwriteNumber: Mutation = (bytes, random) => {
  if (bytes.length < 4) return bytes;
  const at = random(bytes.length - 3);
  const lengths = [bytes.length, bytes.length - at, bytes.length - at - 4, bytes.length + 1];
  const drawn = random(3) === 0 ? lengths[random(4)] : numbers32[random(numbers32.length)];
  const value = Math.max(0, drawn as number);
  if (random(2) === 0) bytes.writeUInt32LE(value, at);
  else bytes.writeUInt32BE(value, at);
  return bytes;
};

const overwriteLongNumber: Mutation = (bytes, random) => {
  if (bytes.length < 8) return bytes;
  const value = numbers64[random(numbers64.length)] as bigint;
  bytes.writeBigUInt64LE(value, random(bytes.length - 7));
  return bytes;
};

const insertVarint: Mutation = (bytes, random) => {
  const value = numbers64[random(numbers64.length)] as bigint;
  const piece = varint(value, random(3) === 0 ? random(12) : 0);
  const at = random(bytes.length + 1);
  return random(2) === 0
    ? inserted(bytes, at, piece)
    : Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + 1)]);
};

/** What lies behind some place becomes the content of a field, of a field, of a field … */
const wrap: Mutation = (bytes, random, { bytesMax }) => {
  const at = random(bytes.length + 1);
  let content: Buffer = bytes.subarray(at);
  for (let depth = 1 + random(random(8) === 0 ? 150 : 3); depth > 0; depth--) {
    const tag = ((1 + random(22)) << 3) | 2;
    content = Buffer.concat([varint(BigInt(tag)), varint(BigInt(content.length)), content]);
    if (at + content.length > bytesMax) break;
  }
  return Buffer.concat([bytes.subarray(0, at), content]);
};

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setByte,
  addToByte,
  truncate,
  removeRange,
  duplicateRange,
  overwriteRange,
  zeroRange,
  insertRandom,
  insertWord,
  insertWord,
  overwriteWord,
  splice,
  overwriteNumber,
  overwriteNumber,
  overwriteLongNumber,
  insertVarint,
  wrap,
];

/** A stretch of at most 32 bytes, or now and then of any length. */
function range(bytes: Buffer, random: Random): [number, number] {
  const start = random(bytes.length + 1);
  const length = random(8) === 0 ? random(bytes.length + 1) : random(33);
  return [start, Math.min(bytes.length, start + length)];
}

function room(bytes: Buffer, length: number): number {
  return Math.max(0, bytes.length - length) + 1;
}

function inserted(bytes: Buffer, at: number, piece: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
}
