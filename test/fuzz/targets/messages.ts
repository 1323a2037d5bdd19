/**
 * Every message of the wire, both directions: what decodes is a message that can be sent on, and is the same
 * when it comes back; everything else is a typed error.
 */
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import {
  decodeBatch,
  decodeOpen,
  decodeOpened,
  decodePage,
  decodeRequest,
  decodeResponse,
  encodeBatch,
  encodeOpen,
  encodeOpened,
  encodePage,
  encodeRequest,
  encodeResponse,
  type Page,
} from '../../../src/protocol/messages.js';
import { decodePeer, encodePeer } from '../../../src/protocol/peer-messages.js';
import {
  anyOp,
  anyOpen,
  anyOpened,
  anyPeerMessage,
  anyRequest,
  anyResponse,
} from '../../protocol/arbitraries.js';
import { withAllocationsUpTo } from '../allocations.js';
import { varint } from '../mutations.js';
import { mutatedProtobuf } from '../protobuf-mutations.js';
import { assertHolds, type Target, unlessRefused } from '../target.js';

const anyPage: fc.Arbitrary<Page> = fc.record({
  entries: fc.array(
    fc.record({
      key: fc.uint8Array({ maxLength: 20 }),
      value: fc.uint8Array({ maxLength: 40 }),
      version: fc.maxSafeNat(),
    }),
    { maxLength: 5 },
  ),
  last: fc.boolean(),
});

interface Codec<Message> {
  readonly name: string;
  readonly inputs: number;
  readonly any: fc.Arbitrary<Message>;
  readonly encode: (message: Message) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Message;
}

const bytesMax = 2_048;
/** The tags of fields 1 to 22 with each type that the schema has; numbers at the edges. */
const dictionary = [
  ...Array.from({ length: 22 }, (_, index) =>
    [0, 1, 2, 3, 5].map((wireType) => varint(BigInt(((index + 1) << 3) | wireType))),
  ).flat(),
  ...[2n ** 31n, 2n ** 32n - 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n].map((n) => varint(n)),
  Buffer.from([0xed, 0xa0, 0x80]), // half a surrogate pair
  Buffer.from([0xc0, 0x80]),
];

function targetOf<Message>({ name, inputs, any, encode, decode }: Codec<Message>): Target {
  return {
    name,
    inputs,
    bytesMax,
    dictionary,
    mutate: mutatedProtobuf,
    corpus: fc.sample(any, { seed: 1, numRuns: 60 }).map(encode),
    check: (input) => {
      const message = withAllocationsUpTo(4 * input.length + 1024, () =>
        unlessRefused(() => decode(input)),
      );
      if (message === undefined) return 'refused';
      const again = decode(encode(message));
      assertHolds(isDeepStrictEqual(again, message), 'it is not the same when it comes back');
      return 'accepted';
    },
  };
}

export function messageTargets(): Target[] {
  return [
    targetOf({
      name: 'open',
      inputs: 60_000,
      any: anyOpen,
      encode: encodeOpen,
      decode: decodeOpen,
    }),
    targetOf({
      name: 'opened',
      inputs: 60_000,
      any: anyOpened,
      encode: encodeOpened,
      decode: decodeOpened,
    }),
    targetOf({
      name: 'request',
      inputs: 120_000,
      any: anyRequest,
      encode: encodeRequest,
      decode: decodeRequest,
    }),
    targetOf({
      name: 'response',
      inputs: 100_000,
      any: anyResponse,
      encode: encodeResponse,
      decode: decodeResponse,
    }),
    targetOf({
      name: 'peer message',
      inputs: 100_000,
      any: anyPeerMessage,
      encode: encodePeer,
      decode: decodePeer,
    }),
    targetOf({
      name: 'batch',
      inputs: 80_000,
      any: fc.array(anyOp, { maxLength: 10 }),
      encode: encodeBatch,
      decode: decodeBatch,
    }),
    targetOf({
      name: 'page',
      inputs: 80_000,
      any: anyPage,
      encode: encodePage,
      decode: decodePage,
    }),
  ];
}
