/**
 * An ensemble of real ZooKeepers on this machine: each can be killed, stopped and paused alone. They share one
 * network, the machine's or that of a container, so that their configuration is the same both ways.
 *
 * Invariant: `runEnsemble` returns once all of them serve; `remove()` leaves nothing.
 */
import {
  fourLetterWord,
  freePort,
  hasPackage,
  holdNetwork,
  type LocalZooKeeper,
  makeZooKeeper,
  releaseNetwork,
  type ZooKeeperService,
} from './zookeeper.js';

export interface Ensemble extends ZooKeeperService {
  readonly members: readonly LocalZooKeeper[];
  /** The member that leads, as it says itself. Throws if none does. */
  leader(): Promise<LocalZooKeeper>;
}

const host = '127.0.0.1';

export async function runEnsemble(size = 3): Promise<Ensemble> {
  const ports: number[] = [];
  for (let count = 0; count < size; count++) ports.push(await freePort());
  const peers: string[] = [];
  for (let count = 0; count < size; count++) {
    peers.push(`${host}:${await freePort()}:${await freePort()}`);
  }
  const networkOf = (await hasPackage()) ? undefined : await holdNetwork(ports);
  const members: LocalZooKeeper[] = [];
  const remove = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.remove()));
    if (networkOf !== undefined) await releaseNetwork(networkOf);
  };
  try {
    for (const [index, port] of ports.entries()) {
      const seat = { id: index + 1, peers, ...(networkOf === undefined ? {} : { networkOf }) };
      members.push(await makeZooKeeper({ port, seat }));
    }
    await startAll(members);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    members,
    kind: `an ensemble of ${size}, each ${members[0]?.kind}`,
    connectString: members.map((member) => member.connectString).join(','),
    start: () => startAll(members),
    async stop() {
      await Promise.all(members.map((member) => member.stop()));
    },
    async leader() {
      for (const member of members) {
        if (/Mode: leader/.test(await fourLetterWord(member.port, 'srvr'))) return member;
      }
      throw new Error('no member of the ensemble says that it leads');
    },
    remove,
  };
}

/** At once: one alone never serves. */
async function startAll(members: readonly LocalZooKeeper[]): Promise<void> {
  await Promise.all(members.map((member) => member.start()));
}
