/** What servers said of themselves, as text for people. Pure. */
import type { StatusOutcome } from '../../client/kv-client.js';
import type { View } from '../../protocol/messages.js';
import type { ServerStatus } from '../../protocol/status.js';
import { isNewerView } from '../../client/view.js';
import { shownText } from './words.js';

/** The newest view among the answers. */
export function newestView(outcomes: readonly StatusOutcome[]): View | undefined {
  let newest: View | undefined;
  for (const outcome of outcomes) {
    if (!('status' in outcome)) continue;
    const { view } = outcome.status;
    if (view !== undefined && isNewerView(view, newest)) newest = view;
  }
  return newest;
}

export interface ChainMember {
  readonly address: string;
  readonly serverId: string;
  /** Its place in the chain; what a server outside it says of itself; 'no answer'. */
  readonly role: string;
  /** Ops that the head has and this server does not have on disk; absent if unknown. */
  readonly lag?: number;
  readonly lease?: boolean;
  readonly error?: string;
}

export interface Chain {
  readonly epoch?: number;
  readonly generation?: number;
  readonly reason?: string;
  readonly members: readonly ChainMember[];
  /** Servers outside the chain that were asked, and learners that the tail feeds. */
  readonly others: readonly ChainMember[];
}

export function chainOf(outcomes: readonly StatusOutcome[]): Chain {
  const view = newestView(outcomes);
  const statuses = new Map(
    outcomes.flatMap((outcome) => ('status' in outcome ? [[outcome.address, outcome.status]] : [])),
  );
  const errors = new Map(
    outcomes.flatMap((outcome) =>
      'error' in outcome ? [[outcome.address, outcome.error.message]] : [],
    ),
  );
  const head = statuses.get(view?.members[0]?.address ?? '');
  const reason = [...statuses.values()].find(
    ({ view: each }) => each?.epoch === view?.epoch,
  )?.reason;
  const describe = (address: string, place: string | undefined): ChainMember => {
    const status = statuses.get(address);
    if (status === undefined) {
      const error = errors.get(address) ?? 'no answer';
      return { address, serverId: '', role: place ?? 'down', error };
    }
    const { serverId, role, lease } = status;
    const lag = head === undefined ? {} : { lag: Math.max(0, head.lastSeq - status.durableSeq) };
    return { address, serverId, role: place ?? role, lease, ...lag };
  };
  const count = view?.members.length ?? 0;
  const members = (view?.members ?? []).map(({ address }, index) =>
    describe(address, placeOf(index, count)),
  );
  const inChain = new Set(members.map(({ address }) => address));
  const others = outcomes
    .filter(({ address }) => !inChain.has(address))
    .map(({ address }) => describe(address, undefined));
  const known = new Set([...members, ...others].map(({ serverId }) => serverId));
  const learners = [...statuses.values()].flatMap((status) => learnersOf(status, head, known));
  return {
    ...(view === undefined ? {} : { epoch: view.epoch, generation: view.generation }),
    ...(reason === undefined ? {} : { reason }),
    members,
    others: [...others, ...learners],
  };
}

export function chainText(chain: Chain): string {
  if (chain.epoch === undefined) return 'no server knows of a chain';
  const reason = chain.reason === undefined ? '' : `, ${shownText(chain.reason)}`;
  const rows = [...chain.members, ...chain.others].map((member) => [
    member.role,
    member.address,
    member.lag === undefined ? '' : `${member.lag} behind`,
    member.lease === undefined ? '' : member.lease ? 'lease' : 'no lease',
    member.error === undefined ? '' : member.error,
  ]);
  return `epoch ${chain.epoch}${reason}\n${columns(rows)}`;
}

export function statsText(outcomes: readonly StatusOutcome[]): string {
  return outcomes
    .map((outcome) =>
      'status' in outcome
        ? serverText(outcome.address, outcome.status)
        : `${shownText(outcome.address)}  no answer: ${shownText(outcome.error.message)}`,
    )
    .join('\n');
}

function serverText(address: string, status: ServerStatus): string {
  const { role, keys, tableBytes, clientConnections, serverConnections, uptimeMs, ops } = status;
  const facts = [
    role,
    `up ${durationText(uptimeMs)}`,
    `${keys} keys`,
    `${sizeText(tableBytes)} of table`,
    `${clientConnections} clients`,
    `${serverConnections} servers connected`,
  ];
  const rows = ops.map(({ kind, count, failures, meanMs, maxMs }) => [
    `  ${kind}`,
    `${count}`,
    `mean ${meanMs.toFixed(2)} ms`,
    `max ${maxMs.toFixed(2)} ms`,
    failures === 0 ? '' : `${failures} failed`,
  ]);
  const first = `${shownText(address)}  ${shownText(facts.join(', '))}`;
  return rows.length === 0 ? first : `${first}\n${columns(rows)}`;
}

function learnersOf(
  status: ServerStatus,
  head: ServerStatus | undefined,
  known: ReadonlySet<string>,
): ChainMember[] {
  return status.learners
    .filter(({ serverId }) => !known.has(serverId))
    .map(({ serverId, ackedSeq, state }) => ({
      address: `server ${serverId.slice(0, 8)}`,
      serverId,
      role: `learner (${state})`,
      ...(head === undefined ? {} : { lag: Math.max(0, head.lastSeq - ackedSeq) }),
    }));
}

function placeOf(index: number, count: number): string {
  if (count === 1) return 'single';
  if (index === 0) return 'head';
  return index === count - 1 ? 'tail' : 'middle';
}

/** Left-aligned columns, two blanks apart. */
function columns(rows: readonly (readonly string[])[]): string {
  const safe = rows.map((row) => row.map(shownText));
  const widths: number[] = [];
  for (const row of safe) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    }
  }
  return safe
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function durationText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}
