/** The chain as text: what every server says of itself is there, and what nobody said is not made up. */
import test from 'ava';
import type { StatusOutcome } from '../../src/client/kv-client.js';
import {
  type Chain,
  chainOf,
  chainText,
  statsText,
  withoutCounters,
} from '../../src/cli/client/chain-text.js';
import { UnavailableError } from '../../src/errors.js';
import type { ServerStatus } from '../../src/protocol/status.js';
import { FakeChain } from '../client/fake-chain.js';
import { statusOf } from './support.js';

const addresses = ['h:1', 'h:2', 'h:3'];
const view = new FakeChain([]).viewOf(addresses, 7);
const GiB = 1024 ** 3;

function answered(address: string, more: Partial<ServerStatus> = {}): StatusOutcome {
  return { address, status: statusOf(address, more) };
}

function failed(address: string, why: string): StatusOutcome {
  return { address, error: new UnavailableError(why) };
}

function member(address: string, role: string, more: Partial<ServerStatus> = {}): StatusOutcome {
  const seqs = { lastSeq: 20_000, durableSeq: 20_000, commitSeq: 20_000, appliedSeq: 20_000 };
  return answered(address, { role, view, lease: true, reason: 'as it is', ...seqs, ...more });
}

test('a whole chain with a learner that is fed: both ends show the transfer', (t) => {
  const receiving = { bytes: 0.345 * GiB, totalBytes: GiB };
  const sending = { bytes: 0.35 * GiB, totalBytes: GiB };
  const chain = chainOf([
    member('h:1', 'head'),
    member('h:2', 'middle', { durableSeq: 7_655 }),
    member('h:3', 'tail', {
      learners: [{ serverId: 'id of h:4', ackedSeq: 0, state: 'snapshot', sending }],
    }),
    answered('h:4', { view, receiving, waitingFor: 'receives the table from h:3, the tail' }),
  ]);
  t.true(chain.serves);
  t.deepEqual(chainText(chain).split('\n'), [
    'epoch 7, as it is',
    'head     h:1  0 behind       lease',
    'middle   h:2  12,345 behind  lease',
    'tail     h:3  0 behind       lease  sending a snapshot to h:4: 35 % of 1.0 GiB',
    'learner  h:4  20,000 behind         receives the table from h:3, the tail; receiving a snapshot: 34 % of 1.0 GiB',
  ]);
});

test('a learner that was not asked is known by what the tail says of it', (t) => {
  const sending = { bytes: 1, totalBytes: 4 };
  const learner = { serverId: '0123456789abcdef', ackedSeq: 5, state: 'snapshot', sending };
  const chain = chainOf([
    member('h:1', 'single', {
      view: { ...view, members: view.members.slice(0, 1) },
      learners: [learner],
    }),
  ]);
  t.regex(
    chainText(chain),
    /learner \(snapshot\) +server 01234567 +19,995 behind +receiving a snapshot: 25 % of 4 bytes$/,
  );
});

test('nobody knows of a chain: each server says what it waits for', (t) => {
  const chain = chainOf([
    answered('h:1', { waitingFor: 'waits for ZooKeeper: /chain was not read yet' }),
    failed('h:2', 'connect ECONNREFUSED h:2'),
  ]);
  t.false(chain.serves);
  t.deepEqual(chainText(chain).split('\n'), [
    'no chain yet: these servers know of none',
    'waiting  h:1  waits for ZooKeeper: /chain was not read yet',
    'down     h:2  no answer: connect ECONNREFUSED h:2',
  ]);
});

test('after a full outage: the last chain, who is back, whom they wait for', (t) => {
  const waitingFor = 'waits for h:1 and h:3 of the last chain, 1.4 s more (--revive-grace)';
  const chain = chainOf([
    failed('h:1', 'connect ECONNREFUSED h:1'),
    answered('h:2', { view, reason: 'as it is', waitingFor }),
    failed('h:3', 'connect ECONNREFUSED h:3'),
  ]);
  t.false(chain.serves);
  t.deepEqual(chainText(chain).split('\n'), [
    'no chain serves; the last one known: epoch 7, as it is',
    'head    h:1            no answer: connect ECONNREFUSED h:1',
    `middle  h:2  no lease  ${waitingFor}`,
    'tail    h:3            no answer: connect ECONNREFUSED h:3',
  ]);
});

test('nobody answers: the members of a view from elsewhere are listed all the same', (t) => {
  const chain = chainOf(
    addresses.map((each) => failed(each, 'gone')),
    view,
  );
  t.false(chain.serves);
  t.is(chain.members.length, 3);
  t.regex(
    chainText(chain),
    /^no server answers; the last one known: epoch 7\nhead +h:1 +no answer: gone\n/,
  );
  t.regex(
    chainText(chainOf([failed('h:1', 'gone')])),
    /^no server answers\ndown +h:1 +no answer: gone$/,
  );
});

