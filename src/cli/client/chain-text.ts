/** What servers said of themselves, as text for people. Pure. */
import type { StatusOutcome } from '../../client/kv-client.js';
import type { View } from '../../protocol/messages.js';
import type { DiskStatus, ServerStatus, TransferStatus } from '../../protocol/status.js';
import { isNewerView } from '../../client/view.js';
import { grouped, sizeText } from '../../text.js';
import { shownText } from './words.js';

export interface ChainServer {
  readonly address: string;
  readonly serverId: string;
  /** Its place in the chain; what a server outside it says of itself; 'waiting' if it knows no chain; 'down'. */
  readonly role: string;
  /** Ops that the head has and this server does not have on disk; absent if unknown. */
  readonly lag?: number;
  /** Of a member. */
  readonly lease?: boolean;
  /** Why it does not serve, in words. */
  readonly waitingFor?: string;
  /** A snapshot on its way to it, as it or its source says. */
  readonly receiving?: TransferStatus;
  /** Snapshots on their way from it. */
  readonly sending?: readonly (TransferStatus & { readonly to: string })[];
  readonly appliedSeq?: number;
  /** Hexadecimal, of the state after appliedSeq. */
  readonly stateHash?: string;
  readonly disk?: DiskStatus;
  /** Why it did not answer. */
  readonly error?: string;
}

/** Two servers that applied the same ops and do not hold the same. */
export interface Difference {
  readonly address: string;
  /** The first one along the chain that applied as much. */
  readonly from: string;
  readonly appliedSeq: number;
}

export interface Chain {
  /** Absent if nobody knows of a chain. */
  readonly epoch?: number;
  readonly generation?: number;
  readonly reason?: string;
  /** Whether a member of the chain answered. */
  readonly serves: boolean;
  readonly members: readonly ChainServer[];
  /** Servers outside the chain that were asked, and learners that the tail feeds. */
  readonly others: readonly ChainServer[];
  readonly differences: readonly Difference[];
}

const memberRoles = new Set(['head', 'middle', 'tail', 'single']);

/** `known`: a view that was heard of elsewhere. */
export function chainOf(outcomes: readonly StatusOutcome[], known?: View): Chain {
  const view = newestView(outcomes, known);
  const statuses = new Map(
    outcomes.flatMap((outcome) => ('status' in outcome ? [[outcome.address, outcome.status]] : [])),
  );
  const errors = new Map(
    outcomes.flatMap((outcome) =>
      'error' in outcome ? [[outcome.address, outcome.error.message]] : [],
    ),
  );
  const current = [...statuses.values()].filter(({ view: each }) => each?.epoch === view?.epoch);
  const headStatus = statuses.get(view?.members[0]?.address ?? '');
  const isLed = headStatus !== undefined && memberRoles.has(headStatus.role);
  const head = isLed ? headStatus : undefined;
  const transfers = transfersOf(statuses.values());
  const describe = (address: string, place: string | undefined): ChainServer => {
    const status = statuses.get(address);
    if (status === undefined) {
      const error = errors.get(address) ?? 'it was not asked';
      return { address, serverId: '', role: place ?? 'down', error };
    }
    return describeServer(address, status, place, head, transfers);
  };
  const count = view?.members.length ?? 0;
  const members = (view?.members ?? []).map(({ address }, index) =>
    describe(address, placeOf(index, count)),
  );
  const inChain = new Set(members.map(({ address }) => address));
  const others = outcomes
    .filter(({ address }) => !inChain.has(address))
    .map(({ address }) => describe(address, undefined));
  const asked = new Set([...members, ...others].map(({ serverId }) => serverId));
  const learners = [...statuses.values()].flatMap((status) => learnersOf(status, head, asked));
  const reason = current[0]?.reason;
  return {
    ...(view === undefined ? {} : { epoch: view.epoch, generation: view.generation }),
    ...(reason === undefined || view === undefined ? {} : { reason }),
    serves: [...statuses.values()].some(
      ({ role, lease, view: each }) =>
        memberRoles.has(role) && (lease || each?.epoch === view?.epoch),
    ),
    members,
    others: [...others, ...learners],
    differences: differencesOf([...members, ...others]),
  };
}

