/**
 * Protobuf that is well-formed and says something else: fields doubled, dropped, moved, renamed, their numbers at
 * the edges, at any depth, every length put right again. Knows the encoding only, no schema.
 */
import type { Random } from '../support/random.js';
import { mutated, varint } from './mutations.js';

interface Field {
  readonly number: number;
  readonly wireType: number;
  /** Without tag and length. */
  content: Buffer;
}

const edges = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

export function mutatedProtobuf(original: Uint8Array, random: Random): Buffer {
  const fields = fieldsOf(Buffer.from(original)) ?? [];
  for (let changes = 1 + random(2); changes > 0; changes--) change(fields, random);
  return encoded(fields);
}

function change(fields: Field[], random: Random): void {
  const index = random(fields.length);
  const field = fields[index];
  if (field === undefined) {
    fields.push(strangeField(random));
    return;
  }
  const inner = field.wireType === 2 ? fieldsOf(field.content) : undefined;
  if (inner !== undefined && random(4) > 0) {
    change(inner, random);
    field.content = encoded(inner);
    return;
  }
  switch (random(8)) {
    case 0:
      fields.splice(index, 1);
      break;
    case 1:
      fields.splice(random(fields.length + 1), 0, { ...field });
      break;
    case 2:
      fields[index] = { ...field, number: 1 + random(24) };
      break;
    case 3:
      fields.push(strangeField(random));
      break;
    case 4:
      fields.splice(random(fields.length), 0, ...fields.splice(index, 1));
      break;
    default:
      field.content = changedContent(field, random);
  }
}

function changedContent({ wireType, content }: Field, random: Random): Buffer {
  if (wireType === 0) return varint(edges[random(edges.length)] as bigint, random(4) === 0 ? 1 : 0);
  if (wireType !== 2) return Buffer.from(content.map(() => random(256)));
  const material = { other: content, dictionary: [], bytesMax: 2 * content.length + 8 };
  return mutated(content, random, material);
}

function strangeField(random: Random): Field {
  const number = 1 + random(24);
  if (random(2) === 0)
    return { number, wireType: 2, content: Buffer.alloc(random(4), random(256)) };
  return { number, wireType: 0, content: varint(edges[random(edges.length)] as bigint) };
}

/** Undefined if the bytes are no fields. */
function fieldsOf(bytes: Buffer): Field[] | undefined {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varintAt(bytes, at);
    if (tag === undefined) return undefined;
    const [number, wireType] = [Math.floor(tag.value / 8), tag.value % 8];
    let start = tag.end;
    let end: number;
    if (wireType === 0) end = varintAt(bytes, start)?.end ?? bytes.length + 1;
    else if (wireType === 1) end = start + 8;
    else if (wireType === 5) end = start + 4;
    else if (wireType === 2) {
      const length = varintAt(bytes, start);
      if (length === undefined) return undefined;
      start = length.end;
      end = start + length.value;
    } else return undefined;
    if (number === 0 || end > bytes.length) return undefined;
    fields.push({ number, wireType, content: bytes.subarray(start, end) });
    at = end;
  }
  return fields;
}

function varintAt(bytes: Buffer, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let at = start; at < Math.min(bytes.length, start + 10); at++) {
    const byte = bytes[at] as number;
    value += (byte % 128) * 128 ** (at - start);
    if (byte < 128) return { value, end: at + 1 };
  }
  return undefined;
}

function encoded(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wireType, content }) => {
      const tag = varint(BigInt(number * 8 + wireType));
      return wireType === 2 ? [tag, varint(BigInt(content.length)), content] : [tag, content];
    }),
  );
}
