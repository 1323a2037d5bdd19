/**
 * What a server prints of waiting and of ZooKeeper: one line a change, at most one of a kind in five seconds,
 * and none for what passes by at once.
 */
import test from 'ava';
import type { Waiting } from '../../src/replica/waiting.js';
import { OperatorLines } from '../../src/server/operator-lines.js';

class Scene {
  readonly lines: string[] = [];
  nowMs = 0;
  waiting: Waiting | undefined;
  readonly subject = new OperatorLines({
    address: 'a:1',
    coordinationName: 'ZooKeeper at z:2',
    waiting: () => this.waiting,
    onLine: (line) => this.lines.push(`${this.nowMs} ${line}`),
    clock: () => ({ monotonicMs: this.nowMs, wallMs: this.nowMs }),
  });

  pass(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 100;
      this.subject.onTick();
    }
  }

  waits(kind: string, ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.waiting = { kind, text: `waits for ${kind}, ${endMs - this.nowMs} ms more` };
      this.pass(100);
    }
  }
}

test('a wait is told once while only its numbers change, and not again before it is another one', (t) => {
  const scene = new Scene();
  scene.subject.onSession('connected');
  scene.waits('b', 20_000);
  scene.waits('c', 1_000);
  scene.waiting = undefined;
  scene.pass(10_000);
  t.deepEqual(scene.lines, [
    '600 a:1 waits for b, 19500 ms more',
    '20600 a:1 waits for c, 500 ms more',
  ]);
});

test('what passes by at once has no line', (t) => {
  const scene = new Scene();
  scene.subject.onSession('connected');
  for (let round = 0; round < 20; round++) {
    scene.waits('b', 400);
    scene.waiting = undefined;
    scene.pass(100);
  }
  t.deepEqual(scene.lines, []);
});

test('waits that take turns have at most one line of a kind in five seconds', (t) => {
  const scene = new Scene();
  scene.subject.onSession('connected');
  for (let round = 0; round < 20; round++) {
    scene.waits('b', 1_000);
    scene.waits('c', 1_000);
  }
  for (const kind of ['b', 'c']) {
    const times = scene.lines
      .filter((line) => line.includes(` ${kind},`))
      .map((line) => Number.parseInt(line));
    t.true(times.length >= 6 && times.length <= 8, scene.lines.join('\n'));
    for (const [index, time] of times.entries()) {
      if (index > 0) t.true(time - (times[index - 1] ?? 0) >= 5_000, `${kind}: ${times.join(' ')}`);
    }
  }
});

test('a ZooKeeper that is not there at the start has one line after two seconds, and one when it comes', (t) => {
  const scene = new Scene();
  scene.waiting = { kind: 'coordination', text: 'waits for ZooKeeper: /chain was not read yet' };
  scene.pass(10_000);
  scene.subject.onSession('connected');
  t.deepEqual(scene.lines, [
    '2000 a:1 is waiting for ZooKeeper at z:2',
    '10000 a:1: ZooKeeper at z:2 is there after 10.0 s',
  ]);
  scene.pass(1_000);
  t.deepEqual(scene.lines.slice(2), ['10100 a:1 waits for ZooKeeper: /chain was not read yet']);
});

test('an away ZooKeeper has a line with its time and one when it is back; a short loss has none', (t) => {
  const scene = new Scene();
  scene.subject.onSession('connected');
  scene.pass(1_000);
  scene.subject.onSession('suspended');
  scene.pass(500);
  scene.subject.onSession('connected');
  scene.pass(5_000);
  t.deepEqual(scene.lines, []);
  scene.subject.onSession('suspended');
  scene.pass(2_000);
  scene.subject.onSession('expired');
  scene.pass(30_000);
  scene.subject.onSession('connected');
  t.deepEqual(scene.lines, [
    '7500 a:1: ZooKeeper at z:2 is away since 1970-01-01T00:00:06.500Z; the chain goes on without it',
    '38500 a:1: ZooKeeper at z:2 is back after 32.0 s',
  ]);
  scene.waiting = { kind: 'spare', text: 'is a spare' };
  scene.subject.onSession('suspended');
  scene.pass(1_000);
  t.regex(
    scene.lines.at(-1) ?? '',
    /is away since .*; joins and repairs of the chain wait for it$/,
  );
});
