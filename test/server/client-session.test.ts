/** One client's connection: limits, throttling, backpressure of answers, and one answer a request. */
import test from 'ava';
import {
  keyBytesMax,
  outputHighWaterBytes,
  requestsInFlightMax,
  valueBytesMax,
} from '../../src/limits.js';
import { Machine } from '../../src/machine/machine.js';
import { Connection } from '../../src/protocol/connection.js';
import {
  decodeResponse,
  encodeRequest,
  encodeResponse,
  type RequestBody,
  type Response,
} from '../../src/protocol/messages.js';
import type { Replica } from '../../src/replica/replica.js';
import { ReadAnswers } from '../../src/server/answers.js';
import { ClientSession } from '../../src/server/client-session.js';
import { duplexPair } from '../support/duplex-pair.js';
import { answerCount, NotingHost } from './session-support.js';
import { putOf, writeOf } from './support.js';

/** A session at one end, and at the other what the client sees. */
function startSession() {
  const [clientEnd, serverEnd] = duplexPair();
  const host = new NotingHost();
  const session: ClientSession = new ClientSession(
    new Connection(serverEnd, {
      onPayloads: (payloads) => session.onPayloads(payloads),
      onClose: (reason) => closes.push(reason),
    }),
    host,
  );
  const closes: (Error | undefined)[] = [];
  const responses: Response[] = [];
  let wake: (() => void) | undefined;
  const client = new Connection(clientEnd, {
    onPayloads: (payloads) => {
      responses.push(...payloads.map((payload) => decodeResponse(payload)));
      wake?.();
    },
    onClose: () => wake?.(),
  });
  const untilResponses = async (count: number): Promise<void> => {
    while (responses.length < count && !client.isClosed) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const send = (id: number, body: RequestBody): void => client.send(encodeRequest({ id, body }));
  return { host, session, client, serverEnd, closes, responses, untilResponses, send };
}

/** The part of a replica that answers ask. */
const replica = {
  epochAt: (seq: number) => (seq === 0 ? 0 : 3),
  runsUpTo: (seq: number) => (seq === 0 ? [] : [{ epoch: 3, lastSeq: seq }]),
  configuration: { clusterId: 'c' },
} as unknown as Replica;

const key = (length: number): Buffer => Buffer.alloc(length, 'k');

for (const [what, body, message] of [
  ['a key too long', { kind: 'get', key: key(keyBytesMax + 1) }, /key is 4097 .* 4096 bytes/],
  ['an empty key', { kind: 'get', key: key(0) }, /empty/],
  ['a delete of an empty key', writeOf({ kind: 'delete', key: key(0) }), /empty/],
  [
    'a value too long',
    putOf('k', Buffer.alloc(valueBytesMax + 1)),
    /value is 8388609 bytes, the limit is 8388608/,
  ],
  [
    'a put with a key too long',
    writeOf({ kind: 'put', key: key(keyBytesMax + 1), value: key(1) }),
    /limit is 4096/,
  ],
  ['an epoch from a client', writeOf({ kind: 'epoch' }), /servers themselves/],
] as const) {
  test(`${what} is answered with a typed error, and nobody else is asked`, async (t) => {
    const { host, closes, responses, untilResponses, send } = startSession();
    send(7, body);
    send(8, { kind: 'status' });
    await untilResponses(2);
    const [failed] = responses;
    t.is(failed?.id, 7);
    t.is(failed?.body.kind, 'failure');
    if (failed?.body.kind === 'failure') {
      t.regex(failed.body.message, message);
      t.true(['LIMIT_EXCEEDED', 'BAD_REQUEST'].includes(failed.body.code));
    }
    t.deepEqual([host.writes, host.reads, closes], [[], [], []]);
    t.true(host.answered[0]?.failed);
  });
}

test('the limits themselves are allowed', async (t) => {
  const { host, send } = startSession();
  send(1, { kind: 'get', key: key(keyBytesMax) });
  send(2, writeOf({ kind: 'put', key: key(keyBytesMax), value: Buffer.alloc(valueBytesMax) }));
  await host.until(() => host.writes.length === 1);
  t.is(host.reads.length, 1);
  t.true((host.writes[0]?.opBytes ?? 0) > valueBytesMax + keyBytesMax);
});

test('a request with id 0 closes the connection', async (t) => {
  const { closes, untilResponses, send } = startSession();
  send(0, { kind: 'size' });
  await untilResponses(1);
  t.regex(String(closes[0]), /id 0/);
});

for (const [what, again] of [
  ['with another payload', putOf('k', 'another')],
  ['with the same payload', putOf('k', 'first')],
  ['for a read', { kind: 'size' }],
] as const) {
  test(`I6: an id that is used again ${what} before its answer: nothing more is done, and a reason`, async (t) => {
    const { host, client, closes, responses, untilResponses, send } = startSession();
    send(7, putOf('k', 'first'));
    await host.until(() => host.writes.length === 1);
    send(7, again);
    await untilResponses(1);
    t.true(client.isClosed);
    t.regex(String(closes[0]), /ProtocolError: request id 7 is used again before it was answered/);
    t.deepEqual([host.writes.length, host.reads, responses], [1, [], []]);
  });
}

test('I6: an id that was answered may be used again', async (t) => {
  const { host, responses, untilResponses, send } = startSession();
  for (const count of [1, 2, 3]) {
    send(7, { kind: 'size' });
    await host.until(() => host.reads.length === count);
    answerCount(host.reads[count - 1]!);
    await untilResponses(count);
  }
  t.deepEqual(
    responses.map(({ id }) => id),
    [7, 7, 7],
  );
});

test('past the limit of requests in flight the socket is not read; when half are answered, it is', async (t) => {
  const { host, serverEnd, responses, untilResponses, send } = startSession();
  for (let id = 1; id <= requestsInFlightMax; id++) send(id, { kind: 'size' });
  await host.until(() => host.reads.length === requestsInFlightMax);
  t.true(serverEnd.isPaused());
  send(requestsInFlightMax + 1, { kind: 'size' });
  for (const read of host.reads.slice(0, requestsInFlightMax / 2 - 1)) answerCount(read);
  t.true(serverEnd.isPaused());
  answerCount(host.reads[requestsInFlightMax / 2 - 1]!);
  t.false(serverEnd.isPaused());
  await host.until(() => host.reads.length === requestsInFlightMax + 1);
  for (const read of host.reads.slice(requestsInFlightMax / 2)) answerCount(read);
  await untilResponses(requestsInFlightMax + 1);
  const ids = new Set(responses.map(({ id }) => id));
  t.is(ids.size, requestsInFlightMax + 1);
  t.is(responses.length, requestsInFlightMax + 1);
});

test('congestion stops the reading, and its end starts it again', async (t) => {
  const { host, session, serverEnd, send } = startSession();
  session.setCongested(true);
  t.true(serverEnd.isPaused());
  send(1, { kind: 'size' });
  session.setCongested(false);
  t.false(serverEnd.isPaused());
  await host.until(() => host.reads.length === 1);
});

test('congestion does not end a throttle, nor a throttle congestion', async (t) => {
  const { host, session, serverEnd, send } = startSession();
  for (let id = 1; id <= requestsInFlightMax; id++) send(id, { kind: 'size' });
  await host.until(() => host.reads.length === requestsInFlightMax);
  session.setCongested(true);
  session.setCongested(false);
  t.true(serverEnd.isPaused());
  session.setCongested(true);
  for (const read of host.reads) answerCount(read);
  t.true(serverEnd.isPaused());
  session.setCongested(false);
  t.false(serverEnd.isPaused());
});

test('a client that takes no answers is not read any more until it does', async (t) => {
  const { host, client, serverEnd, untilResponses, send } = startSession();
  client.pause();
  send(1, { kind: 'get', key: key(1) });
  await host.until(() => host.reads.length === 1);
  const [read] = host.reads;
  read?.session.answerPayload(read.id, 'get', read.arrivedAtMs, largeAnswer(1));
  t.true(serverEnd.isPaused());
  client.resume();
  await untilResponses(1);
  send(2, { kind: 'size' });
  await host.until(() => host.reads.length === 2);
  t.false(serverEnd.isPaused());
});

test('answers are made as fast as the client takes them, not faster', async (t) => {
  const { host, client, responses, untilResponses, send } = startSession();
  const machine = new Machine();
  const value = Buffer.alloc(0.7 * outputHighWaterBytes, 'v');
  machine.load(key(1), value, 1);
  const answers = new ReadAnswers(machine, replica);
  client.pause();
  const count = 50;
  for (let id = 1; id <= count; id++) send(id, { kind: 'get', key: key(1) });
  await host.until(() => host.reads.length === count);
  let waiting = host.reads.splice(0);
  const [session] = waiting.map((read) => read.session);
  const first = answers.read(waiting);
  t.is(first.length, 2, 'one, and one more that could not be known to be too much');
  // Without a lease nothing leaves, and nothing is kept.
  answers.discard(first);
  t.true(first.every(({ payload }) => payload === undefined));
  t.true(session?.takesAnswers);
  client.resume();
  waiting = [...first, ...host.reads.splice(0)];
  for (let answered = 0; answered < count; ) {
    const done = answers.read(waiting);
    answers.answer(done);
    answered += done.length;
    t.true((session?.connection.outputBytes ?? 0) <= 2 * outputHighWaterBytes + 100 + value.length);
    await untilResponses(answered);
    if (answered < count) await host.until(() => host.reads.length > 0);
    waiting = host.reads.splice(0);
  }
  t.deepEqual(
    responses.map(({ id }) => id).sort((left, right) => left - right),
    Array.from({ length: count }, (_, index) => index + 1),
  );
});

test('one stream of pages at a time, the next one after it', async (t) => {
  const { host, responses, untilResponses, send } = startSession();
  const machine = new Machine();
  for (let n = 0; n < 100; n++) machine.load(Buffer.from(`k${n}`), Buffer.from('v'), 1);
  const answers = new ReadAnswers(machine, replica);
  send(1, { kind: 'scan', values: true });
  send(2, { kind: 'scan', values: false });
  await host.until(() => host.reads.length === 2);
  const first = answers.read(host.reads.splice(0));
  t.deepEqual(
    first.map(({ id }) => id),
    [1],
  );
  answers.answer(first);
  await host.until(() => host.reads.length === 1);
  answers.answer(answers.read(host.reads.splice(0)));
  await untilResponses(4);
  t.deepEqual(
    responses.map(({ id, body }) => [id, body.kind === 'page' && body.last]),
    [
      [1, false],
      [1, true],
      [2, false],
      [2, true],
    ],
  );
  t.is(responses[0]?.body.kind === 'page' && responses[0].body.entries.length, 100);
  t.deepEqual(host.answered, [
    { kind: 'scan', failed: false },
    { kind: 'scan', failed: false },
  ]);
});

test('a scan of a session that is gone closes its snapshot', async (t) => {
  const { host, session, send } = startSession();
  const machine = new Machine();
  machine.load(key(1), key(1), 1);
  const answers = new ReadAnswers(machine, replica);
  send(1, { kind: 'scan', values: true });
  await host.until(() => host.reads.length === 1);
  const read = answers.read(host.reads);
  const snapshot = read[0]?.instant?.snapshot;
  session.connection.close(undefined);
  answers.answer(read);
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(snapshot?.next(1000), []);
  t.false(session.isStreaming);
  answers.discard(read);
});

const opId = { epoch: 1, seq: 1 };

function largeAnswer(id: number): Uint8Array {
  const value = Buffer.alloc(outputHighWaterBytes + 10);
  return encodeResponse({ id, body: { kind: 'value', found: true, value, version: 1, at: opId } });
}
