import test from 'ava';
import * as fc from 'fast-check';
import { epochRunsMax, EpochRuns } from '../../src/replica/epoch-runs.js';

/** A log as the list of the epochs of its entries. */
const logs = fc
  .array(fc.integer({ min: 1, max: 5 }), { maxLength: 20 })
  .map((epochs) => epochs.sort((a, b) => a - b));

function runsOf(epochs: readonly number[]): EpochRuns {
  const runs = new EpochRuns();
  for (const [index, epoch] of epochs.entries()) runs.extend(epoch, index + 1);
  return runs;
}

test('runs know the epoch of every entry, and nothing beyond the end', (t) => {
  fc.assert(
    fc.property(logs, (epochs) => {
      const runs = runsOf(epochs);
      t.deepEqual(
        epochs.map((_, index) => runs.epochAt(index + 1)),
        [...epochs],
      );
      t.is(runs.epochAt(0), 0);
      t.is(runs.epochAt(epochs.length + 1), 0);
      t.is(runs.lastSeq, epochs.length);
    }),
  );
});

test('only so many epochs are told apart; what is forgotten is unknown and matches nothing', (t) => {
  const runs = new EpochRuns();
  const count = epochRunsMax + 500;
  for (let epoch = 1; epoch <= count; epoch++) runs.extend(epoch, epoch * 3);
  t.is(runs.upTo(count * 3).length, epochRunsMax);
  t.is(runs.lastSeq, count * 3);
  t.is(runs.epochAt(1), 0);
  t.is(runs.epochAt(count * 3), count);
  t.is(runs.epochAt((count - epochRunsMax + 2) * 3), count - epochRunsMax + 2);
  t.is(runs.commonWith([{ epoch: 0, lastSeq: 900 }]), 0);
  t.is(runs.commonWith([{ epoch: count - 1, lastSeq: (count - 1) * 3 }]), (count - 1) * 3);
});

test('a cut leaves exactly what comes before it', (t) => {
  fc.assert(
    fc.property(logs, fc.nat(20), (epochs, seq) => {
      const runs = runsOf(epochs);
      const copy = runs.upTo(seq);
      runs.cut(seq);
      t.deepEqual(runs, runsOf(epochs.slice(0, seq)));
      t.deepEqual(copy, new EpochRuns(copy).upTo(100));
      t.is(runs.lastSeq, Math.min(seq, epochs.length));
    }),
  );
});

test('two logs that share a prefix find its end, also from the newest runs alone', (t) => {
  // Within one epoch there is one head, so two logs can part only where an epoch begins or one ends.
  const histories = fc.tuple(logs, logs, logs).map(([common, a, b]) => {
    const top = common.at(-1) ?? 0;
    return {
      common,
      a: [...common, ...a.map((epoch) => top + epoch * 2)],
      b: [...common, ...b.map((epoch) => top + epoch * 2 + 1)],
    };
  });
  fc.assert(
    fc.property(histories, fc.nat(20), ({ common, a, b }, commit) => {
      const known = Math.min(commit, common.length);
      t.is(runsOf(a).commonWith(runsOf(b).from(Math.max(known, 1))), common.length);
    }),
  );
});

test('a log that is a prefix of the other is common as a whole', (t) => {
  t.is(runsOf([1, 1, 2, 2]).commonWith(runsOf([1, 1, 2]).from(1)), 3);
  t.is(runsOf([1, 1, 2]).commonWith(runsOf([1, 1, 2, 2]).from(1)), 3);
  t.is(runsOf([1]).commonWith([]), 0);
  t.is(runsOf([]).commonWith(runsOf([1]).from(1)), 0);
});

test('a log grows at its end only, and its epochs never fall', (t) => {
  const runs = runsOf([2, 2]);
  t.throws(() => runs.extend(1, 3), { message: /epochs never fall/ });
  t.throws(() => runs.extend(3, 2), { message: /only grows/ });
});
