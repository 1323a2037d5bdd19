/**
 * The decisions about `/catena/<cluster>/servers` and about ZooKeeper's answers, without I/O: in which
 * order servers came, which nodes are ours, what a code says about a write. Pure.
 *
 * Invariant: whatever was lost, late or done twice, carrying out `planAnnouncement` until it plans
 * nothing leaves exactly one node of this server, or none while a rival has its name.
 */

import type { Registration, WriteOutcome } from './coordinator.js';

/** One ephemeral node `<guid>-<sequence>`. A guid is made for each session. */
export interface ServerNode {
  readonly name: string;
  readonly guid: string;
  readonly sequence: number;
  /** Absent if its content is no registration. */
  readonly registration: Registration | undefined;
}

/** What this coordinator wants to see among the nodes. */
export interface Announcement {
  /** Of the present session: nodes of it are ours, also those whose create lost its answer. */
  readonly guid: string;
  readonly registration: Registration;
  /** The sequence number of the newest node that we ever saw to be ours. */
  readonly lastSequence: number | undefined;
}

export type AnnouncementStep =
  | { readonly kind: 'create' }
  | { readonly kind: 'set'; readonly name: string }
  | { readonly kind: 'delete'; readonly name: string };

export interface AnnouncementPlan {
  /** To be done in this order; if one fails, the rest waits for the next look at the nodes. */
  readonly steps: readonly AnnouncementStep[];
  /** The node that stands for us now. */
  readonly own: ServerNode | undefined;
  /** A process with our serverId that may be alive: not ours to delete, and reason enough not to add ours. */
  readonly rival: ServerNode | undefined;
}

/** ZooKeeper prints the counter as `%010d`, the sign counting as a digit. */
const namePattern = /^(.+?)-(\d{10}|-\d{9,10})$/;
const states: readonly unknown[] = ['learner', 'member', 'leaving'];

/** Undefined for a name that no Catena server made. */
export function parseNodeName(name: string): { guid: string; sequence: number } | undefined {
  const [, guid, digits] = namePattern.exec(name) ?? [];
  if (guid === undefined || digits === undefined) return undefined;
  const sequence = Number(digits);
  return sequence === (sequence | 0) ? { guid, sequence } : undefined;
}

/** Negative if `a` is older. The counter is a signed 32-bit number that wraps, so the nearer way round counts. */
export function compareSequences(a: number, b: number): number {
  return (a - b) | 0;
}

export function parseRegistration(text: string): Registration | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { serverId, incarnation, address, state } = value as Record<string, unknown>;
  if (!isText(serverId) || !isText(incarnation) || !isText(address)) return undefined;
  if (!states.includes(state)) return undefined;
  return { serverId, incarnation, address, state: state as Registration['state'] };
}

export function formatRegistration(registration: Registration): string {
  const { serverId, incarnation, address, state } = registration;
  return JSON.stringify({ serverId, incarnation, address, state });
}

/**
 * The registered processes, oldest first. One process may have two nodes for a moment (it makes the node of
 * its new session before it deletes the old one) and is listed once, by its newest. Two processes of one
 * server are both listed: which of them is dead is for the membership rules to say.
 */
export function registrationsInOrder(nodes: readonly ServerNode[]): Registration[] {
  const newest = new Map<string, Registration>();
  for (const { registration } of inOrder(nodes)) {
    if (registration === undefined) continue;
    const process = JSON.stringify([registration.serverId, registration.incarnation]);
    newest.delete(process);
    newest.set(process, registration);
  }
  return [...newest.values()];
}

/**
 * What is missing between the nodes and our announcement.
 *
 * Ours is made first, then those go that are certainly dead (R11): of earlier sessions of this process, and of an
 * earlier process at our own address, for that is where we listen now. So nobody sees the server gone.
 *
 * Any other process of our serverId is left alone, and ours does not appear beside it: it came after us, or is
 * somewhere else. It may be dead, then its node goes with its session; or it runs on a copy of our data directory.
 * Deleting it would make two live copies delete each other for ever, and make the chain take a copy, which may
 * lack what was acknowledged, for the member. Who of the two goes is decided in `src/replica/identity.ts`.
 */
export function planAnnouncement(
  nodes: readonly ServerNode[],
  announcement: Announcement,
): AnnouncementPlan {
  const { guid, registration } = announcement;
  const ordered = inOrder(nodes);
  const [own, ...extra] = ordered.filter((node) => node.guid === guid);
  const others = ordered.filter(
    (node) => node.guid !== guid && node.registration?.serverId === registration.serverId,
  );
  const reference = own?.sequence ?? announcement.lastSequence;
  const isRival = (node: ServerNode): boolean =>
    node.registration?.incarnation !== registration.incarnation &&
    (node.registration?.address !== registration.address ||
      (reference !== undefined && compareSequences(node.sequence, reference) > 0));
  const rival = others.findLast(isRival);

  const steps: AnnouncementStep[] = [];
  if (own === undefined) {
    if (rival === undefined) steps.push({ kind: 'create' });
  } else if (
    own.registration === undefined ||
    formatRegistration(own.registration) !== formatRegistration(registration)
  ) {
    steps.push({ kind: 'set', name: own.name });
  }
  for (const { name } of [...extra, ...others.filter((node) => !isRival(node))]) {
    steps.push({ kind: 'delete', name });
  }
  return { steps, own, rival };
}

function inOrder(nodes: readonly ServerNode[]): ServerNode[] {
  return [...nodes].sort((a, b) => compareSequences(a.sequence, b.sequence));
}

/** ZooKeeper's codes, as far as a decision depends on them. */
export const codes = {
  ok: 0,
  unimplemented: -6,
  badArguments: -8,
  /** From the client itself: its session is over and it will never work again. */
  invalidState: -9,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  nodeExists: -110,
  sessionExpired: -112,
  invalidAcl: -114,
  notReadOnly: -119,
} as const;

/** What became of a request: `unsent` for certain, `lost` if it left and no answer came. */
export type WriteReply =
  | { readonly kind: 'answered'; readonly code: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'unsent' };

/**
 * What is known of a write. A code that is not a plain refusal leaves it open: connection loss (-4) and timeout (-7)
 * say nothing about the server, and so, for all that this client can prove, do the ends of sessions (-112, -116, -118).
 */
export function writeOutcome(reply: WriteReply): WriteOutcome {
  if (reply.kind === 'unsent') return 'unavailable';
  if (reply.kind === 'lost') return 'unknown';
  switch (reply.code) {
    case codes.ok:
      return 'done';
    case codes.badVersion:
    case codes.nodeExists:
    case codes.noNode:
      return 'conflict';
    case codes.unimplemented:
    case codes.badArguments:
    case codes.noAuth:
    case codes.invalidAcl:
    case codes.notReadOnly:
      return 'unavailable';
    default:
      return 'unknown';
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0;
}
