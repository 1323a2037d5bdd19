/**
 * Real time against the one order: whatever was answered before an op began is a floor for its place. Every op has a
 * stretch of places that explain its answer; it takes the earliest one that is not below its floor. If that one is
 * beyond its stretch no choice for the others helps, since theirs are the earliest as well.
 */
import { type Finding, findingsMax, showOp } from './finding.js';
import type { HistoryOp } from './history.js';

export interface Stretch {
  readonly op: HistoryOp;
  readonly isWrite: boolean;
  /** A read in place p reflects the ops 1..p; a write has its own place for itself, above its floor. */
  readonly from: number;
  /** Exclusive. */
  until: number;
}

export function checkRealTime(stretches: readonly Stretch[]): Finding[] {
  const findings: Finding[] = [];
  const byStart = sortedBy(stretches, startOf);
  const byEnd = sortedBy(
    stretches.filter(({ op }) => op.outcome === 'ok'),
    endOf,
  );
  const places = new Map<Stretch, number>();
  let floor = 0;
  let floorOp: HistoryOp | undefined;
  let next = 0;
  for (const stretch of byStart) {
    const { op, isWrite, from, until } = stretch;
    for (let ended = byEnd[next]; ended !== undefined && ended.op.endMs < op.startMs; ) {
      const place = places.get(ended) ?? ended.from;
      if (place > floor) [floor, floorOp] = [place, ended.op];
      next += 1;
      ended = byEnd[next];
    }
    const least = isWrite ? floor + 1 : floor;
    if (floorOp === undefined || least <= from) continue;
    if (least < until) places.set(stretch, least);
    else if (findings.length < findingsMax) {
      const line = `${showOp(op)} although before it began: ${showOp(floorOp)}`;
      findings.push({ line, ops: [floorOp, op] });
    }
  }
  return findings;
}

const startOf = ({ op }: Stretch): number => op.startMs;
const endOf = ({ op }: Stretch): number => op.endMs;

function sortedBy(stretches: readonly Stretch[], timeOf: (stretch: Stretch) => number): Stretch[] {
  return [...stretches].sort((one, other) => timeOf(one) - timeOf(other));
}
