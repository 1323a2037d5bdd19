/** The single writer's queue: batches within the limits, one drain task at a time, and waiting for room. */
import test from 'ava';
import { batchBytesMax, batchOpsMax } from '../../src/limits.js';
import type { ClientWrite } from '../../src/server/client-requests.js';
import { WriteQueue } from '../../src/server/write-queue.js';

/** Only what the queue looks at. */
const write = (id: number, opBytes = 10): ClientWrite => ({ id, opBytes }) as ClientWrite;

class Sink {
  readonly batches: ClientWrite[][] = [];
  readonly queue: WriteQueue;
  room = true;
  fullCount = 0;
  drainedCount = 0;
  #wake: (() => void) | undefined;

  constructor() {
    this.queue = new WriteQueue({
      hasRoom: () => this.room,
      full: () => {
        this.fullCount += 1;
        this.#wake?.();
      },
      submit: (batch) => {
        this.batches.push([...batch]);
      },
      drained: () => {
        this.drainedCount += 1;
        this.#wake?.();
      },
    });
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

test('everything that waits becomes one batch, in order', async (t) => {
  const sink = new Sink();
  t.true(sink.queue.isEmpty);
  for (let id = 1; id <= 100; id++) sink.queue.push(write(id));
  t.false(sink.queue.isEmpty);
  sink.queue.drainSoon();
  await sink.until(() => sink.drainedCount === 1);
  t.is(sink.batches.length, 1);
  t.deepEqual(
    sink.batches[0]?.map(({ id }) => id),
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
  t.true(sink.queue.isEmpty);
});

test('a batch has at most so many ops', async (t) => {
  const sink = new Sink();
  for (let id = 0; id < batchOpsMax * 2 + 1; id++) sink.queue.push(write(id, 1));
  sink.queue.drainSoon();
  await sink.until(() => sink.drainedCount === 1);
  t.deepEqual(
    sink.batches.map((batch) => batch.length),
    [batchOpsMax, batchOpsMax, 1],
  );
});

test('a batch has at most so many bytes; a larger op goes alone', async (t) => {
  const sink = new Sink();
  const half = batchBytesMax / 2;
  for (const opBytes of [half, half, 1, batchBytesMax * 8, 1, half, half]) {
    sink.queue.push(write(0, opBytes));
  }
  sink.queue.drainSoon();
  await sink.until(() => sink.drainedCount === 1);
  t.deepEqual(
    sink.batches.map((batch) => batch.map(({ opBytes }) => opBytes)),
    [[half, half], [1], [batchBytesMax * 8], [1, half], [half]],
  );
});

test('at most one drain task runs and one waits, however often it is asked', async (t) => {
  const sink = new Sink();
  sink.room = false;
  for (let id = 0; id < 1000; id++) {
    sink.queue.push(write(id));
    sink.queue.drainSoon();
  }
  await sink.until(() => sink.fullCount === 1);
  for (let times = 0; times < 1000; times++) sink.queue.drainSoon();
  sink.room = true;
  sink.queue.roomAgain();
  // The one that ran and the one that waited each end once.
  await sink.until(() => sink.drainedCount === 2);
  await new Promise((resolve) => setImmediate(resolve));
  t.is(sink.drainedCount, 2);
  t.is(sink.batches.flat().length, 1000);
});

test('without room nothing is handed over; with room again everything is, once', async (t) => {
  const sink = new Sink();
  sink.room = false;
  sink.queue.push(write(1));
  sink.queue.drainSoon();
  await sink.until(() => sink.fullCount === 1);
  sink.queue.push(write(2));
  t.deepEqual(sink.batches, []);
  sink.room = true;
  sink.queue.roomAgain();
  sink.queue.roomAgain();
  await sink.until(() => sink.drainedCount >= 1);
  t.deepEqual(
    sink.batches.flat().map(({ id }) => id),
    [1, 2],
  );
});

test('room again when nobody waits does no harm', async (t) => {
  const sink = new Sink();
  sink.queue.roomAgain();
  sink.queue.push(write(1));
  sink.queue.drainSoon();
  await sink.until(() => sink.drainedCount === 1);
  t.is(sink.batches.length, 1);
});
