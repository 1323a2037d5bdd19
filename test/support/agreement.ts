/** What must be the same at every member when all is quiet: how far it applied, and what came of it. */
import type { ExecutionContext } from 'ava';
import { connect, type KvClient, type ServerStatus } from '../../src/index.js';
import type { Deployment } from './deployment.js';

/** At the same applied op every member has the same state. Answers what they said. */
export async function checkStateHashes(
  t: ExecutionContext,
  deployment: Pick<Deployment, 'chain'>,
): Promise<ServerStatus[]> {
  const { members } = deployment.chain.newest;
  const client = await connect({ servers: members });
  try {
    const statuses = await equallyFar(client, members);
    const [head] = statuses;
    t.truthy(head?.stateHash);
    for (const { address, stateHash } of statuses) t.true(stateHash === head?.stateHash, address);
    return statuses;
  } finally {
    await client.close();
  }
}

/** The commit index rides down the chain a moment after the head has it. */
export async function equallyFar(
  client: KvClient,
  members: readonly string[],
): Promise<ServerStatus[]> {
  for (;;) {
    const statuses = await Promise.all(members.map((address) => client.status(address)));
    if (new Set(statuses.map(({ appliedSeq }) => appliedSeq)).size === 1) return statuses;
  }
}
