/**
 * How many connections a server takes: those of limits.ts, or fewer where the process may not have so
 * many files open (ulimit -n). Invariant: clients, however many come, never use up the descriptors that
 * the log, the snapshots and the links of the chain need: without these the server would have to stop.
 */
import { readFileSync } from 'node:fs';
import { connectionsMax, reservedFiles, spareConnectionsMax } from '../limits.js';

export interface ConnectionLimits {
  /** Clients. */
  readonly connectionsMax: number;
  /** Beyond these, for the links of servers and for handshakes. */
  readonly spareConnectionsMax: number;
}

const openFilesLine = /^Max open files\s+(\d+)/m;

/** Of this process. Where the system does not tell, the limits are those of limits.ts. */
export function connectionLimits(): ConnectionLimits {
  return connectionLimitsFor(openFilesMax());
}

export function connectionLimitsFor(openFiles: number): ConnectionLimits {
  const room = Math.max(2, openFiles - reservedFiles);
  const spare = Math.min(spareConnectionsMax, Math.ceil(room / 4));
  return { connectionsMax: Math.min(connectionsMax, room - spare), spareConnectionsMax: spare };
}

/** The soft limit; Node.js has raised it to the hard one at its start. */
function openFilesMax(): number {
  try {
    const [, text] = openFilesLine.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return text === undefined ? Number.POSITIVE_INFINITY : Number(text);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
