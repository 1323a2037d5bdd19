/** What a server may be told at start. Checked here once; nothing else reads options. */
import type { Coordinator } from '../coordination/coordinator.js';
import { BadRequestError } from '../errors.js';
import {
  leaseMsDefault,
  leaseMsMax,
  leaseMsMin,
  logRetainBytesDefault,
  logRetainBytesMax,
  logRetainBytesMin,
  scrubIntervalMsDefault,
  scrubIntervalMsMax,
} from '../limits.js';
import type { Disk } from '../log/disk.js';
import { segmentBytesDefault } from '../log/segmented-log.js';
import type { Logger } from '../logger.js';
import { type Address, parseAddress } from '../protocol/address.js';
import type { ServerWatch } from './server-watch.js';

export interface ServerOptions {
  readonly listen: Address;
  /** `host:port` under which clients and other servers reach this one; by default where it listens. */
  readonly advertise?: string;
  readonly dataPath: string;
  /** Absent: the real one. */
  readonly disk?: Disk;
  readonly cluster: string;
  readonly coordinator: Coordinator;
  /** How people call it, with its address; 'ZooKeeper' by default. */
  readonly coordinationName?: string;
  /** The chain is filled up to this many members, further servers are spares. */
  readonly replicas?: number;
  /** With fewer members writes are refused. */
  readonly minReplicas?: number;
  readonly leaseMs?: number;
  /** How long a full outage waits for missing members before the others go on without them. */
  readonly reviveGraceMs?: number;
  /** Log that is kept although a snapshot covers it, for servers that were away for a while. */
  readonly logRetainBytes?: number;
  /** How often everything at rest is read and checked; 0: never. */
  readonly scrubIntervalMs?: number;
  /** The data directory was moved, and no other copy of it is left. */
  readonly acceptMoved?: boolean;
  readonly logger: Logger;
  /** One line for people: serving, role, epoch or chain changed, and why. */
  readonly onLine: (line: string) => void;
  /** For the simulator's checks. */
  readonly watch?: ServerWatch;
}

export const replicasDefault = 5;
export const reviveGraceMsDefault = 2_000;

/** From and to, both included. */
export const optionRanges = {
  replicas: [1, 99],
  /** Its end is --replicas. */
  minReplicas: [1, 99],
  leaseMs: [leaseMsMin, leaseMsMax],
  reviveGraceMs: [0, 3_600_000],
  logRetainBytes: [logRetainBytesMin, logRetainBytesMax],
  scrubIntervalMs: [0, scrubIntervalMsMax],
} as const;

type WithDefaults = Required<
  Pick<
    ServerOptions,
    | 'replicas'
    | 'minReplicas'
    | 'leaseMs'
    | 'reviveGraceMs'
    | 'logRetainBytes'
    | 'scrubIntervalMs'
    | 'acceptMoved'
  >
>;

export type CheckedOptions = ServerOptions & WithDefaults;

const segmentBytesMin = 256 * 1024;

/** The log is trimmed a segment at a time, so these must be small beside what is retained. */
export function segmentBytesFor(logRetainBytes: number): number {
  return Math.min(segmentBytesDefault, Math.max(segmentBytesMin, Math.floor(logRetainBytes / 8)));
}

/** Fills in defaults. Throws BadRequestError naming the option that is out of range. */
export function checkOptions<Given extends Omit<ServerOptions, 'coordinator'>>(
  options: Given,
): Given & WithDefaults {
  const checked = {
    ...options,
    replicas: options.replicas ?? replicasDefault,
    minReplicas: options.minReplicas ?? 1,
    leaseMs: options.leaseMs ?? leaseMsDefault,
    reviveGraceMs: options.reviveGraceMs ?? reviveGraceMsDefault,
    logRetainBytes: options.logRetainBytes ?? logRetainBytesDefault,
    scrubIntervalMs: options.scrubIntervalMs ?? scrubIntervalMsDefault,
    acceptMoved: options.acceptMoved ?? false,
  };
  checkRange('the port', options.listen.port, 1, 65_535);
  if (options.advertise !== undefined) parseAddress(options.advertise);
  checkRange('--replicas', checked.replicas, ...optionRanges.replicas);
  checkRange('--min-replicas', checked.minReplicas, 1, checked.replicas);
  checkRange('--lease', checked.leaseMs, ...optionRanges.leaseMs);
  checkRange('--log-retain', checked.logRetainBytes, ...optionRanges.logRetainBytes);
  checkRange('the scrub interval', checked.scrubIntervalMs, ...optionRanges.scrubIntervalMs);
  checkRange('--revive-grace', checked.reviveGraceMs, ...optionRanges.reviveGraceMs);
  return checked;
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new BadRequestError(`${name} is ${value}; it must be a whole number from ${min} to ${max}`);
}
