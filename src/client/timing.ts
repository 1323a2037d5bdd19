/**
 * The client's own times, all in ms. Limits that the wire knows stand in ../limits.ts; these only decide
 * how soon the client looks again. Each wait is drawn at random, so that many clients do not come at once.
 */
import { runtime } from '../runtime/runtime.js';

/** Deadlines are met to this precision, never early. */
export const deadlineTickMs = 10;

/** While a call waits for a server, the router looks again this often. */
export const pulseMsMin = 5;
export const pulseMsMax = 15;
/** While no head takes writes, one open server is asked for its view this often. */
export const probeMs = 40;

/** Before a server is dialed again; doubled at each failure. */
export const dialBackoffMsMin = 10;
export const dialBackoffMsMax = 500;
/** A connection that held this long was no failure. */
export const stableMs = 1_000;
/** From the dial to the server's first frame. */
export const dialTimeoutMs = 2_000;

/** Before a server that refused is asked again; doubled at each refusal. */
export const restMsMin = 5;
export const restMsMax = 200;

/** A connection that owes answers and is quiet for this long is asked for a sign of life. */
export const quietMsMax = 1_000;
/** Without one for this long it is passed over, and its reads go elsewhere. */
export const suspectMs = 500;
/** Without one for this long it is closed. */
export const silentMsMax = 10_000;
export const healthCheckMs = 250;

/** A wait that doubles with `failures` from `min` up to `max`, less a random part of at most half. */
export function backoffMs(failures: number, min: number, max: number): number {
  const ceiling = Math.min(max, min * 2 ** Math.min(failures, 20));
  return ceiling * (0.5 + runtime.random() / 2);
}
