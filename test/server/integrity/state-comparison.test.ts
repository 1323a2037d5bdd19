/** What a server does with a hash that its predecessor claims: the three cases, and the waiting one. */
import test from 'ava';
import { InvariantError } from '../../../src/errors.js';
import {
  type StateClaim,
  StateComparison,
} from '../../../src/server/integrity/state-comparison.js';

interface Setup {
  readonly comparison: StateComparison;
  readonly equal: number[];
  /** Applies through `seq`; what is after each known seq. */
  readonly apply: (seq: number) => void;
}

function setup(hashes: Readonly<Record<number, string>>): Setup {
  const equal: number[] = [];
  const machine = {
    appliedSeq: 0,
    hashAfter: (seq: number) => (seq <= machine.appliedSeq ? hashes[seq] : undefined),
  };
  const comparison = new StateComparison({
    machine: () => machine,
    onEqual: (seq) => equal.push(seq),
  });
  const apply = (seq: number): void => {
    machine.appliedSeq = seq;
    comparison.onApplied();
  };
  return { comparison, equal, apply };
}

function claim(seq: number, hash: string): StateClaim {
  return { seq, hash, from: { serverId: 'the-server', address: 'host:7070' } };
}

test('what is applied is compared at once', (t) => {
  const { comparison, equal, apply } = setup({ 5: 'aa', 9: 'bb' });
  apply(9);
  comparison.compare(claim(5, 'aa'));
  t.deepEqual(equal, [5]);
  const error = t.throws(() => comparison.compare(claim(9, 'cc')), { instanceOf: InvariantError });
  for (const part of ['after op 9', 'bb here', 'cc at host:7070', 'the-server']) {
    t.true(error.message.includes(part), `${error.message} lacks ${part}`);
  }
  t.deepEqual(equal, [5]);
});

test('what is not known any more is left alone', (t) => {
  const { comparison, equal, apply } = setup({ 9: 'bb' });
  apply(9);
  comparison.compare(claim(3, 'whatever'));
  t.deepEqual(equal, []);
});

test('what is not applied yet waits, and later claims do not push it out', (t) => {
  const { comparison, equal, apply } = setup({ 5: 'aa', 7: 'bb', 9: 'cc' });
  comparison.compare(claim(7, 'bb'));
  comparison.compare(claim(9, 'cc'));
  apply(5);
  t.deepEqual(equal, []);
  apply(7);
  t.deepEqual(equal, [7]);
  apply(9);
  t.deepEqual(equal, [7], 'one at a time');
  comparison.compare(claim(9, 'cc'));
  t.deepEqual(equal, [7, 9]);
});

test('a claim that waited and differs is thrown when its op is applied', (t) => {
  const { comparison, apply } = setup({ 7: 'bb', 8: 'dd' });
  comparison.compare(claim(7, 'xx'));
  t.throws(() => apply(7), { instanceOf: InvariantError, message: /after op 7 differs/ });
});

test('what waited in another epoch is forgotten', (t) => {
  const { comparison, equal, apply } = setup({ 7: 'bb' });
  comparison.compare(claim(7, 'xx'));
  comparison.reset();
  t.notThrows(() => apply(7));
  t.deepEqual(equal, []);
});
