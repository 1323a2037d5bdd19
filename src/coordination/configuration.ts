/**
 * The configuration of the chain: who is a member, in which order, in which epoch. Pure.
 * It is the content of the znode `/catena/<cluster>/chain`, the only truth about membership, and is
 * changed only by compare-and-set on the version that was read.
 *
 * Invariant: of two configurations of one cluster the newer one has the higher epoch, and keeps at
 * least one member (by serverId) of the one before it.
 */

/** A server as the chain knows it: a restart is another incarnation, so another member. */
export interface Member {
  /** Made with the data directory and kept in it. */
  readonly serverId: string;
  /** Made at each process start. */
  readonly incarnation: string;
  /** `host:port` for clients and servers. */
  readonly address: string;
}

const changeKinds = [
  'first',
  'removal',
  'admission',
  'restart',
  'leave',
  'fence',
  'recover',
] as const;

export type ChangeKind = (typeof changeKinds)[number];

export interface Configuration {
  readonly clusterId: string;
  /** Raised by the operator's `recover` only: a new history that may lack writes of the old one. */
  readonly generation: number;
  readonly epoch: number;
  /** Random: two configurations with one epoch and different ids prove that ZooKeeper went back. */
  readonly configId: string;
  /** Head first, tail last; never empty. */
  readonly members: readonly Member[];
  /** Who left by agreement with exactly this epoch: nobody need wait for their leases. */
  readonly left: readonly Member[];
  /** Why this configuration was written; for people, and for the log line at adoption. */
  readonly change: { readonly kind: ChangeKind; readonly reason: string; readonly by: string };
  /** The newest epoch (this one included) that restarted members formed; 0 for none. Below it, logs may be cut. */
  readonly restartEpoch: number;
}

/**
 * Each generation has its own range of epochs, far beyond what a cluster uses up: a recovered cluster's
 * epochs are above any that a server of the old history may have adopted unseen.
 */
const epochsPerGeneration = 1_000_000_000;

/** The lowest epoch that a configuration of this generation can have. */
export function firstEpochOf(generation: number): number {
  return (generation - 1) * epochsPerGeneration + 1;
}

/** The generation in whose range this epoch lies. */
export function generationOf(epoch: number): number {
  return Math.floor((epoch - 1) / epochsPerGeneration) + 1;
}

/** The same process of the same server. */
export function sameMember(
  a: Pick<Member, 'serverId' | 'incarnation'>,
  b: Pick<Member, 'serverId' | 'incarnation'>,
): boolean {
  return a.serverId === b.serverId && a.incarnation === b.incarnation;
}

/** The member's position in the chain, 0 for the head, or -1. */
export function positionOf(
  configuration: Configuration,
  self: Pick<Member, 'serverId' | 'incarnation'>,
): number {
  return configuration.members.findIndex((member) => sameMember(member, self));
}

export function formatConfiguration(configuration: Configuration): string {
  return JSON.stringify(configuration);
}

/**
 * Reads the znode's content. Anything that is not a whole, valid configuration is undefined, never a guess. Only
 * what is known is taken over: the result is written to disk and sent on.
 */
export function parseConfiguration(text: string): Configuration | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const { clusterId, generation, epoch, configId, restartEpoch } = value;
  if (!isText(clusterId) || !isText(configId)) return undefined;
  if (!isCount(generation) || !isCount(epoch) || !isCount(restartEpoch)) return undefined;
  if (generation < 1 || epoch < 1 || restartEpoch > epoch) return undefined;
  const members = parseMembers(value['members']);
  const left = parseMembers(value['left']);
  const change = parseChange(value['change']);
  if (members === undefined || left === undefined || change === undefined) return undefined;
  if (members.length === 0) return undefined;
  return { clusterId, generation, epoch, configId, members, left, change, restartEpoch };
}

function parseChange(value: unknown): Configuration['change'] | undefined {
  if (!isRecord(value)) return undefined;
  const { reason, by } = value;
  const kind = changeKinds.find((each) => each === value['kind']);
  if (kind === undefined || typeof reason !== 'string' || typeof by !== 'string') return undefined;
  return { kind, reason, by };
}

/** Each server once. */
function parseMembers(value: unknown): Member[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const members = new Map<string, Member>();
  for (const member of value as unknown[]) {
    if (!isRecord(member)) return undefined;
    const { serverId, incarnation, address } = member;
    if (!isText(serverId) || !isText(incarnation) || !isText(address)) return undefined;
    if (members.has(serverId)) return undefined;
    members.set(serverId, { serverId, incarnation, address });
  }
  return [...members.values()];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
