/**
 * What ends a server, and whether another life of it begins in the same process: no server, disk or clock
 * here, all of them are scripted.
 */
import test from 'ava';
import {
  type CatenaError,
  DataDamagedError,
  DiskFullError,
  InvariantError,
  RefusedToStartError,
  StorageError,
} from '../../../src/errors.js';
import type { LastChain } from '../../../src/server/supervision/last-chain.js';
import {
  damagesMax,
  damageWindowMs,
  type Life,
  refillPauseMsMax,
  refillWindowMs,
  roomPollMs,
  Supervisor,
} from '../../../src/server/supervision/supervisor.js';

const MiB = 1024 * 1024;
const full = new DiskFullError('no room');
const damaged = new DataDamagedError('a bit is wrong in /data/log');

class FakeLife implements Life {
  readonly ended: Promise<CatenaError | undefined>;
  end!: (reason: CatenaError | undefined) => void;
  readonly asked: string[] = [];

  constructor() {
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  leave = (): Promise<void> => this.#end('leave');
  close = (): Promise<void> => this.#end('close');
  kill = (): Promise<void> => this.#end('kill');

  #end(how: string): Promise<void> {
    this.asked.push(how);
    this.end(undefined);
    return Promise.resolve();
  }
}

/** Each start fails with what the script says, or is a life that the test ends. */
function supervise(
  script: { starts?: (CatenaError | Error | undefined)[]; chain?: LastChain } = {},
) {
  const starts = script.starts ?? [];
  const lives: FakeLife[] = [];
  const lines: string[] = [];
  const done: string[] = [];
  const pauses: number[] = [];
  const world = {
    nowMs: 0,
    freeBytes: 0,
    chain: script.chain ?? { others: ['b:1'], reason: '' },
    room: () => Promise.resolve({ freeBytes: world.freeBytes, neededBytes: 64 * MiB }),
  };
  let wake: (() => void) | undefined;
  const supervisor = new Supervisor<FakeLife>({
    address: 'a:1',
    start: () => {
      done.push('start');
      const failure = starts.shift();
      if (failure !== undefined) return Promise.reject(failure);
      const life = new FakeLife();
      lives.push(life);
      return Promise.resolve(life);
    },
    room: () => world.room(),
    lastChain: () => Promise.resolve(world.chain),
    setDataAside: () => {
      done.push('set aside');
      return Promise.resolve('/data.damaged-then');
    },
    onLine: (line) => lines.push(line),
    nowMs: () => world.nowMs,
    pause: (ms, signal) => {
      pauses.push(ms);
      if (signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        wake = resolve;
        signal.addEventListener('abort', () => resolve());
      });
    },
  });
  /** Lets the pause that it is in pass. */
  const pass = async (): Promise<void> => {
    world.nowMs += pauses.at(-1) ?? 0;
    wake?.();
    await turns();
  };
  return { supervisor, lives, lines, done, pauses, world, pass };
}

