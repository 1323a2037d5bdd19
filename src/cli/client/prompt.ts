/** The prompt shows the chain: `catena 5000>5001>5002 e5> `. Pure. */
import type { View } from '../../protocol/messages.js';
import { shownText } from './words.js';

/** `nameOf`: what a member is called; by default its port, or its address if hosts differ. */
export function promptOf(
  view: View | undefined,
  nameOf: (address: string) => string = shortNames(view),
  dead: readonly string[] = [],
): string {
  if (view === undefined) return 'catena (no chain)> ';
  const chain = view.members.map(({ address }) => {
    const name = nameOf(address);
    return dead.includes(name) ? `${name}✗` : name;
  });
  const inChain = new Set(view.members.map(({ address }) => nameOf(address)));
  const out = dead.filter((name) => !inChain.has(name)).map((name) => ` ${name}✗`);
  return shownText(`catena ${chain.join('>')}${out.join('')} e${view.epoch}> `);
}

function shortNames(view: View | undefined): (address: string) => string {
  const hosts = new Set(view?.members.map(({ address }) => address.replace(/:\d+$/, '')));
  return (address) => (hosts.size > 1 ? address : address.replace(/^.*:/, ''));
}
