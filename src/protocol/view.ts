/** The chain as a server shows it to clients. */
import type { Member } from '../coordination/configuration.js';
import { type Fields, listOf, numberOf, textOf } from './fields.js';

/** Which servers form the chain, head first, as the answering server has adopted it. */
export interface View {
  readonly clusterId: string;
  readonly generation: number;
  readonly epoch: number;
  readonly members: readonly Member[];
}

export function viewOf(fields: Fields): View {
  return {
    clusterId: textOf(fields, 'clusterId'),
    generation: numberOf(fields, 'generation'),
    epoch: numberOf(fields, 'epoch'),
    members: listOf(fields, 'members').map((member) => ({
      serverId: textOf(member, 'serverId'),
      incarnation: textOf(member, 'incarnation'),
      address: textOf(member, 'address'),
    })),
  };
}
