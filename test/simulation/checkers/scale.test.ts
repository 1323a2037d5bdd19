/** The replay takes millions of ops: it is linear. One lie among them is found, and no more than that. */
import test from 'ava';
import type { Answer, HistoryOp } from '../../../src/simulation/checkers/history.js';
import { replay } from '../../../src/simulation/checkers/replay.js';
import { randomFrom } from '../../support/random.js';

const opsCount = 2_000_000;
const keyCount = 20_000;
const present: Answer = { existed: true };
const absent: Answer = { existed: false };
const nothing: Answer = { found: null };

/** One op an instant, each of them under way for some instants before and after; a new epoch now and then. */
function longHistory(): HistoryOp[] {
  const random = randomFrom(1);
  const history: HistoryOp[] = [];
  const held = new Map<string, Answer>();
  const keys = Array.from({ length: keyCount }, (_, number) => `key-${number}`);
  let epoch = 1;
  let at = { epoch: 0, seq: 0 };
  for (let instant = 0; instant < opsCount; instant++) {
    const draw = random(2 ** 30);
    const key = keys[draw % keyCount] as string;
    const kind = draw % 97;
    const client = draw % 64;
    const startMs = instant - (draw % 29);
    const endMs = instant + (draw % 31);
    const outcome = 'ok';
    if (draw % 100_003 === 0) epoch += 1;
    if (kind < 50) {
      at = { epoch, seq: at.seq + 1 };
      const value = `${instant}`;
      const answer = held.has(key) ? present : absent;
      history.push({ client, kind: 'put', key, value, startMs, endMs, outcome, at, answer });
      held.set(key, { found: { value, version: at.seq } });
    } else if (kind < 55) {
      at = { epoch, seq: at.seq + 1 };
      const answer = held.delete(key) ? present : absent;
      history.push({ client, kind: 'delete', key, startMs, endMs, outcome, at, answer });
    } else if (kind < 96) {
      const answer = held.get(key) ?? nothing;
      history.push({ client, kind: 'get', key, startMs, endMs, outcome, at, answer });
    } else {
      const answer = { keys: held.size };
      history.push({ client, kind: 'size', startMs, endMs, outcome, at, answer });
    }
  }
  return history;
}

test('two million ops, and one lie among them', (t) => {
  // Some seconds on a machine that does nothing else.
  t.timeout(240_000);
  const history = longHistory();
  const place = history.findLastIndex(({ kind, answer }) => kind === 'get' && answer?.found);
  const liar = history[place] as HistoryOp;
  history[place] = { ...liar, answer: { found: null } };
  const findings = replay(history);
  t.is(findings.length, 1);
  t.is(findings[0]?.ops[0]?.startMs, liar.startMs);
});
