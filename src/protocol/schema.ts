/**
 * The message types of proto/catena.proto, ready to encode and decode. The only file that imports
 * protobufjs. Reflection, not generated code: measured no slower, and there is nothing to keep in step.
 */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

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
    decode: (bytes) => type.decode(bytes),
  };
}

export const openType = typeOf('Open');
export const openedType = typeOf('Opened');
export const requestType = typeOf('Request');
export const responseType = typeOf('Response');
export const peerType = typeOf('Peer');
export const batchType = typeOf('Batch');
export const pageType = typeOf('Page');
