/** What a server may be told at start. Checked here once; nothing else reads options. */
import type { Coordinator } from '../coordination/coordinator.js';
import { BadRequestError } from '../errors.js';
import { leaseMsDefault, leaseMsMax, leaseMsMin } from '../limits.js';
import type { Logger } from '../logger.js';
import { type Address, parseAddress } from '../protocol/address.js';

export interface ServerOptions {
  readonly listen: Address;
  /** `host:port` under which clients and other servers reach this one; by default where it listens. */
  readonly advertise?: string;
  readonly dataPath: string;
  readonly cluster: string;
  readonly coordinator: Coordinator;
  /** The chain is filled up to this many members, further servers are spares. */
  readonly replicas?: number;
  /** With fewer members writes are refused. */
  readonly minReplicas?: number;
  readonly leaseMs?: number;
  /** How long a full outage waits for missing members before the others go on without them. */
  readonly reviveGraceMs?: number;
  readonly logger: Logger;
  /** One line for people: serving, role, epoch or chain changed, and why. */
  readonly onLine: (line: string) => void;
}

export const replicasDefault = 5;
export const reviveGraceMsDefault = 2_000;

export type CheckedOptions = ServerOptions &
  Required<Pick<ServerOptions, 'replicas' | 'minReplicas' | 'leaseMs' | 'reviveGraceMs'>>;

/** Fills in defaults. Throws BadRequestError naming the option that is out of range. */
export function checkOptions(options: ServerOptions): CheckedOptions {
  const checked = {
    ...options,
    replicas: options.replicas ?? replicasDefault,
    minReplicas: options.minReplicas ?? 1,
    leaseMs: options.leaseMs ?? leaseMsDefault,
    reviveGraceMs: options.reviveGraceMs ?? reviveGraceMsDefault,
  };
  checkRange('the port', options.listen.port, 1, 65_535);
  if (options.advertise !== undefined) parseAddress(options.advertise);
  checkRange('--replicas', checked.replicas, 1, 99);
  checkRange('--min-replicas', checked.minReplicas, 1, checked.replicas);
  checkRange('--lease', checked.leaseMs, leaseMsMin, leaseMsMax);
  checkRange('--revive-grace', checked.reviveGraceMs, 0, 3_600_000);
  return checked;
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new BadRequestError(`${name} is ${value}; it must be a whole number from ${min} to ${max}`);
}
