/** Both clocks of the runtime at one instant, as the replica wants them with each event. */
import type { Instant } from '../replica/timing.js';
import { runtime } from '../runtime/runtime.js';

export function now(): Instant {
  return { monotonicMs: runtime.monotonicMs(), wallMs: runtime.wallMs() };
}
