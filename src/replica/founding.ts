/**
 * A server whose data was restored from a backup, before it adopted its first configuration: it founds a
 * cluster of its own, and joins none. What it holds is one point of another cluster's history; next to
 * a chain that goes on, also that of the same cluster, it would be a second history of the same ops.
 */
import type { Configuration, Member } from '../coordination/configuration.js';
import { RefusedToStartError } from '../errors.js';

export interface Founding {
  /** Why the cluster begins with data; for people. */
  readonly reason: string;
}

/** Why a server that is to found a cluster may not go on where this chain is; undefined if it may. */
export function refusalToFound(
  { clusterId, epoch, members }: Configuration,
  self: Member,
): RefusedToStartError | undefined {
  // Founded by an earlier process of this very server, that did not live to note it.
  if (members.some(({ serverId }) => serverId === self.serverId)) return undefined;
  const chain = members.map(({ address }) => address).join(' > ');
  return new RefusedToStartError(
    `there is a chain already (cluster ${clusterId}, epoch ${epoch}, ${chain}), and this data was restored from ` +
      'a backup: it founds a cluster of its own. Start it under another name with --cluster; or give this data ' +
      'directory up and start the server with an empty one, to join that chain',
  );
}
