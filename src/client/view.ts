/**
 * Which view of the chain is the newest. Pure. Views come from everywhere (pushes, refusals, handshakes,
 * ZooKeeper), late and in any order.
 *
 * Invariant: the view that is kept only ever becomes newer.
 */
import type { Configuration } from '../coordination/configuration.js';
import type { View } from '../protocol/messages.js';

export function isNewerView(view: View, than: View | undefined): boolean {
  if (than === undefined) return true;
  if (view.generation !== than.generation) return view.generation > than.generation;
  return view.epoch > than.epoch;
}

export function headAddressOf(view: View | undefined): string | undefined {
  return view?.members[0]?.address;
}

export function isMemberAddress(view: View, address: string): boolean {
  return view.members.some((member) => member.address === address);
}

export function viewOfConfiguration(configuration: Configuration): View {
  const { clusterId, generation, epoch, members } = configuration;
  return { clusterId, generation, epoch, members };
}