/** Two chains with the same text differ in nothing but numbers that change all the time. */
export function withoutCounters(chain: Chain): string {
  const still = ({ address, role, lease, waitingFor, receiving, sending, error }: ChainServer) => ({
    address,
    role,
    lease,
    waitingFor: waitingFor?.replace(/\d[\d,.]* (?:s|ops?)\b/g, '#'),
    receives: receiving !== undefined,
    sendsTo: sending?.map(({ to }) => to),
    answers: error === undefined,
  });
  const { epoch, generation, serves, members, others, differences } = chain;
  const differing = differences.map(({ address, from }) => [address, from]);
  return JSON.stringify([
    epoch,
    generation,
    serves,
    members.map(still),
    others.map(still),
    differing,
  ]);
}

export function chainText(chain: Chain): string {
  const rows = [...chain.members, ...chain.others].map((server) => [
    server.role,
    server.address,
    server.lag === undefined ? '' : `${grouped(server.lag)} behind`,
    server.lease === undefined ? '' : server.lease ? 'lease' : 'no lease',
    notesOf(server),
  ]);
  const warnings = chain.differences.map(
    ({ address, from, appliedSeq }) =>
      `WARNING: after op ${grouped(appliedSeq)} the state of ${address} differs from that of ${from}`,
  );
  return [titleOf(chain), columns(rows), ...warnings.map(shownText)].filter(Boolean).join('\n');
}

function titleOf({ epoch, generation = 1, reason, serves, members, others }: Chain): string {
  if (epoch === undefined) {
    const isAnswered = others.some(({ error }) => error === undefined);
    return isAnswered ? 'no chain yet: these servers know of none' : 'no server answers';
  }
  const parts = [
    ...(generation > 1 ? [`generation ${generation}`] : []),
    `epoch ${epoch}`,
    ...(reason === undefined ? [] : [shownText(reason)]),
  ];
  if (serves) return parts.join(', ');
  const isAnswered = [...members, ...others].some(({ error }) => error === undefined);
  const what = isAnswered ? 'no chain serves' : 'no server answers';
  return `${what}; the last one known: ${parts.join(', ')}`;
}

function notesOf({ error, waitingFor, receiving, sending = [] }: ChainServer): string {
  return [
    ...(error === undefined ? [] : [`no answer: ${error}`]),
    ...(waitingFor === undefined ? [] : [waitingFor]),
    ...(receiving === undefined ? [] : [`receiving a snapshot: ${shareText(receiving)}`]),
    ...sending.map((each) => `sending a snapshot to ${each.to}: ${shareText(each)}`),
  ].join('; ');
}

function shareText({ bytes, totalBytes }: TransferStatus): string {
  const share = totalBytes === 0 ? 0 : Math.floor((100 * bytes) / totalBytes);
  return `${Math.min(share, 100)} % of ${sizeText(totalBytes)}`;
}

interface Transfers {
  /** By the receiver's serverId, as the source says. */
  readonly to: ReadonlyMap<string, TransferStatus>;
  readonly addresses: ReadonlyMap<string, string>;
}

function transfersOf(statuses: Iterable<ServerStatus>): Transfers {
  const to = new Map<string, TransferStatus>();
  const addresses = new Map<string, string>();
  for (const { serverId, address, learners } of statuses) {
    addresses.set(serverId, address);
    for (const learner of learners) {
      if (learner.sending !== undefined) to.set(learner.serverId, learner.sending);
    }
  }
  return { to, addresses };
}