test('a recovered history shows its generation', (t) => {
  const later = { ...view, generation: 2, epoch: 1_000_000_001 };
  t.regex(
    chainText(chainOf([member('h:1', 'head', { view: later })])),
    /^generation 2, epoch 1000000001, as it is\n/,
  );
});

test('states that differ after the same ops are told, and only those', (t) => {
  const chain = chainOf([
    member('h:1', 'head', { stateHash: 'aa' }),
    member('h:2', 'middle', { stateHash: 'bb' }),
    member('h:3', 'tail', { stateHash: 'cc', appliedSeq: 19_999 }),
    answered('h:4', { view, appliedSeq: 20_000, stateHash: '' }),
  ]);
  t.deepEqual(chain.differences, [{ address: 'h:2', from: 'h:1', appliedSeq: 20_000 }]);
  t.regex(
    chainText(chain),
    /\nWARNING: after op 20,000 the state of h:2 differs from that of h:1$/,
  );
  const equal = chainOf([
    member('h:1', 'head', { stateHash: 'aa' }),
    member('h:2', 'middle', { stateHash: 'aa' }),
  ]);
  t.deepEqual(equal.differences, []);
});

test('what counts as a change: not numbers that run, but who, where, and whom they wait for', (t) => {
  const chain = (more: Partial<ServerStatus>, role = 'middle'): Chain =>
    chainOf([member('h:1', 'head'), member('h:2', role, more), failed('h:3', 'gone')]);
  const waiting = 'waits for h:1 and h:3 of the last chain, 1.4 s more (--revive-grace)';
  const same: Partial<ServerStatus>[] = [
    { durableSeq: 5 },
    { appliedSeq: 4, stateHash: 'ff' },
    { disk: { logFirstSeq: 2, logBytes: 9, snapshotSeq: 9, snapshotBytes: 9, freeBytes: 9 } },
  ];
  for (const more of same) t.is(withoutCounters(chain(more)), withoutCounters(chain({})));
  t.is(
    withoutCounters(chain({ waitingFor: waiting })),
    withoutCounters(chain({ waitingFor: waiting.replace('1.4 s', '0.2 s') })),
  );
  t.is(
    withoutCounters(chain({ waitingFor: 'catches up: 12,345 ops behind' })),
    withoutCounters(chain({ waitingFor: 'catches up: 1 op behind' })),
  );
  t.is(
    withoutCounters(chain({ receiving: { bytes: 1, totalBytes: 9 } })),
    withoutCounters(chain({ receiving: { bytes: 8, totalBytes: 9 } })),
  );
  const other: Partial<ServerStatus>[] = [
    { lease: false },
    { waitingFor: waiting },
    { receiving: { bytes: 1, totalBytes: 9 } },
    { view: { ...view, epoch: 8 } },
    { appliedSeq: 20_000, stateHash: 'ff' },
  ];
  const before = withoutCounters(
    chainOf([
      member('h:1', 'head', { stateHash: 'aa' }),
      member('h:2', 'middle'),
      failed('h:3', 'gone'),
    ]),
  );
  for (const more of other) {
    const after = chainOf([
      member('h:1', 'head', { stateHash: 'aa' }),
      member('h:2', 'middle', more),
      failed('h:3', 'gone'),
    ]);
    t.not(withoutCounters(after), before, JSON.stringify(more));
  }
  const otherNames = waiting.replace('h:1 and h:3', 'h:3');
  t.not(
    withoutCounters(chain({ waitingFor: waiting })),
    withoutCounters(chain({ waitingFor: otherNames })),
  );
});

test('stats tell what is on the disk, and the state', (t) => {
  const scrub = { atMs: 0, bytes: 3 * GiB, durationMs: 4_000 };
  const disk = {
    logFirstSeq: 1_001,
    logBytes: 2_048,
    snapshotSeq: 1_500,
    snapshotBytes: GiB,
    freeBytes: 5 * GiB,
  };
  const first = statsText([
    answered('h:1', { disk: { ...disk, scrub }, appliedSeq: 2_000, stateHash: 'abcd' }),
  ]);
  t.regex(
    first,
    /\n {2}log from op 1,001, 2\.0 KiB; snapshot of op 1,500, 1\.0 GiB; 5\.0 GiB free; 3\.0 GiB scrubbed in 4 s, ended 1970-01-01T00:00:00\.000Z; state abcd after op 2,000/,
  );
  t.regex(
    statsText([answered('h:1')]),
    /no snapshot; 0 bytes free; not scrubbed yet; state unknown/,
  );
});

test('nothing that a server says can steer the terminal', (t) => {
  const evil = 'x\x1b[2J\ny';
  const chain = chainOf([
    member('h:1', 'head', { waitingFor: evil, reason: evil }),
    failed('h:2', evil),
    answered(`h:4${evil}`, { view, role: evil }),
  ]);
  t.false(chainText(chain).includes('\x1b'));
  t.is(chainText(chain).split('\n').length, 5);
});
