import test from 'ava';
import { array, assert, integer, property } from 'fast-check';
import { EventQueue } from '../../src/simulation/event-queue.js';

test('events come by time, and of one time in the order in which they were put in', (t) => {
  assert(
    property(array(integer({ min: 0, max: 9 })), (times) => {
      const queue = new EventQueue<{ atMs: number; number: number }>();
      const events = times.map((atMs, number) => ({ atMs, number }));
      for (const event of events) queue.push(event);
      const order = events.map(() => queue.pop());
      t.is(queue.pop(), undefined);
      const sorted = [...events].sort((a, b) => a.atMs - b.atMs || a.number - b.number);
      t.deepEqual(order, sorted);
    }),
  );
});
