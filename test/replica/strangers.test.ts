/** Peers that coordination does not name: what they claim costs their own link and nothing else. */
import test from 'ava';
import type { PeerMessage } from '../../src/replica/messages.js';
import { chainOf, ReplicaDriver } from '../support/chain-driver.js';

/** The head A of A B; `peer` has a link to it and says this. */
function headHearing(peer: string, message: Omit<PeerMessage, 'body'>): ReplicaDriver {
  const driver = new ReplicaDriver('A1');
  driver.adopt(chainOf(2, 'A1 B1'));
  driver.link(1, peer, false);
  driver.step({ kind: 'message', link: 1, message: { ...message, body: { kind: 'ping' } } });
  return driver;
}

test('another configId in the same epoch halts when a member says so', (t) => {
  const driver = headHearing('B1', { epoch: 2, configId: 'another' });
  t.regex(driver.of('halt')[0]?.error.message ?? '', /ZooKeeper went back/);
});

test('another configId from a stranger closes its link', (t) => {
  const driver = headHearing('X1', { epoch: 2, configId: 'another' });
  t.deepEqual(driver.of('halt'), []);
  t.is(driver.of('close-link').length, 1);
});

test('a higher epoch stops service when a member says so, until /chain is read', (t) => {
  const driver = headHearing('B1', { epoch: 9, configId: 'new' });
  t.is(driver.of('refresh').length, 1);
  driver.step({ kind: 'writes', writes: [{ op: { kind: 'epoch' }, keyHash: 1 }] });
  t.is(driver.of('refuse').length, 1);
});

test('a higher epoch from a stranger closes its link, and service goes on', (t) => {
  const driver = headHearing('X1', { epoch: 9, configId: 'new' });
  t.is(driver.of('close-link').length, 1);
  driver.step({ kind: 'writes', writes: [{ op: { kind: 'epoch' }, keyHash: 1 }] });
  t.is(driver.of('assigned').length, 1);
});
