/** The two clocks of a server, as the replica wants them with each event. */
import type { Instant } from '../replica/timing.js';

export type Clock = () => Instant;

export const systemClock: Clock = () => ({
  monotonicMs: performance.now(),
  wallMs: Date.now(),
});
