/**
 * The memory check with a clock that the test moves: it goes over the table in slices, while changes go
 * on, and ends the server at the first bit that nobody wrote.
 */
import test from 'ava';
import { type CatenaError, InvariantError } from '../../../src/errors.js';
import { memoryCheckBytesPerSecond, memoryCheckSliceBytes } from '../../../src/limits.js';
import { silentLogger } from '../../../src/logger.js';
import { Machine } from '../../../src/machine/machine.js';
import { MemoryCheck } from '../../../src/server/integrity/memory-check.js';

const intervalMs = 60_000;
const valueBytes = 1_000;
const keys = 500;

const keyOf = (index: number): Buffer => Buffer.from(`key ${index}`);

function filled(): Machine {
  const machine = new Machine();
  for (let index = 0; index < keys; index++) putOne(machine, index);
  return machine;
}

function putOne(machine: Machine, index: number): void {
  const seq = machine.appliedSeq + 1;
  machine.apply({
    epoch: 1,
    firstSeq: seq,
    lastSeq: seq,
    commit: 0,
    ops: [{ kind: 'put', key: keyOf(index), value: Buffer.alloc(valueBytes, seq) }],
    keyHashes: [],
    record: new Uint8Array(0),
  });
}

interface Run {
  machine: Machine;
  readonly check: MemoryCheck;
  readonly damage: CatenaError[];
  /** Waits of the passes so far. */
  readonly waits: number[];
  /** Lets the next wait end; false if there is none. */
  readonly next: () => boolean;
}

function start(machine: Machine, interval = intervalMs): Run {
  let due: (() => void) | undefined;
  const waits: number[] = [];
  const damage: CatenaError[] = [];
  const run: Run = {
    machine,
    damage,
    waits,
    check: new MemoryCheck({
      intervalMs: interval,
      machine: () => run.machine,
      schedule: (act, ms) => {
        waits.push(ms);
        due = act;
        return () => {
          due = undefined;
        };
      },
      logger: silentLogger,
      onDamage: (error) => damage.push(error),
    }),
    next: () => {
      const act = due;
      due = undefined;
      act?.();
      return act !== undefined;
    },
  };
  run.check.start();
  return run;
}

/** Lets time pass until the next pass would begin. */
function finishPass(run: Run): void {
  do {
    if (!run.next()) return;
  } while (run.waits.at(-1) !== intervalMs);
}

function flip(machine: Machine, index: number): void {
  const value = machine.table.get(keyOf(index));
  if (value === undefined) throw new Error('no such key');
  value[valueBytes - 1]! ^= 0x80;
}

test('a sound table passes again and again, in slices at the stated rate, while changes go on', (t) => {
  const run = start(filled());
  for (let pass = 0; pass < 3; pass++) {
    run.waits.length = 0;
    do {
      t.true(run.next());
      for (let index = 0; index < 40; index++) putOne(run.machine, (index * 37) % (2 * keys));
    } while (run.waits.at(-1) !== intervalMs);
    const pauses = run.waits.slice(0, -1);
    t.true(pauses.length >= (keys * valueBytes) / memoryCheckSliceBytes - 1);
    const pauseMs = (memoryCheckSliceBytes / memoryCheckBytesPerSecond) * 1000;
    t.true(pauses.every((ms) => ms === pauseMs));
  }
  t.deepEqual(run.damage, []);
});

test('a bit of an entry that nobody touches ends the server, naming the seq', (t) => {
  const run = start(filled());
  finishPass(run);
  t.deepEqual(run.damage, []);
  flip(run.machine, 77);
  t.is(run.machine.hashAfter(keys), run.machine.stateHash, 'the running hash does not see it');
  finishPass(run);
  t.is(run.damage.length, 1);
  t.true(run.damage[0] instanceof InvariantError);
  t.regex(run.damage[0]?.message ?? '', new RegExp(`after op ${keys} found .* memory is damaged`));
  t.false(run.next(), 'no pass comes after it');
});

test('a bit that flips behind the pass is found by the next one', (t) => {
  const run = start(filled());
  for (let slice = 0; slice < 3; slice++) run.next();
  for (let index = 0; index < keys; index += 50) flip(run.machine, index);
  finishPass(run);
  if (run.damage.length === 0) finishPass(run);
  t.is(run.damage.length, 1);
});

test('a table that was replaced on the way is checked from its beginning', (t) => {
  const run = start(filled());
  for (let slice = 0; slice < 3; slice++) run.next();
  run.machine = filled();
  finishPass(run);
  t.deepEqual(run.damage, []);
  for (let slice = 0; slice < 3; slice++) run.next();
  run.machine = filled();
  flip(run.machine, 3);
  finishPass(run);
  t.is(run.damage.length, 1);
});

test('a pass can be due before its time, but not twice at once', (t) => {
  const run = start(filled());
  t.deepEqual(run.waits, [intervalMs]);
  run.check.begin();
  run.check.begin();
  run.next();
  const { length } = run.waits;
  run.check.begin();
  t.is(run.waits.length, length, 'it is under way');
  finishPass(run);
  t.is(run.waits.at(-1), intervalMs);
  t.deepEqual(run.damage, []);
  flip(run.machine, 490);
  run.check.begin();
  t.is(run.waits.at(-1), 0);
  finishPass(run);
  t.is(run.damage.length, 1);
  run.check.begin();
  t.false(run.next(), 'no pass comes after damage was found');
});

test('an interval of 0 means never, and stop ends it', (t) => {
  const never = start(filled(), 0);
  never.check.begin();
  t.false(never.next());
  const run = start(filled());
  run.next();
  run.check.stop();
  t.false(run.next());
});
