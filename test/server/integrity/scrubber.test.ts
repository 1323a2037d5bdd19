/** The scrubber: a pass each interval, in time, one at a time; and a server that finds damage by it. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { MemoryCoordination } from '../../../src/coordination/memory.js';
import {
  AbortedError,
  BadRequestError,
  type CatenaError,
  DataDamagedError,
  StorageError,
} from '../../../src/errors.js';
import { scrubBytesPerSecond } from '../../../src/limits.js';
import type { ScrubResult } from '../../../src/log/scrub.js';
import { silentLogger } from '../../../src/logger.js';
import { Scrubber } from '../../../src/server/integrity/scrubber.js';
import { CatenaServer } from '../../../src/server/server.js';
import { checkOptions, type ServerOptions } from '../../../src/server/server-options.js';
import { cluster, freePorts, RawClient, temporaryDirectory, until } from '../support.js';

const hourMs = 3_600_000;

/** A scrubber whose timers fire, and whose passes end, when the test says so. */
function makeScrubber({ intervalMs = hourMs, bytes = 1000 } = {}) {
  const timers: { ms: number; act: () => void; cancelled: boolean }[] = [];
  const passes: {
    bytesPerSecond: number;
    signal: AbortSignal;
    end: (result: ScrubResult) => void;
    fail: (error: Error) => void;
  }[] = [];
  const damage: CatenaError[] = [];
  const clock = { ms: 5_000 };
  const scrubber = new Scrubber({
    intervalMs,
    pass: (bytesPerSecond, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new AbortedError('stopped')));
        passes.push({ bytesPerSecond, signal, end: resolve, fail: reject });
      }),
    bytes: () => bytes,
    schedule: (act, ms) => {
      const timer = { ms, act, cancelled: false };
      timers.push(timer);
      return () => {
        timer.cancelled = true;
      };
    },
    now: () => clock.ms,
    logger: silentLogger,
    onDamage: (error) => damage.push(error),
  });
  return { scrubber, timers, passes, damage, clock };
}

test('a pass begins each interval, counted from the beginning of the one before', async (t) => {
  const { scrubber, timers, passes, clock } = makeScrubber();
  scrubber.start();
  t.deepEqual([timers.map(({ ms }) => ms), passes.length], [[hourMs], 0]);
  t.is(scrubber.last, undefined);
  timers[0]?.act();
  t.is(passes.length, 1);
  t.is(timers.length, 1, 'none is scheduled while one is under way');
  clock.ms = 77_000;
  passes[0]?.end({ bytes: 1010, durationMs: 60_000 });
  await until(() => timers.length === 2);
  t.is(timers[1]?.ms, hourMs - 60_000);
  t.deepEqual(scrubber.last, { atMs: 77_000, bytes: 1010, durationMs: 60_000 });
  timers[1]?.act();
  passes[1]?.end({ bytes: 1020, durationMs: 3 * hourMs });
  await until(() => timers.length === 3);
  t.is(timers[2]?.ms, 0, 'a machine that stood still');
});

test('a pass is slow, but fast enough to end in half of its interval', (t) => {
  const rateOf = (bytes: number): number => {
    const { scrubber, timers, passes } = makeScrubber({ bytes });
    scrubber.start();
    timers[0]?.act();
    return passes[0]?.bytesPerSecond ?? 0;
  };
  t.is(rateOf(0), scrubBytesPerSecond);
  t.is(rateOf(scrubBytesPerSecond * 1800), scrubBytesPerSecond);
  for (const bytes of [1e11, 1e13]) t.true(bytes / rateOf(bytes) <= 1800);
});

test('damage is reported once, and ends it; so is a disk that cannot be read', async (t) => {
  for (const [error, code] of [
    [new DataDamagedError('x is damaged at offset 3'), 'DATA_DAMAGED'],
    [new StorageError('EIO'), 'STORAGE'],
    [new Error('unexpected'), 'STORAGE'],
  ] as const) {
    const { scrubber, timers, passes, damage } = makeScrubber();
    scrubber.start();
    timers[0]?.act();
    passes[0]?.fail(error);
    await until(() => damage.length > 0);
    t.deepEqual(
      damage.map((each) => each.code),
      [code],
    );
    t.deepEqual([timers.length, scrubber.last], [1, undefined]);
    await scrubber.stop();
  }
});

test('stop cancels what is scheduled, and waits for the pass under way', async (t) => {
  const waiting = makeScrubber();
  waiting.scrubber.start();
  await waiting.scrubber.stop();
  t.true(waiting.timers[0]?.cancelled);

  const running = makeScrubber();
  running.scrubber.start();
  running.timers[0]?.act();
  await running.scrubber.stop();
  t.true(running.passes[0]?.signal.aborted);
  t.deepEqual([running.damage, running.timers.length], [[], 1]);
});

test('an interval of 0 is never', (t) => {
  const { scrubber, timers } = makeScrubber({ intervalMs: 0 });
  scrubber.start();
  t.deepEqual(timers, []);
});

test('D3: a server reports its scrubs, and halts when one finds damage', async (t) => {
  const options: ServerOptions = {
    listen: { host: '127.0.0.1', port: await freePorts(1) },
    dataPath: await temporaryDirectory(t),
    cluster,
    coordinator: new MemoryCoordination().coordinator(),
    leaseMs: 200,
    scrubIntervalMs: 50,
    logger: silentLogger,
    onLine: () => {},
  };
  const server = await CatenaServer.start(options);
  t.teardown(() => server.kill());
  await until(() => server.role === 'single');
  const client = await RawClient.open(options.listen.port);
  t.teardown(() => client.close());
  await client.put('k', 'v');
  await t.throwsAsync(async () => checkOptions({ ...options, scrubIntervalMs: -1 }), {
    instanceOf: BadRequestError,
  });
  for (;;) {
    const status = await client.request({ kind: 'status' });
    if (status.kind !== 'status') return t.fail();
    const { scrub, logBytes } = status.disk;
    if (scrub === undefined || scrub.bytes < logBytes) continue;
    t.true(logBytes > 0);
    t.true(Math.abs(scrub.atMs - Date.now()) < 60_000);
    break;
  }
  const log = join(options.dataPath, 'log');
  const [name = ''] = (await readdir(log)).filter((each) => each.endsWith('.log'));
  const file = await open(join(log, name), 'r+');
  const byte = Buffer.alloc(1);
  const position = 40 + 32 + 45;
  await file.read(byte, 0, 1, position);
  await file.write(Buffer.of((byte[0] ?? 0) ^ 0x10), 0, 1, position);
  await file.close();
  const reason = await server.ended;
  t.true(reason instanceof DataDamagedError);
  t.regex(reason?.message ?? '', new RegExp(`${name} at offset \\d+`, 'u'));
  await client.closed;
});
