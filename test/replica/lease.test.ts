import test from 'ava';
import { BeatLedger, leaseHolds } from '../../src/replica/lease.js';
import type { Instant } from '../../src/replica/timing.js';

const at = (monotonicMs: number, wallMs = monotonicMs): Instant => ({ monotonicMs, wallMs });

test('a lease counts from the sending of what the proof echoes, not from its receipt', (t) => {
  const ledger = new BeatLedger();
  ledger.sendsDown(1, at(100));
  ledger.receivedUp(1, 1);
  t.deepEqual(ledger.provenBelow, at(100));
});

test('a proof that echoes nothing of ours proves nothing', (t) => {
  const ledger = new BeatLedger();
  ledger.receivedUp(1, 7);
  ledger.receivedDown(1, 7);
  t.is(ledger.provenBelow, undefined);
  t.is(ledger.provenAbove, undefined);
});

test('an older proof does not replace a newer one', (t) => {
  const ledger = new BeatLedger();
  ledger.sendsUp(1, at(10));
  ledger.sendsUp(2, at(20));
  ledger.receivedDown(1, 2);
  ledger.receivedDown(2, 1);
  t.deepEqual(ledger.provenAbove, at(20));
});

test('a lease ends by either clock, whichever ran further; a wall clock set back changes nothing', (t) => {
  t.true(leaseHolds(at(0), at(449), 450));
  t.false(leaseHolds(at(0), at(450), 450));
  t.false(leaseHolds(at(0), at(10, 5_000), 450), 'a suspended machine');
  t.true(leaseHolds(at(1_000), at(1_010, 0), 450));
  t.false(leaseHolds(undefined, at(0), 450));
});

test('what was proven below without the learner is forgotten when it joins the proof', (t) => {
  const ledger = new BeatLedger();
  ledger.sendsDown(1, at(0));
  ledger.receivedUp(1, 1);
  ledger.forgetBelow();
  t.is(ledger.provenBelow, undefined);
});
