import test from 'ava';
import type { Registration } from '../../src/coordination/coordinator.js';
import {
  compareSequences,
  formatRegistration,
  parseNodeName,
  parseRegistration,
  planAnnouncement,
  registrationsInOrder,
  writeOutcome,
} from '../../src/coordination/registry.js';
import type { AnnouncementStep, ServerNode } from '../../src/coordination/registry.js';
import { registration } from './contract.js';

const self = registration('s', 'now');

function node(guid: string, sequence: number, content?: Registration): ServerNode {
  return { name: `${guid}-${sequence}`, guid, sequence, registration: content };
}

function stepsFor(
  nodes: readonly ServerNode[],
  lastSequence?: number,
  wanted: Registration = self,
): string[] {
  const plan = planAnnouncement(nodes, { guid: 'mine', registration: wanted, lastSequence });
  return plan.steps.map((step: AnnouncementStep) =>
    step.kind === 'create' ? 'create' : `${step.kind} ${step.name}`,
  );
}

test('names are read from the right, and only those of sequential nodes', (t) => {
  const guid = '0b0e7a64-3d0a-4c8e-9a51-1c2d3e4f5a6b';
  t.deepEqual(parseNodeName(`${guid}-0000000012`), { guid, sequence: 12 });
  t.deepEqual(parseNodeName(`${guid}--2147483648`), { guid, sequence: -(2 ** 31) });
  t.deepEqual(parseNodeName(`${guid}--000000012`), { guid, sequence: -12 });
  t.is(parseNodeName(`${guid}-12`), undefined);
  t.is(parseNodeName(`${guid}-9999999999`), undefined);
  t.is(parseNodeName('lock'), undefined);
});

test('sequence numbers are ordered also across their wrap', (t) => {
  t.true(compareSequences(9, 10) < 0);
  t.true(compareSequences(2 ** 31 - 1, -(2 ** 31)) < 0);
  t.true(compareSequences(-(2 ** 31), 2 ** 31 - 1) > 0);
  t.is(compareSequences(7, 7), 0);
});

test('a registration is read whole or not at all', (t) => {
  t.deepEqual(parseRegistration(formatRegistration(self)), self);
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{"serverId":"s"}',
    JSON.stringify({ ...self, state: 'x' }),
  ]) {
    t.is(parseRegistration(text), undefined, text);
  }
});

test('servers are listed by number, not by name; one process once, two processes of a server both', (t) => {
  const nodes = [
    node('a', 10, registration('x', 'x1')),
    node('b', 9, registration('y', 'y1')),
    node('c', 11, registration('y', 'y1', 'member')),
    node('d', 12, registration('x', 'x2')),
    node('e', 13),
  ];
  t.deepEqual(registrationsInOrder(nodes), [
    registration('x', 'x1'),
    registration('y', 'y1', 'member'),
    registration('x', 'x2'),
  ]);
});

test('nothing there: create; there as wanted: nothing; other content: set', (t) => {
  t.deepEqual(stepsFor([]), ['create']);
  t.deepEqual(stepsFor([node('mine', 4, self)]), []);
  t.deepEqual(stepsFor([node('mine', 4, registration('s', 'now', 'member'))]), ['set mine-4']);
  t.deepEqual(stepsFor([node('mine', 4)]), ['set mine-4']);
});

test('a create that lost its answer is found by its guid; of two the older stays', (t) => {
  t.deepEqual(stepsFor([node('mine', 5, self), node('mine', 4, self)]), ['delete mine-5']);
});

test('ours is made before the older ones of this server go', (t) => {
  const nodes = [node('old', 1, registration('s', 'before')), node('session', 2, self)];
  t.deepEqual(stepsFor(nodes), ['create', 'delete old-1', 'delete session-2']);
  t.deepEqual(stepsFor([...nodes, node('mine', 3, self)]), ['delete old-1', 'delete session-2']);
});

test('a later process of this server is left alone, and ours does not come back beside it', (t) => {
  const later = node('copy', 8, registration('s', 'copy'));
  t.deepEqual(stepsFor([later], 7), []);
  t.deepEqual(stepsFor([later, node('mine', 7, self)]), []);
  t.is(
    planAnnouncement([later], { guid: 'mine', registration: self, lastSequence: 7 }).rival,
    later,
  );
  // Who never had a node is the later one itself.
  t.deepEqual(stepsFor([later]), ['create', 'delete copy-8']);
});

test('a process of this server elsewhere is neither deleted nor joined, whenever it came (O4)', (t) => {
  const elsewhere = node('live', 3, { ...registration('s', 'other'), address: 'elsewhere:1' });
  t.deepEqual(stepsFor([elsewhere]), []);
  t.deepEqual(stepsFor([elsewhere, node('mine', 7, self)]), []);
  t.deepEqual(stepsFor([node('old', 2, registration('s', 'before')), elsewhere]), ['delete old-2']);
  const moved = node('session', 3, { ...self, address: 'elsewhere:1' });
  t.deepEqual(
    stepsFor([moved]),
    ['create', 'delete session-3'],
    'this very process, whatever it said',
  );
  const plan = planAnnouncement([elsewhere], {
    guid: 'mine',
    registration: self,
    lastSequence: undefined,
  });
  t.is(plan.rival, elsewhere);
});

test('other servers and garbage are nobody of ours', (t) => {
  t.deepEqual(stepsFor([node('other', 1, registration('t', 't1')), node('garbage', 2)]), [
    'create',
  ]);
});

test('what an answer says about a write', (t) => {
  const outcomes: Record<number, string> = {
    0: 'done',
    [-103]: 'conflict',
    [-110]: 'conflict',
    [-101]: 'conflict',
    [-102]: 'unavailable',
    [-4]: 'unknown',
    [-7]: 'unknown',
    [-9]: 'unknown',
    [-112]: 'unknown',
    [-118]: 'unknown',
    [-9999]: 'unknown',
  };
  for (const [code, outcome] of Object.entries(outcomes)) {
    t.is(writeOutcome({ kind: 'answered', code: Number(code) }), outcome as never, code);
  }
  t.is(writeOutcome({ kind: 'lost' }), 'unknown');
  t.is(writeOutcome({ kind: 'unsent' }), 'unavailable');
});
