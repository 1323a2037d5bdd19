/** Everything that is fuzzed. */
import type { Target } from '../target.js';
import { frameTarget } from './frames.js';
import { logTargets } from './log.js';
import { messageTargets } from './messages.js';
import { snapshotTargets } from './snapshots.js';
import { textTargets } from './texts.js';

export async function allTargets(): Promise<Target[]> {
  return [
    frameTarget(),
    ...messageTargets(),
    ...(await textTargets()),
    ...(await logTargets()),
    ...(await snapshotTargets()),
  ];
}
