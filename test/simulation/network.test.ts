/** The network and the processes of the simulator themselves: what they may do to bytes and clocks, and what not. */
import type { Duplex } from 'node:stream';
import test from 'ava';
import { Network } from '../../src/simulation/network.js';
import { type ProcessTraits, SimProcess } from '../../src/simulation/process.js';
import type { Random } from '../../src/simulation/random.js';
import { silentTrace } from '../../src/simulation/trace.js';
import { World } from '../../src/simulation/world.js';

const calm: ProcessTraits = { clockRate: 1, stallChance: 0, stallMsMax: 0, rareChances: new Map() };
const address = { host: 'b', port: 5000 };

class Pair {
  readonly world: World;
  readonly network: Network;
  readonly random: Random;
  readonly a: SimProcess;
  readonly b: SimProcess;
  sent = '';
  received = '';
  dialed: Duplex | undefined;
  readonly endings: string[] = [];

  constructor(seed: number, traits: Partial<ProcessTraits> = {}) {
    this.world = new World(seed, silentTrace);
    this.random = this.world.random.fork();
    this.network = new Network(this.world, this.random.fork());
    const make = (name: string): SimProcess =>
      new SimProcess(this.world, this.network, {
        name,
        host: name,
        random: this.random.fork(),
        traits: { ...calm, ...traits },
      });
    this.a = make('a');
    this.b = make('b');
  }

  /** `b` listens and notes what it reads; `a` dials. */
  async connect(): Promise<void> {
    this.b.post(0, 'listen', () => {
      void this.b.runtime.listen(address, {
        onStream: (stream) => {
          stream.on('data', (chunk: Buffer) => {
            this.received += chunk.toString();
          });
          stream.on('error', () => {});
        },
        onError: (error) => this.world.fail(error),
      });
    });
    this.a.post(1, 'dial', () => {
      const stream = this.a.runtime.dial(address);
      stream.on('error', () => {});
      stream.on('close', () => this.endings.push('closed'));
      stream.resume();
      this.dialed = stream;
    });
    await this.world.run(10);
  }

  write(text: string): void {
    this.a.post(0, 'write', () => {
      this.sent += text;
      this.dialed?.write(text);
    });
  }
}

test('what is read is what was written, in order, whatever the link does; once it is open, all of it', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const pair = new Pair(seed);
    const { network, random, world } = pair;
    network.linkDefaults = { delayMsMin: 0, delayMsMax: 20, pieceChance: 0.5, flipChance: 0 };
    await pair.connect();
    for (let step = 0; step < 60; step++) {
      pair.write(`${step},`.repeat(1 + random.below(2_000)));
      if (random.chance(0.2)) network.setBlocked('a', 'b', random.chance(0.5));
      await world.run(world.nowMs + random.below(30));
      t.true(pair.sent.startsWith(pair.received), `seed ${seed}`);
    }
    network.heal();
    await world.run(world.nowMs + 10_000);
    t.is(pair.received.length, pair.sent.length, `seed ${seed}`);
    t.is(pair.received, pair.sent);
  }
});

test('a turned bit is counted and changes what is read', async (t) => {
  const pair = new Pair(1);
  await pair.connect();
  pair.network.link('a', 'b').flipChance = 1;
  pair.write('hello');
  await pair.world.run(100);
  t.is(pair.network.flippedBits, 1);
  t.not(pair.received, pair.sent);
});

test('who dials where nobody listens is refused; where there is no power, hears nothing', async (t) => {
  const pair = new Pair(1);
  await pair.connect();
  pair.b.kill();
  pair.network.onKilled(pair.b, 'reset');
  await pair.world.run(50);
  t.deepEqual(pair.endings, ['closed']);
  const codes: (string | undefined)[] = [];
  const dial = (): void => {
    pair.a.post(0, 'dial', () => {
      pair.a.runtime.dial(address).on('error', ({ code }: NodeJS.ErrnoException) => {
        codes.push(code);
      });
    });
  };
  dial();
  await pair.world.run(100);
  t.deepEqual(codes, ['ECONNREFUSED']);
  pair.network.onKilled(pair.b, 'silence');
  dial();
  await pair.world.run(10_000);
  t.deepEqual(codes, ['ECONNREFUSED']);
});

test('a stopped process does nothing, then all that was due; a killed one nothing more', async (t) => {
  const pair = new Pair(1);
  let ticks = 0;
  pair.a.post(0, 'start', () => {
    pair.a.runtime.every(10, () => {
      ticks += 1;
    });
  });
  await pair.world.run(100);
  const before = ticks;
  t.true(before > 5);
  pair.a.stop(500, false);
  await pair.world.run(590);
  t.is(ticks, before);
  await pair.world.run(700);
  const after = ticks;
  t.true(after > before);
  pair.a.kill();
  await pair.world.run(2_000);
  t.is(ticks, after);
});

test('clocks run at their own rate; a suspended machine loses time on one of its two clocks', async (t) => {
  const pair = new Pair(1, { clockRate: 1.04 });
  const begin = pair.a.instant;
  await pair.world.run(1_000);
  const later = pair.a.instant;
  t.is(Math.round(later.monotonicMs - begin.monotonicMs), 1_040);
  pair.a.stop(1_000, true);
  await pair.world.run(2_000);
  const woken = pair.a.instant;
  t.is(Math.round(woken.monotonicMs - later.monotonicMs), 0);
  t.is(Math.round(woken.wallMs - later.wallMs), 1_040);
});

test('a process that stands still in the middle of an event says later what it says then', async (t) => {
  const pair = new Pair(1, { stallChance: 1, stallMsMax: 50 });
  await pair.connect();
  let saidAtMs = 0;
  pair.a.post(0, 'look and write', () => {
    pair.a.runtime.monotonicMs();
    saidAtMs = pair.a.nowMs;
    pair.dialed?.write('late');
  });
  const startMs = pair.world.nowMs;
  await pair.world.run(startMs + 200, () => pair.received !== '');
  t.is(pair.received, 'late');
  t.true(saidAtMs > startMs);
  t.true(pair.world.nowMs >= saidAtMs);
});
