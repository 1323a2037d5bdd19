/**
 * Do others of the last chain live? Asked before damaged data is set aside: any one of them has
 * everything that was acknowledged (P2), the data here is then one copy of several.
 *
 * What coordination says of who lives is a hint; it may name a process that died a moment ago. That
 * costs nothing here: what is set aside is not deleted. Invariant: never this server itself counts.
 */
import {
  type Configuration,
  type Member,
  parseConfiguration,
} from '../../coordination/configuration.js';
import type { ChainRead, Coordinator, Registration } from '../../coordination/coordinator.js';

/** What is known of a server whose data cannot be read as a whole. */
export interface Itself {
  readonly address: string;
  /** From its identity, if that can be read. */
  readonly serverId?: string;
  readonly clusterId?: string;
}

export interface LastChain {
  /** Addresses of the other members that are there. */
  readonly others: readonly string[];
  /** Why there is none; for people. */
  readonly reason: string;
}

export interface LastChainOptions {
  /** Not started yet; closed by the caller. */
  readonly coordinator: Coordinator;
  readonly itself: Itself;
  /** Resolves when nobody is waited for any longer. */
  readonly timeout: Promise<void>;
}

/** Resolves as soon as one is there, or certainly none can come, or at the timeout. */
export function lastChain({ coordinator, itself, timeout }: LastChainOptions): Promise<LastChain> {
  let read: ChainRead | undefined;
  let servers: readonly Registration[] = [];
  return new Promise((resolve) => {
    const look = (): void => {
      const { others, isFinal, reason } = judge(read, servers, itself);
      if (others.length > 0 || isFinal) resolve({ others, reason });
    };
    coordinator.start({
      onChain: (found) => {
        read = found;
        look();
      },
      onServers: (found) => {
        servers = found;
        look();
      },
      onSession: () => {},
    });
    const giveUp = (): void => resolve(judge(read, servers, itself));
    timeout.then(giveUp, giveUp);
  });
}

const lastResort =
  "Restore a backup; or run 'kv-server recover' for the server that is to go on with what it has";

/** `isFinal`: no time changes that. */
function judge(
  read: ChainRead | undefined,
  servers: readonly Registration[],
  itself: Itself,
): LastChain & { isFinal: boolean } {
  const none = { others: [], isFinal: false };
  if (read === undefined) return { ...none, reason: 'coordination does not answer' };
  if (read.kind === 'absent') return { ...none, reason: 'there is no /chain that names others' };
  const configuration = parseConfiguration(read.data);
  if (configuration === undefined) return { ...none, reason: '/chain cannot be read' };
  if (itself.clusterId !== undefined && itself.clusterId !== configuration.clusterId) {
    const reason = `/chain belongs to cluster ${configuration.clusterId}, this data to ${itself.clusterId}`;
    return { ...none, isFinal: true, reason };
  }
  const candidates = othersOf(configuration, itself);
  // Only a member writes the next configuration, so none can have joined it behind its back.
  if (candidates.length === 0) {
    return {
      ...none,
      isFinal: true,
      reason: `it is the only member of the last chain. ${lastResort}`,
    };
  }
  const living = candidates.filter(({ serverId }) =>
    servers.some((server) => server.serverId === serverId && server.state !== 'leaving'),
  );
  const names = candidates.map(({ address }) => address).join(', ');
  return {
    others: living.map(({ address }) => address),
    isFinal: false,
    reason:
      `of the other members of the last chain (${names}) none is there. Start one of them, then this server ` +
      `again. If none is left: ${lastResort}`,
  };
}

/** By name and by address: an identity that cannot be read has no name any more. */
function othersOf({ members }: Configuration, { serverId, address }: Itself): Member[] {
  return members.filter((member) => member.serverId !== serverId && member.address !== address);
}