function describeServer(
  address: string,
  status: ServerStatus,
  place: string | undefined,
  head: ServerStatus | undefined,
  { to, addresses }: Transfers,
): ChainServer {
  const { serverId, role, lease, waitingFor, appliedSeq, stateHash, disk, view } = status;
  const receiving = status.receiving ?? to.get(serverId);
  const sending = status.learners.flatMap((learner) =>
    learner.sending === undefined
      ? []
      : [{ ...learner.sending, to: addresses.get(learner.serverId) ?? nameOf(learner.serverId) }],
  );
  return {
    address,
    serverId,
    role: place ?? (view === undefined ? 'waiting' : role),
    ...(place === undefined ? {} : { lease }),
    ...(waitingFor === '' ? {} : { waitingFor }),
    ...(receiving === undefined ? {} : { receiving }),
    ...(sending.length === 0 ? {} : { sending }),
    ...(head === undefined ? {} : { lag: Math.max(0, head.lastSeq - status.durableSeq) }),
    appliedSeq,
    ...(stateHash === '' ? {} : { stateHash }),
    disk,
  };
}

/** Whoever applied as much as another one must hold the same. */
function differencesOf(servers: readonly ChainServer[]): Difference[] {
  const first = new Map<number, ChainServer>();
  const differences: Difference[] = [];
  for (const server of servers) {
    const { address, appliedSeq, stateHash } = server;
    if (appliedSeq === undefined || stateHash === undefined) continue;
    const from = first.get(appliedSeq);
    if (from === undefined) first.set(appliedSeq, server);
    else if (from.stateHash !== stateHash) {
      differences.push({ address, from: from.address, appliedSeq });
    }
  }
  return differences;
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
  return [first, `  ${shownText(diskText(status))}`, columns(rows)].filter(Boolean).join('\n');
}

function diskText({ disk, appliedSeq, stateHash }: ServerStatus): string {
  const { logFirstSeq, logBytes, snapshotSeq, snapshotBytes, freeBytes, scrub } = disk;
  const snapshot =
    snapshotSeq === 0
      ? 'no snapshot'
      : `snapshot of op ${grouped(snapshotSeq)}, ${sizeText(snapshotBytes)}`;
  const scrubbed =
    scrub === undefined
      ? 'not scrubbed yet'
      : `${sizeText(scrub.bytes)} scrubbed in ${durationText(scrub.durationMs)}, ` +
        `ended ${new Date(scrub.atMs).toISOString()}`;
  return [
    `log from op ${grouped(logFirstSeq)}, ${sizeText(logBytes)}`,
    snapshot,
    `${sizeText(freeBytes)} free`,
    scrubbed,
    `state ${stateHash === '' ? 'unknown' : stateHash} after op ${grouped(appliedSeq)}`,
  ].join('; ');
}

function learnersOf(
  status: ServerStatus,
  head: ServerStatus | undefined,
  asked: ReadonlySet<string>,
): ChainServer[] {
  return status.learners
    .filter(({ serverId }) => !asked.has(serverId))
    .map(({ serverId, ackedSeq, state, sending }) => ({
      address: nameOf(serverId),
      serverId,
      role: `learner (${state})`,
      ...(head === undefined ? {} : { lag: Math.max(0, head.lastSeq - ackedSeq) }),
      ...(sending === undefined ? {} : { receiving: sending }),
    }));
}

/** Of a server whose address nobody told. */
function nameOf(serverId: string): string {
  return `server ${serverId.slice(0, 8)}`;
}

/** The newest view among the answers, and `known`. */
function newestView(outcomes: readonly StatusOutcome[], known: View | undefined): View | undefined {
  let newest = known;
  for (const outcome of outcomes) {
    if (!('status' in outcome)) continue;
    const { view } = outcome.status;
    if (view !== undefined && isNewerView(view, newest)) newest = view;
  }
  return newest;
}

function placeOf(index: number, count: number): string {
  if (count === 1) return 'single';
  if (index === 0) return 'head';
  return index === count - 1 ? 'tail' : 'middle';
}

/** Left-aligned columns, two blanks apart; one that is empty in all rows is left out. */
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
        .flatMap((cell, index) => (widths[index] === 0 ? [] : cell.padEnd(widths[index] ?? 0)))
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
