/** Connections over a pair of streams: order, one write a turn, backpressure, and one reason at the end. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import test from 'ava';
import { CatenaError, LimitError, ProtocolError } from '../../src/errors.js';
import { frameBytesMax, outputHighWaterBytes, outputStallMs } from '../../src/limits.js';
import { Connection } from '../../src/protocol/connection.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { enterRuntime, runtime } from '../../src/runtime/runtime.js';
import { duplexPair, type PairEnd } from '../support/duplex-pair.js';

/** A connection that notes what comes; `closed` resolves to the reason. */
class Recorder {
  readonly connection: Connection;
  readonly received: Buffer[] = [];
  readonly reasons: (Error | undefined)[] = [];
  readonly closed: Promise<Error | undefined>;
  onPayload: ((payload: Buffer) => void) | undefined;
  #waiting: { count: number; resolve: () => void } | undefined;

  constructor(stream: PairEnd) {
    let onClosed!: (error: Error | undefined) => void;
    this.closed = new Promise((resolve) => {
      onClosed = resolve;
    });
    this.connection = new Connection(stream, {
      onPayloads: (payloads) => {
        for (const payload of payloads) {
          this.received.push(Buffer.from(payload));
          this.onPayload?.(payload);
        }
        if (this.received.length >= (this.#waiting?.count ?? Infinity)) this.#waiting?.resolve();
      },
      onClose: (error) => {
        this.reasons.push(error);
        onClosed(error);
      },
    });
  }

  async untilReceived(count: number): Promise<void> {
    if (this.received.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting = { count, resolve };
    });
  }
}

function pair() {
  const [left, right] = duplexPair();
  return { left, right, source: new Recorder(left), target: new Recorder(right) };
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('payloads arrive in order, whole, large and small', async (t) => {
  const { source, target } = pair();
  const payloads = [1, 20_000, 0, 3, 300_000, 16 * 1024, 16 * 1024 + 1, 5].map((size, index) =>
    Buffer.alloc(size, index),
  );
  for (const payload of payloads) source.connection.send(payload);
  await target.untilReceived(payloads.length);
  t.deepEqual(target.received, payloads);
});

test('what is sent in one turn leaves in one write', async (t) => {
  const { left, source, target } = pair();
  for (let index = 0; index < 100; index++) source.connection.send(Buffer.from(`${index}`));
  t.is(left.writes, 0);
  await target.untilReceived(100);
  t.is(left.writes, 1);
  // Large payloads are not copied, but the pieces still go together.
  source.connection.send(Buffer.from('small'));
  source.connection.send(Buffer.alloc(50_000, 1));
  source.connection.send(Buffer.from('small'));
  await target.untilReceived(103);
  t.is(left.writes, 2);
});

test('flushing by itself is possible, and the flush that was due then does nothing', async (t) => {
  const { left, source, target } = pair();
  source.connection.send(Buffer.from('now'));
  source.connection.flush();
  t.is(left.writes, 1);
  await nextTurn();
  t.is(left.writes, 1);
  source.connection.send(Buffer.from('later'));
  await target.untilReceived(2);
});

test('the largest payload passes, a larger one is refused to the sender', async (t) => {
  const { source, target } = pair();
  const largest = Buffer.alloc(frameBytesMax, 5);
  t.throws(() => source.connection.send(Buffer.alloc(frameBytesMax + 1)), {
    instanceOf: LimitError,
  });
  source.connection.send(largest);
  await target.untilReceived(1);
  t.true(target.received[0]?.equals(largest));
});

test('drained waits while the peer does not read, and for all that wait at once', async (t) => {
  const { source, target } = pair();
  target.connection.pause();
  await source.connection.drained();
  source.connection.send(Buffer.alloc(outputHighWaterBytes + 1, 1));
  t.true(source.connection.outputBytes > outputHighWaterBytes);
  let drained = 0;
  const waits = [1, 2].map(() => source.connection.drained().then(() => (drained += 1)));
  await nextTurn();
  await nextTurn();
  t.is(drained, 0);
  target.connection.resume();
  await Promise.all(waits);
  t.is(drained, 2);
  t.true(source.connection.outputBytes <= outputHighWaterBytes);
});

test.serial(
  'I5: a peer that takes nothing is disconnected when its time is up; nobody waits longer',
  async (t) => {
    const timers: { ms: number; act: () => void }[] = [];
    const before = enterRuntime({
      ...runtime,
      after: (ms, act) => {
        timers.push({ ms, act });
        return { cancel: () => {} };
      },
    });
    t.teardown(() => enterRuntime(before));
    const { right, source } = pair();
    right.pause();
    source.connection.send(Buffer.alloc(4 * outputHighWaterBytes));
    const drained = source.connection.drained();
    await nextTurn();
    t.deepEqual(
      timers.map(({ ms }) => ms),
      [outputStallMs],
    );
    t.false(source.connection.isClosed);
    timers[0]?.act();
    await drained;
    t.regex(String(await source.closed), /ProtocolError: the peer has read nothing for 30000 ms/);
  },
);

test('I5: the same of a real socket', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const deaf = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.teardown(() => deaf.destroy());
  deaf.pause();
  const [socket] = await accepted;
  const asked: number[] = [];
  const setTimeout = socket.setTimeout.bind(socket);
  // The socket's own timer, made a short one.
  socket.setTimeout = (ms, act) => {
    asked.push(ms);
    return setTimeout(Math.min(ms, 20), act);
  };
  const reason = new Promise<Error | undefined>((resolve) => {
    const source = new Connection(socket, { onPayloads: () => {}, onClose: resolve });
    for (let count = 0; count < 4; count++) source.send(Buffer.alloc(frameBytesMax));
    void source.drained();
  });
  t.regex(String(await reason), /the peer has read nothing for 30000 ms/);
  t.is(asked[0], outputStallMs);
});

test('drained resolves when the connection closes, and leaves nothing behind', async (t) => {
  const { source, target } = pair();
  target.connection.pause();
  source.connection.send(Buffer.alloc(outputHighWaterBytes + 1));
  const wait = source.connection.drained();
  source.connection.close(undefined);
  await wait;
  await source.connection.drained();
  t.deepEqual(source.reasons, [undefined]);
});

test('the reason of a close is told once, the first one', async (t) => {
  const { source, target } = pair();
  const first = new ProtocolError('first');
  source.connection.close(first);
  source.connection.close(new ProtocolError('second'));
  source.connection.end();
  await target.closed;
  await nextTurn();
  t.deepEqual(source.reasons, [first]);
  t.is(target.reasons.length, 1);
  t.true(source.connection.isClosed);
});

test('an error of the stream is the reason, and nobody crashes', async (t) => {
  const { left, source, target } = pair();
  const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
  left.destroy(reset);
  t.is(await source.closed, reset);
  t.is(await target.closed, undefined);
});

test('end sends what is queued first', async (t) => {
  const { source, target } = pair();
  source.connection.send(Buffer.from('last words'));
  source.connection.end();
  await target.untilReceived(1);
  t.is(await target.closed, undefined);
  t.deepEqual(source.reasons, [undefined]);
});

test('end gives up on a peer that neither reads nor ends', async (t) => {
  const { left, source, target } = pair();
  target.connection.pause();
  source.connection.pause();
  source.connection.send(Buffer.alloc(outputHighWaterBytes * 2));
  const over = once(left, 'close');
  source.connection.end(new ProtocolError('why'));
  // A socket keeps the process running until then, these streams do not.
  const keepRunning = setInterval(() => {}, 1_000);
  await over;
  clearInterval(keepRunning);
  t.true(left.destroyed);
  t.is(source.reasons[0]?.message, 'why');
});

test('after the close nothing is sent, received or flushed', async (t) => {
  const { left, right, source, target } = pair();
  source.connection.send(Buffer.from('never'));
  source.connection.close(undefined);
  source.connection.send(Buffer.from('never either'));
  source.connection.flush();
  source.connection.resume();
  await target.closed;
  right.push(encodeFrame(Buffer.from('late')));
  await nextTurn();
  t.is(left.writes, 0);
  t.deepEqual(target.received, []);
});

test('a typed error of the handler closes with that reason', async (t) => {
  const { source, target } = pair();
  target.onPayload = (payload) => {
    throw new CatenaError('BAD_REQUEST', `cannot stand ${payload.toString()}`);
  };
  source.connection.send(Buffer.from('this'));
  source.connection.send(Buffer.from('that'));
  const reason = await target.closed;
  t.is(reason?.message, 'cannot stand this');
  t.is(target.received.length, 1);
  t.is(await source.closed, undefined);
});

test('garbage closes with a typed reason; frames before it in the same bytes are not handed over', async (t) => {
  const { left, target } = pair();
  left.write(Buffer.concat([encodeFrame(Buffer.from('good')), Buffer.from('GET / HTTP/1.1\r\n')]));
  t.true((await target.closed) instanceof ProtocolError);
});

test('half a frame, then the end: the reason says so', async (t) => {
  const { left, target } = pair();
  left.write(encodeFrame(Buffer.from('a whole one')));
  left.end(encodeFrame(Buffer.from('a broken one')).subarray(0, 11));
  const reason = await target.closed;
  t.true(reason instanceof ProtocolError);
  t.regex(reason?.message ?? '', /middle of a frame/);
  t.deepEqual(target.received, [Buffer.from('a whole one')]);
});

test('since when half a frame has been there: restarted by frames and by real progress', async (t) => {
  const { left, target } = pair();
  const { connection } = target;
  const write = async (bytes: Buffer): Promise<void> => {
    await new Promise((resolve) => left.write(bytes, resolve));
    await nextTurn();
  };
  t.is(connection.midFrameSinceMs, undefined);
  const frame = encodeFrame(Buffer.alloc(100_000, 1));
  await write(frame.subarray(0, 5));
  const first = connection.midFrameSinceMs;
  t.not(first, undefined);
  await write(frame.subarray(5, 6));
  t.is(connection.midFrameSinceMs, first, 'a byte is no progress');
  await write(frame.subarray(6, 40_000));
  const second = connection.midFrameSinceMs;
  t.true((second as number) > (first as number));
  await write(frame.subarray(40_000));
  t.is(connection.midFrameSinceMs, undefined);
});

test('half a frame while nothing is read here is not held against the peer', async (t) => {
  const { left, target } = pair();
  const { connection } = target;
  const frame = encodeFrame(Buffer.alloc(100, 1));
  await new Promise((resolve) => left.write(frame.subarray(0, 50), resolve));
  await nextTurn();
  const first = connection.midFrameSinceMs;
  t.not(first, undefined);
  connection.resume();
  t.is(connection.midFrameSinceMs, first, 'it was not paused');
  connection.pause();
  t.is(connection.midFrameSinceMs, undefined);
  connection.resume();
  t.true((connection.midFrameSinceMs as number) > (first as number), 'its time begins anew');
  left.write(frame.subarray(50));
  await target.untilReceived(1);
  t.is(connection.midFrameSinceMs, undefined);
});