/** Everything that needs no time happens. */
async function turns(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('a server that is asked to stop stops, as asked, and there is no other', async (t) => {
  for (const how of ['leave', 'close', 'kill'] as const) {
    const { supervisor, lives, done } = supervise();
    await supervisor.reaches('up');
    t.is(supervisor.life, lives[0]);
    await supervisor[how]();
    t.is(await supervisor.ended, undefined);
    t.deepEqual(lives[0]?.asked, [how]);
    t.is(supervisor.state, 'ended');
    t.deepEqual(done, ['start']);
  }
});

test('asked to stop while it starts: the server is stopped as soon as it is there', async (t) => {
  const { supervisor, lives } = supervise();
  const stopped = supervisor.leave();
  await stopped;
  t.is(await supervisor.ended, undefined);
  t.deepEqual(
    lives.flatMap(({ asked }) => asked),
    ['leave'],
  );
});

for (const reason of [
  new InvariantError('two heads'),
  new StorageError('EIO'),
  new RefusedToStartError('format version 9'),
]) {
  test(`D5, D7: ${reason.code} is the end, at a start and later; nothing is moved or tried again`, async (t) => {
    for (const starts of [[reason], []]) {
      const { supervisor, lives, done } = supervise({ starts });
      await turns();
      lives[0]?.end(reason);
      t.is(await supervisor.ended, reason);
      t.deepEqual(done, ['start']);
      await t.throwsAsync(supervisor.reaches('up'), { is: reason });
    }
  });
}

test('a bug is no reason that a server ends with: it comes out as what it is', async (t) => {
  const { supervisor } = supervise({ starts: [new TypeError('undefined is not a function')] });
  await t.throwsAsync(supervisor.ended, { instanceOf: TypeError });
});

test('D4: without room it waits, and says so once; with room it starts again', async (t) => {
  const { supervisor, lives, lines, pauses, world, done, pass } = supervise();
  await supervisor.reaches('up');
  world.freeBytes = 12.5 * MiB;
  lives[0]?.end(full);
  await supervisor.reaches('waits for room');
  await turns();
  t.is(supervisor.life, undefined);
  for (let times = 0; times < 3; times++) await pass();
  t.deepEqual(done, ['start']);
  world.freeBytes = 64 * MiB - 1;
  await pass();
  t.deepEqual(done, ['start'], 'a little is not enough');
  world.freeBytes = 64 * MiB;
  await pass();
  t.is(supervisor.life, lives[1]);
  t.deepEqual(
    pauses,
    Array.from({ length: 5 }, () => roomPollMs),
  );
  t.deepEqual(lines, [
    'a:1 waits for room: 12 MiB free, needs 64 MiB',
    'a:1: there is room again: 64 MiB free',
  ]);
});

test('D4: a start that finds no room waits in the same way', async (t) => {
  const { supervisor, world, pass } = supervise({ starts: [full] });
  await supervisor.reaches('waits for room');
  await turns();
  world.freeBytes = 64 * MiB;
  await pass();
  t.is(supervisor.state, 'up');
});

test('D4: full again at once: a longer pause each time, up to a maximum; forgotten after a while', async (t) => {
  const { supervisor, lives, pauses, world, pass } = supervise();
  world.freeBytes = 100 * MiB;
  for (let times = 0; times < 9; times++) {
    await supervisor.reaches('up');
    lives.at(-1)?.end(full);
    await turns();
    if (times > 0) await pass();
    await turns();
  }
  t.deepEqual(
    pauses,
    [2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1_000),
  );
  t.is(Math.max(...pauses), refillPauseMsMax);
  await supervisor.reaches('up');
  world.nowMs += refillWindowMs;
  lives.at(-1)?.end(full);
  await turns();
  t.is(pauses.length, 8, 'no pause after a life that lasted');
  t.is(supervisor.state, 'up');
});

test('asked to stop while it waits for room: the end, without a reason', async (t) => {
  const { supervisor, done } = supervise({ starts: [full] });
  await supervisor.reaches('waits for room');
  await supervisor.leave();
  t.is(await supervisor.ended, undefined);
  t.deepEqual(done, ['start']);
});

test('asked to leave, and then the disk is full: that changes nothing', async (t) => {
  const { supervisor, lives } = supervise();
  await supervisor.reaches('up');
  const life = lives[0] as FakeLife;
  life.leave = () => Promise.resolve();
  const left = supervisor.leave();
  life.end(full);
  await left;
  t.is(await supervisor.ended, undefined);
});

test('a disk that cannot be asked for its room is a failed disk', async (t) => {
  const reason = new StorageError('EIO');
  const { supervisor, world } = supervise({ starts: [full] });
  world.room = () => Promise.reject(reason);
  t.is(await supervisor.ended, reason);
});

for (const when of ['at a start', 'while it runs']) {
  test(`D3: data damaged ${when}, others of the last chain live: set aside, and back as another`, async (t) => {
    const { supervisor, lives, lines, done } = supervise({
      starts: when === 'at a start' ? [damaged] : [],
      chain: { others: ['b:1', 'c:1'], reason: '' },
    });
    await turns();
    if (when === 'while it runs') {
      lives[0]?.end(damaged);
      await supervisor.reaches('starting');
    }
    await supervisor.reaches('up');
    t.deepEqual(done, ['start', 'set aside', 'start']);
    t.deepEqual(lines, [
      `a:1: data damaged: ${damaged.message}`,
      'a:1: comes back as a new server, its damaged data is kept in /data.damaged-then ' +
        '(of the last chain b:1, c:1 are there)',
    ]);
  });

  test(`D3: data damaged ${when}, alone: refused, the data stays, the ways out are named`, async (t) => {
    const { supervisor, lives, done } = supervise({
      starts: when === 'at a start' ? [damaged] : [],
      chain: { others: [], reason: 'it is the only member. Restore a backup' },
    });
    await turns();
    lives[0]?.end(damaged);
    const reason = await supervisor.ended;
    t.is(reason?.code, 'DATA_DAMAGED');
    t.is(reason?.cause, damaged);
    t.regex(
      reason?.message ?? '',
      /a bit is wrong.*stays where it is.*the only member.*Restore a backup/,
    );
    t.deepEqual(done, ['start']);
  });
}

test(`D3: damaged more than ${damagesMax} times in the window: the disk is broken, no more lives`, async (t) => {
  const { supervisor, lives, done } = supervise();
  for (let times = 0; times < damagesMax; times++) {
    await turns();
    lives.at(-1)?.end(damaged);
    await turns();
    t.is(supervisor.state, 'up');
  }
  lives.at(-1)?.end(damaged);
  const reason = await supervisor.ended;
  t.is(reason?.code, 'DATA_DAMAGED');
  t.regex(reason?.message ?? '', /do not trust this disk/);
  t.is(done.filter((each) => each === 'set aside').length, damagesMax);
});

test('D3: damage that is rare is dealt with each time', async (t) => {
  const { supervisor, lives, world, done } = supervise();
  for (let times = 0; times < 3 * damagesMax; times++) {
    await turns();
    lives.at(-1)?.end(damaged);
    await turns();
    world.nowMs += damageWindowMs / damagesMax;
  }
  t.is(supervisor.state, 'up');
  t.is(done.filter((each) => each === 'set aside').length, 3 * damagesMax);
});

test('D3: asked to stop while it waits for others: nothing is moved', async (t) => {
  const { supervisor, done, world } = supervise({ starts: [damaged] });
  world.chain = { others: ['b:1'], reason: '' };
  const stopped = supervisor.leave();
  await stopped;
  t.is(await supervisor.ended, damaged, 'the next start finds the same');
  t.deepEqual(done, ['start']);
});

test('data that cannot be set aside: the end, with that reason', async (t) => {
  const reason = new StorageError('EROFS');
  const supervisor = new Supervisor<FakeLife>({
    address: 'a:1',
    start: () => Promise.reject(damaged),
    room: () => Promise.reject(new Error('not asked')),
    lastChain: () => Promise.resolve({ others: ['b:1'], reason: '' }),
    setDataAside: () => Promise.reject(reason),
    onLine: () => {},
    nowMs: () => 0,
    pause: () => Promise.resolve(),
  });
  t.is(await supervisor.ended, reason);
});
