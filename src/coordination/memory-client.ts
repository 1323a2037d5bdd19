/**
 * One coordinator as the service in memory (memory.ts) knows it: what it wants, what befalls it, and what its
 * listener was told last. It decides nothing.
 *
 * Invariant: no listener is told the same thing twice in a row.
 */

import type { ChainRead, CoordinatorListener, Registration, SessionState } from './coordinator.js';
import { registrationsInOrder } from './registry.js';
import type { ServerNode } from './registry.js';

export interface VersionedData {
  readonly data: string;
  readonly version: number;
}

/** What happens to the next write of a coordinator; its outcome is 'unknown' in each case. */
export type Loss =
  | { readonly kind: 'done' }
  | { readonly kind: 'dropped' }
  | { readonly kind: 'late'; arrived: (() => void) | undefined };

export interface View {
  readonly chain: VersionedData | undefined;
  readonly nodes: readonly ServerNode[];
}

/** The service's side of one coordinator. */
export interface Client {
  readonly name: string;
  listener: CoordinatorListener | undefined;
  registration: Registration | undefined;
  /** The key of its session, and the guid of its nodes; kept after the session's end. */
  session: string | undefined;
  lastSequence: number | undefined;
  isLinked: boolean;
  isClosed: boolean;
  isVisitScheduled: boolean;
  frozen: View | undefined;
  loss: Loss | undefined;
  reportedState: SessionState | undefined;
  reportedChain: string | undefined;
  reportedServers: string | undefined;
}

export function newClient(name: string): Client {
  return {
    name,
    listener: undefined,
    registration: undefined,
    session: undefined,
    lastSequence: undefined,
    isLinked: true,
    isClosed: false,
    isVisitScheduled: false,
    frozen: undefined,
    loss: undefined,
    reportedState: undefined,
    reportedChain: undefined,
    reportedServers: undefined,
  };
}

export function chainRead({ chain }: View): ChainRead {
  return chain === undefined ? { kind: 'absent' } : { kind: 'found', ...chain };
}

export function report(client: Client, state: SessionState): void {
  if (state === client.reportedState) return;
  client.reportedState = state;
  client.listener?.onSession(state);
}

export function reportChain(client: Client, read: ChainRead): void {
  const text = JSON.stringify(read);
  if (text === client.reportedChain) return;
  client.reportedChain = text;
  client.listener?.onChain(read);
}

export function reportServers(client: Client, nodes: readonly ServerNode[]): void {
  const servers = registrationsInOrder(nodes);
  const text = JSON.stringify(servers);
  if (text === client.reportedServers) return;
  client.reportedServers = text;
  client.listener?.onServers(servers);
}
