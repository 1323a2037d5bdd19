import test from 'ava';
import {
  fenced,
  firstConfiguration,
  revived,
  standingOf,
  withLearner,
  withoutLeaver,
  withoutMembers,
} from '../../src/coordination/membership.js';
import { chainOf, memberOf } from '../support/chain-driver.js';

const by = { configId: 'new', by: 'A', reason: 'test' };
const chain = chainOf(4, 'A1 B1 C1', { left: [memberOf('D1')], restartEpoch: 2 });
const names = (members: readonly { incarnation: string }[] = []): string =>
  members.map(({ incarnation }) => incarnation).join(' ');

test('each step: one epoch more, a new id, the history of restarts kept, leavers named anew', (t) => {
  const steps = [
    withoutMembers(chain, [memberOf('B1')], by),
    withLearner(chain, memberOf('E1'), by),
    fenced(chain, by),
    withoutLeaver(chain, memberOf('C1'), by),
    revived(chain, [memberOf('A2')], by),
  ];
  for (const step of steps) {
    t.is(step?.epoch, 5);
    t.is(step?.configId, 'new');
    t.is(step?.clusterId, chain.clusterId);
  }
  t.deepEqual(
    steps.map((step) => step?.restartEpoch),
    [2, 2, 2, 2, 5],
  );
  t.deepEqual(
    steps.map((step) => names(step?.left)),
    ['', '', '', 'C1', ''],
  );
});

test('removal keeps the order, counts incarnations, and never removes all', (t) => {
  t.is(names(withoutMembers(chain, [memberOf('B1')], by)?.members), 'A1 C1');
  t.is(names(withoutMembers(chain, [memberOf('B2')], by)?.members), 'A1 B1 C1');
  t.is(withoutMembers(chain, chain.members, by), undefined);
  t.is(withoutLeaver(chainOf(1, 'A1'), memberOf('A1'), by), undefined);
});

test('a learner comes last, and not while an earlier incarnation of it is listed', (t) => {
  t.is(names(withLearner(chain, memberOf('D1'), by)?.members), 'A1 B1 C1 D1');
  t.is(withLearner(chain, memberOf('A2'), by), undefined);
});

test('those who come back keep the old order', (t) => {
  t.is(names(revived(chain, [memberOf('C2'), memberOf('A2')], by).members), 'A2 C2');
});

test('the first configuration is its writer alone', (t) => {
  const first = firstConfiguration('cluster', memberOf('A1'), by);
  t.is(names(first.members), 'A1');
  t.is(first.epoch, 1);
});

test('the newest registration of a server says how the listed incarnation stands', (t) => {
  const at = (...list: string[]) =>
    list.map((name) => ({ ...memberOf(name), state: 'member' as const }));
  t.is(standingOf(memberOf('A1'), at('B1', 'A1')), 'alive');
  t.is(standingOf(memberOf('A1'), at('B1')), 'gone');
  t.is(standingOf(memberOf('A1'), at('A1', 'A2')), 'restarted');
  t.is(standingOf(memberOf('A1'), at('A0', 'A1')), 'alive', 'its predecessor has not expired yet');
});
