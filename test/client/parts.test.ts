/** The parts of the client by themselves: deadlines, request ids, the queue, and how a dead server is told from a slow one. */
import test from 'ava';
import { array, assert, boolean, nat, property } from 'fast-check';
import { Call, type CallOptions, toMember } from '../../src/client/call.js';
import { CallQueue } from '../../src/client/call-queue.js';
import { Deadlines, Expiring } from '../../src/client/deadlines.js';
import { InFlight } from '../../src/client/in-flight.js';
import { ServerConnection } from '../../src/client/server-connection.js';
import { quietMsMax, silentMsMax, suspectMs } from '../../src/client/timing.js';
import { isNewerView } from '../../src/client/view.js';
import { requestsInFlightMax } from '../../src/limits.js';
import { FakeChain } from './fake-chain.js';

const address = '127.0.0.1:1';

class Alarm extends Expiring {
  readonly #ring: () => void;
  constructor(ring: () => void) {
    super();
    this.#ring = ring;
  }
  override onDeadline(): void {
    this.#ring();
  }
}

function callOf(more: Partial<CallOptions> = {}): Call {
  const options = {
    body: { kind: 'size' },
    target: toMember,
    onAnswer: () => {},
    onError: () => {},
  };
  return new Call({ ...options, ...more } as CallOptions, new Deadlines());
}

test('deadlines come in order, never early, and not once they were lifted', async (t) => {
  const deadlines = new Deadlines();
  const startMs = performance.now();
  const rung: number[] = [];
  const lifted = new Alarm(() => t.fail());
  await new Promise<void>((resolve) => {
    for (const timeoutMs of [60, 20, 40]) {
      const alarm = new Alarm(() => {
        t.true(performance.now() - startMs >= timeoutMs);
        rung.push(timeoutMs);
        if (timeoutMs === 20) deadlines.lift(lifted);
        if (timeoutMs === 60) resolve();
      });
      deadlines.set(alarm, timeoutMs);
    }
    deadlines.set(lifted, 40);
    deadlines.set(lifted, 50);
  });
  t.deepEqual(rung, [20, 40, 60]);
  t.is(deadlines.size, 0);
});

test('a request id is unique among those in flight, and a late answer finds nothing', (t) => {
  assert(
    property(array(boolean(), { maxLength: 300 }), (steps) => {
      const inFlight = new InFlight();
      const open: { id: number; call: Call }[] = [];
      const used = new Set<number>([0]);
      for (const isAdd of steps) {
        if (isAdd) {
          const call = callOf();
          const id = inFlight.add(call);
          if (used.has(id)) return false;
          used.add(id);
          open.push({ id, call });
        } else {
          const oldest = open.shift();
          if (oldest === undefined) continue;
          inFlight.remove(oldest.id);
          if (inFlight.get(oldest.id) !== undefined) return false;
        }
      }
      return (
        inFlight.size === open.length && open.every(({ id, call }) => inFlight.get(id) === call)
      );
    }),
  );
  const inFlight = new InFlight();
  while (!inFlight.isFull) inFlight.add('orphan');
  t.is(inFlight.size, requestsInFlightMax);
  t.deepEqual(inFlight.calls(), []);
});

test('the queue keeps its order while calls leave from anywhere', (t) => {
  assert(
    property(array(nat(5), { maxLength: 100 }), (steps) => {
      const queue = new CallQueue();
      const model: Call[] = [];
      for (const step of steps) {
        const [gone] = step > 2 ? model.splice(step % Math.max(1, model.length), 1) : [];
        if (gone !== undefined) queue.remove(gone);
        else {
          const call = callOf();
          queue.push(call);
          model.push(call);
        }
      }
      const calls = queue.calls();
      return calls.length === queue.size && calls.every((call, index) => call === model[index]);
    }),
  );
  t.pass();
});

test('a quiet server is asked for a sign of life, then passed over, then given up', async (t) => {
  const chain = new FakeChain([address]);
  const server = chain.server(address);
  const heard: string[] = [];
  let wake: () => void = () => {};
  const event = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  const note = (what: string): void => {
    heard.push(what);
    wake();
  };
  server.script = () => {};
  const opened = event();
  const connection = new ServerConnection({
    address,
    cluster: 'default',
    dial: chain.dial,
    listener: {
      onOpen: () => note('open'),
      onView: () => {},
      onRefusal: () => note('refusal'),
      onHealth: ({ isSuspect }) => note(isSuspect ? 'suspect' : 'healthy'),
      onIdle: () => {},
      onClose: (_connection, error, calls) => note(`${error.message}, ${calls.length} returned`),
    },
  });
  await opened;
  connection.checkHealth(performance.now() + 2 * quietMsMax);
  connection.submit(callOf());
  await server.received(1);
  // Whole: of a fraction, (now + pause) - now may round to less than the pause.
  const nowMs = Math.ceil(performance.now()) + quietMsMax;
  connection.checkHealth(nowMs);
  await server.received(2);
  t.is(server.requests[1]?.body.kind, 'status');
  connection.checkHealth(nowMs + suspectMs);
  t.true(connection.isSuspect);
  const healthy = event();
  const [session] = server.sessions;
  if (session !== undefined)
    server.act({ id: server.requests[1]?.id ?? 0, body: { kind: 'status' } }, session);
  await healthy;
  t.false(connection.isSuspect);
  connection.checkHealth(nowMs + 3 * quietMsMax);
  connection.checkHealth(nowMs + 3 * quietMsMax + silentMsMax);
  t.deepEqual(heard, [
    'open',
    'suspect',
    'healthy',
    `${address} was silent for 10000 ms, 1 returned`,
  ]);
});

test('of two views the one of the higher generation is newer, then the one of the higher epoch', (t) => {
  const view = new FakeChain([address]).view;
  t.true(isNewerView(view, undefined));
  t.false(isNewerView(view, view));
  t.true(isNewerView({ ...view, epoch: 2 }, view));
  t.true(isNewerView({ ...view, generation: 2, epoch: 1 }, { ...view, epoch: 9 }));
  t.false(isNewerView({ ...view, epoch: 9 }, { ...view, generation: 2, epoch: 1 }));
});
