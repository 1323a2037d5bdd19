/** Every kind of message comes back as it went; whatever is not a message is a typed error, never a crash. */
import test from 'ava';
import * as fc from 'fast-check';
import { CatenaError, LimitError, ProtocolError } from '../../src/errors.js';
import { messageItemsMax } from '../../src/limits.js';
import { sealRecord } from '../../src/protocol/entry-codec.js';
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
} from '../../src/protocol/messages.js';
import { decodePeer, encodePeer, isSnapshotMessage } from '../../src/protocol/peer-messages.js';
import {
  anyOp,
  anyOpen,
  anyOpened,
  anyPeerMessage,
  anyRequest,
  anyResponse,
} from './arbitraries.js';

/** Buffers and plain arrays of bytes are equal if their bytes are. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

function roundTrip<Message>(
  any: fc.Arbitrary<Message>,
  encode: (message: Message) => Uint8Array,
  decode: (bytes: Uint8Array) => unknown,
) {
  return test.macro((t) => {
    fc.assert(
      fc.property(any, (message) => {
        t.deepEqual(plain(decode(encode(message))), plain(message));
      }),
      { numRuns: 100 },
    );
  });
}

test('open', roundTrip(anyOpen, encodeOpen, decodeOpen));
test('opened', roundTrip(anyOpened, encodeOpened, decodeOpened));
test('requests of every kind', roundTrip(anyRequest, encodeRequest, decodeRequest));
test('responses of every kind', roundTrip(anyResponse, encodeResponse, decodeResponse));
test('messages between servers of every kind', roundTrip(anyPeerMessage, encodePeer, decodePeer));
test('batches', roundTrip(fc.array(anyOp, { maxLength: 10 }), encodeBatch, decodeBatch));

test('which messages belong to a snapshot', (t) => {
  fc.assert(
    fc.property(anyPeerMessage, (message) => {
      const decodedMessage = decodePeer(encodePeer(message));
      t.is(isSnapshotMessage(decodedMessage), message.body.kind.startsWith('snapshot-'));
    }),
  );
});

const decoders: readonly [string, (bytes: Uint8Array) => unknown][] = [
  ['open', decodeOpen],
  ['opened', decodeOpened],
  ['request', decodeRequest],
  ['response', decodeResponse],
  ['peer', decodePeer],
  ['batch', decodeBatch],
  ['page', decodePage],
];

/** Mutated and random messages are fuzzed (test/fuzz). Throws whatever is no typed error. */
function isRefused(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return false;
  } catch (error) {
    if (error instanceof CatenaError) return true;
    throw error;
  }
}

test('every message cut short at every byte', (t) => {
  const whole = encodeRequest({
    id: 7,
    body: {
      kind: 'write',
      op: { kind: 'put', key: Buffer.from('key'), value: Buffer.from('value') },
      noWait: true,
      announce: true,
    },
  });
  for (let length = 0; length < whole.length; length++) {
    isRefused(decodeRequest, whole.subarray(0, length));
  }
  t.throws(() => decodeRequest(whole.subarray(0, 5)), { instanceOf: ProtocolError });
  t.notThrows(() => decodeRequest(whole));
});

test('nothing at all is no request, response or peer message', (t) => {
  for (const decode of [decodeRequest, decodeResponse, decodePeer]) {
    t.throws(() => decode(new Uint8Array(0)), { instanceOf: ProtocolError });
  }
});

test('groups nested a million deep', (t) => {
  const nested = Buffer.alloc(1_000_000, 0x7b);
  for (const [name, decode] of decoders) {
    t.throws(() => decode(nested), { instanceOf: ProtocolError }, name);
  }
});

/** `count` empty items of the list in field 1. */
const emptyItems = (count: number): Buffer => Buffer.alloc(2 * count, Buffer.from([0x0a, 0x00]));
/** Field `number`, with its length. */
const fieldOf = (number: number, content: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  for (let at = 0; at < 4; at++)
    length[at] = ((content.length >>> (7 * at)) & 0x7f) | (at < 3 ? 0x80 : 0);
  return Buffer.concat([Buffer.from([(number << 3) | 2]), length, content]);
};

test('I1: a frame full of empty list items is refused before there is an object for each', (t) => {
  const many = emptyItems(messageItemsMax + 1);
  const limit = { instanceOf: LimitError, message: /more than 262144 items/ };
  t.throws(() => decodeBatch(many), limit);
  t.throws(() => decodePage(many), limit);
  t.throws(() => decodePeer(fieldOf(4, many)), limit, 'runs of a hello-answer');
  t.throws(() => decodeResponse(fieldOf(6, many)), limit, 'entries of a page');
  t.is(decodePage(emptyItems(messageItemsMax)).entries.length, messageItemsMax);
});

