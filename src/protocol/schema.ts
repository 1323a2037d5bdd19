/**
 * The message types of proto/catena.proto, ready to encode and decode. The only file that imports
 * protobufjs. Reflection, not generated code: measured no slower, and there is nothing to keep in step.
 */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { LimitError } from '../errors.js';
import { messageItemsMax } from '../limits.js';

// Without Long, 64-bit fields decode to numbers; the codec asserts that they are safe integers.
protobuf.util.Long = undefined as unknown as typeof protobuf.util.Long;
protobuf.configure();

const source = readFileSync(new URL('../../../proto/catena.proto', import.meta.url), 'utf8');
const { root } = protobuf.parse(source, { keepCase: false });

/** Encodes and decodes one message type. Plain objects in, plain fields out; throws on malformed bytes. */
export interface MessageType {
  encode(message: object): Uint8Array;
  // The field values are as untyped as bytes are; messages.ts gives them their types.
  decode(bytes: Uint8Array): Record<string, unknown>;
}

function typeOf(name: string): MessageType {
  const type = root.lookupType(`catena.${name}`);
  return {
    encode: (message) => type.encode(message).finish(),
    decode: (bytes) => {
      // In fewer bytes there cannot be so many.
      if (bytes.length > 2 * messageItemsMax) {
        const reader = protobuf.Reader.create(bytes);
        countItems(type, reader, bytes.length, 0);
      }
      return type.decode(bytes);
    },
  };
}

/**
 * Counts the items of lists, here and in nested messages, before memory is taken for any of them. (No list of the
 * schema lies within a list.) Throws LimitError beyond `messageItemsMax`; plain errors for what is malformed.
 */
function countItems(
  type: protobuf.Type,
  reader: protobuf.Reader,
  end: number,
  before: number,
): number {
  let count = before;
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    const inner = field?.resolve().resolvedType;
    if (field?.repeated === true) {
      count += 1;
      if (count > messageItemsMax) {
        throw new LimitError('a message', 'more than that', messageItemsMax, 'items');
      }
      reader.skipType(tag & 7);
    } else if (inner instanceof protobuf.Type && (tag & 7) === 2) {
      const length = reader.uint32();
      count = countItems(inner, reader, Math.min(end, reader.pos + length), count);
    } else reader.skipType(tag & 7);
  }
  return count;
}

export const openType = typeOf('Open');
export const openedType = typeOf('Opened');
export const requestType = typeOf('Request');
export const responseType = typeOf('Response');
export const peerType = typeOf('Peer');
export const batchType = typeOf('Batch');
export const pageType = typeOf('Page');