test('I1: in the bytes of a value nothing is counted', (t) => {
  const op = {
    kind: 'put' as const,
    key: Buffer.from('k'),
    value: emptyItems(2 * messageItemsMax),
  };
  const request = { id: 1, body: { kind: 'write' as const, op, noWait: false, announce: false } };
  t.deepEqual(plain(decodeRequest(encodeRequest(request))), plain(request));
  t.deepEqual(plain(decodeBatch(encodeBatch([op, op]))), plain([op, op]));
});

test('a nested length beyond the message', (t) => {
  // Field 2 of Request (write), announced with 2 GiB.
  const bytes = Buffer.from([0x08, 0x01, 0x12, 0xff, 0xff, 0xff, 0xff, 0x07]);
  t.throws(() => decodeRequest(bytes), { instanceOf: ProtocolError });
});

test('the wrong wire type for a field', (t) => {
  // Field 3 of Request (get, a message) as a varint.
  const bytes = Buffer.from([0x08, 0x01, 0x18, 0x05]);
  t.throws(() => decodeRequest(bytes), { instanceOf: ProtocolError });
});

test('a request with no body, with an op of no kind, with a verify of nothing', (t) => {
  const noBody = Buffer.from([0x08, 0x01]);
  const noOp = Buffer.from([0x08, 0x01, 0x12, 0x00]);
  const emptyOp = Buffer.from([0x08, 0x01, 0x12, 0x02, 0x0a, 0x00]);
  const emptyVerify = Buffer.from([0x08, 0x01, 0x32, 0x00]);
  for (const bytes of [noBody, noOp, emptyOp, emptyVerify]) {
    t.throws(() => decodeRequest(bytes), { instanceOf: ProtocolError });
  }
});

for (const [value, varint] of [
  ['2^53', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
  ['2^53 + 1', [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
  ['2^64 - 1', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
] as const) {
  test(`a seq of ${value} is refused, not rounded`, (t) => {
    const opId = Buffer.from([0x08, 0x01, 0x10, ...varint]);
    const verify = Buffer.from([0x0a, opId.length, ...opId]);
    const request = Buffer.from([0x08, 0x01, 0x32, verify.length, ...verify]);
    t.throws(() => decodeRequest(request), { instanceOf: ProtocolError });
    // The epoch of a message between servers.
    t.throws(() => decodePeer(Buffer.from([0x08, ...varint, 0x5a, 0x00])), {
      instanceOf: ProtocolError,
    });
  });
}

test('2^53 - 1 is the last that passes', (t) => {
  const body = { kind: 'verify' as const, opId: { epoch: 1, seq: Number.MAX_SAFE_INTEGER } };
  t.deepEqual(decodeRequest(encodeRequest({ id: 1, body })), { id: 1, body });
});

test('a record that counts other ops than it holds is refused', (t) => {
  const ops = [{ kind: 'delete' as const, key: Buffer.from('key') }];
  const record = sealRecord({ epoch: 1, firstSeq: 1, count: 2, commit: 0 }, ops);
  const entry = { epoch: 1, firstSeq: 1, lastSeq: 2, commit: 0, ops, keyHashes: [], record };
  const bytes = encodePeer({
    epoch: 1,
    configId: 'c',
    body: { kind: 'append', entry, commit: 0 },
  });
  t.throws(() => decodePeer(bytes), { instanceOf: CatenaError, message: /2 ops holds 1/ });
});

test('a flipped bit in the record of an append is refused', (t) => {
  const ops = [{ kind: 'put' as const, key: Buffer.from('key'), value: Buffer.alloc(50, 1) }];
  const record = Buffer.from(sealRecord({ epoch: 1, firstSeq: 1, count: 1, commit: 0 }, ops));
  record[record.length - 20] = 9;
  const entry = { epoch: 1, firstSeq: 1, lastSeq: 1, commit: 0, ops, keyHashes: [], record };
  const append = encodePeer({
    epoch: 1,
    configId: 'c',
    body: { kind: 'append', entry, commit: 0 },
  });
  t.throws(() => decodePeer(append), { instanceOf: CatenaError });
});

test('a page survives the way to disk', (t) => {
  const page = { entries: [{ key: Buffer.from('k'), value: Buffer.alloc(9), version: 4 }] };
  const bytes = encodePage({ ...page, last: true });
  t.deepEqual(plain(decodePage(bytes)), plain({ ...page, last: true }));
});
